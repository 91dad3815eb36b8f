-- Uploads under way, each noted before the first byte of its object.
CREATE TABLE uploading (
    object_key text COLLATE "C" PRIMARY KEY,
    host_id text COLLATE "C" NOT NULL, episode_id text COLLATE "C" NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX uploading_by_time ON uploading (noted_at);

-- Where episodes are. object_key is NULL where the object was put aside or is gone: the name is free for another one.
CREATE TABLE episodes (
    host_id text COLLATE "C", episode_id text COLLATE "C",
    object_key text COLLATE "C" UNIQUE,
    size_bytes bigint NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    received_at_ns bigint NOT NULL,
    line bytea NOT NULL,
    PRIMARY KEY (host_id, episode_id)
);
CREATE TABLE set_aside (
    object_key text COLLATE "C" PRIMARY KEY,
    host_id text COLLATE "C" NOT NULL, episode_id text COLLATE "C" NOT NULL,
    set_aside_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX set_aside_by_name ON set_aside (host_id, episode_id);

-- The index, line by line, without newlines. A line is never changed; an index that is made anew is another generation.
CREATE TABLE journal (
    generation bigint, line_offset bigint,
    line bytea NOT NULL,
    PRIMARY KEY (generation, line_offset)
);
CREATE SEQUENCE journal_generations;
-- Locked last by every append, so that offsets have the order of the commits and no gaps.
CREATE TABLE journal_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    generation bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    end_offset bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO journal_head (generation, name, end_offset)
VALUES (nextval('journal_generations'), replace(gen_random_uuid()::text, '-', ''), 0);

-- Where a withdrawal's line begins in the file of all of them.
ALTER TABLE withdrawals ADD COLUMN line_offset bigint;
UPDATE withdrawals SET line_offset = before.line_offset
FROM (
    SELECT number, coalesce(sum(octet_length(line)) OVER (
        ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS line_offset
    FROM withdrawals
) AS before
WHERE before.number = withdrawals.number;
ALTER TABLE withdrawals ALTER COLUMN line_offset SET NOT NULL;
CREATE UNIQUE INDEX withdrawals_by_offset ON withdrawals (line_offset);

-- Lines that an index made anew left out.
CREATE TABLE lines_set_aside (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reason text NOT NULL,
    line bytea NOT NULL,
    set_aside_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
