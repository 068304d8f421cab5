-- Second factors. What makes one is sealed under a key that is not in this file. last_step is the newest time step of which a
-- code was accepted: none of it, and none before it, is accepted again.
CREATE TABLE factors (
    id         TEXT    NOT NULL PRIMARY KEY,
    directory  TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    last_step  INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_used  INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX factors_by_user ON factors (directory, user_id);

-- Recovery codes, of which only a keyed hash is here. A used one stays, so that a person sees how many are left.
CREATE TABLE recovery_codes (
    directory TEXT    NOT NULL,
    user_id   TEXT    NOT NULL,
    digest    BLOB    NOT NULL CHECK (length(digest) = 32),
    used_at   INTEGER,
    PRIMARY KEY (directory, user_id, digest)
) STRICT, WITHOUT ROWID;

-- When a user was first asked to set up a factor, and when an operator took theirs away. Setting one up clears both.
CREATE TABLE factor_duties (
    directory TEXT    NOT NULL,
    user_id   TEXT    NOT NULL,
    asked_at  INTEGER,
    reset_at  INTEGER,
    PRIMARY KEY (directory, user_id)
) STRICT, WITHOUT ROWID;

-- Codes that were tried and not right, by a hash of the user and of the device from which they came.
CREATE TABLE factor_attempts (
    source     BLOB    NOT NULL PRIMARY KEY CHECK (length(source) = 32),
    failures   INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    kept_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX factor_attempts_by_end ON factor_attempts (kept_until);
