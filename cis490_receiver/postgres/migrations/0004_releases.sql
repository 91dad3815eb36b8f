-- Releases, each of which is there for good. Its table is an object.
CREATE TABLE releases (
    name text COLLATE "C" PRIMARY KEY,
    object_key text COLLATE "C" NOT NULL UNIQUE,
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    sha256 text COLLATE "C" NOT NULL,
    episodes bigint NOT NULL,
    episode_bytes bigint NOT NULL,
    hosts bigint NOT NULL,
    -- What was said of it, as JSON.
    about text NOT NULL,
    -- Where some lines of its table begin, and the names there: [[offset, host_id, episode_id], ...].
    sparse_index text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Tables that are being made, each noted before the first byte of its object. A release takes the place of its note. What
-- is garbage can become none any more: its object is deleted, and then its row.
CREATE TABLE releases_being_made (
    object_key text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    is_garbage boolean NOT NULL DEFAULT false,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
