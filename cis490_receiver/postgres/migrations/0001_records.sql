-- Texts of ours are JSON in ASCII, which keeps what PostgreSQL's text cannot, such as U+0000.

CREATE TABLE documents (
    name text COLLATE "C" PRIMARY KEY,
    content text NOT NULL,
    version bigint NOT NULL DEFAULT 1
);

-- Rows to be locked by those who must take turns; to count one is also a write of its own, and safe with all before it.
CREATE TABLE turns (name text COLLATE "C" PRIMARY KEY, taken bigint NOT NULL DEFAULT 0);
INSERT INTO turns (name) VALUES ('alerts'), ('outbox'), ('withdrawals'), ('sync');

CREATE TABLE heartbeats (name text COLLATE "C" PRIMARY KEY, at_ns bigint NOT NULL);

-- host_id is '' for the receiver itself.
CREATE TABLE alerts (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ns bigint NOT NULL,
    line text NOT NULL
);
CREATE TABLE raised (
    host_id text COLLATE "C", symptom text COLLATE "C", hour text COLLATE "C",
    number bigint NOT NULL,
    PRIMARY KEY (host_id, symptom, hour)
);
CREATE INDEX raised_by_number ON raised (number);

CREATE TABLE notes (
    kind text COLLATE "C", host_id text COLLATE "C",
    note text NOT NULL,
    PRIMARY KEY (kind, host_id)
);

CREATE TABLE sign_in_codes (
    sha256 text COLLATE "C" PRIMARY KEY,
    token text NOT NULL,
    token_sha256 text NOT NULL,
    expires_ns bigint NOT NULL
);

CREATE TABLE rejections (
    number bigint GENERATED ALWAYS AS IDENTITY,
    kind text COLLATE "C" NOT NULL,
    received_at_ns bigint NOT NULL,
    line text NOT NULL,
    PRIMARY KEY (kind, number)
);

CREATE TABLE reports (host_id text COLLATE "C" PRIMARY KEY, report text NOT NULL);
CREATE TABLE past_reports (
    host_id text COLLATE "C", number bigint GENERATED ALWAYS AS IDENTITY,
    received_at_ns bigint NOT NULL,
    line text NOT NULL,
    PRIMARY KEY (host_id, number)
);

CREATE TABLE withdrawals (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch uuid NOT NULL, place integer NOT NULL,
    line text NOT NULL,
    UNIQUE (batch, place)
);
