-- Uploads in pieces. announced and verdict are lines of JSON. A lease is by this database's clock alone, and does no more
-- than to keep others waiting: who has it is told by holder, and every step of a holder asks for that.
CREATE TABLE resumables (
    upload_id text COLLATE "C" PRIMARY KEY,
    announced text NOT NULL,
    size_bytes bigint NOT NULL,
    reached bigint NOT NULL DEFAULT 0 CHECK (reached BETWEEN 0 AND size_bytes),
    touched_ns bigint NOT NULL,
    verdict text,
    ended_ns bigint,
    -- The object that its pieces were put together in last.
    whole_key text COLLATE "C",
    is_lost boolean NOT NULL DEFAULT false,
    holder uuid,
    held_until timestamptz,
    is_wanted boolean NOT NULL DEFAULT false
);
CREATE INDEX resumables_waiting ON resumables (upload_id) WHERE verdict IS NULL;
CREATE INDEX resumables_ended ON resumables (ended_ns) WHERE verdict IS NOT NULL;

-- Objects with bytes of them, each noted before its first one. An upload consists of those that are counted. One without
-- an upload is garbage: its object is deleted, and then its row.
CREATE TABLE pieces (
    object_key text COLLATE "C" PRIMARY KEY,
    upload_id text COLLATE "C" REFERENCES resumables ON DELETE SET NULL,
    starts_at bigint NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes > 0),
    is_counted boolean NOT NULL DEFAULT false,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX pieces_of_uploads ON pieces (upload_id);
CREATE UNIQUE INDEX pieces_in_order ON pieces (upload_id, starts_at) WHERE is_counted;
CREATE INDEX pieces_to_collect ON pieces (noted_at) WHERE upload_id IS NULL OR NOT is_counted;
