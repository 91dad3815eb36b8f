-- How far the index's lines and the withdrawals' are known to be safe, so that receivers show one and the same of them
-- while no commit can be waited for. All that is there when this is committed is as safe as it is.
CREATE TABLE vouched (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    generation bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    end_offset bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    withdrawn_end bigint NOT NULL
);
INSERT INTO vouched (generation, name, end_offset, changed_at, withdrawn_end)
SELECT generation, name, end_offset, changed_at,
    coalesce((SELECT line_offset + octet_length(line) FROM withdrawals ORDER BY number DESC LIMIT 1), 0)
FROM journal_head;
