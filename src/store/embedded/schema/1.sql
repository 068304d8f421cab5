-- Times are milliseconds since 1970; digests are SHA-256 values of secrets that are stored nowhere.

CREATE TABLE sessions (
    key           INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    directory     TEXT    NOT NULL,
    user_id       TEXT    NOT NULL,
    -- JSON: name, groups, staff, superuser, attributes.
    identity      TEXT    NOT NULL,
    password_mark BLOB    NOT NULL CHECK (length(password_mark) = 32),
    cookie        BLOB    UNIQUE CHECK (length(cookie) = 32),
    signed_in_at  INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    idle_timeout  INTEGER NOT NULL,
    last_used     INTEGER NOT NULL,
    client        TEXT,
    agent         TEXT    NOT NULL,
    -- An ended session stays until expires_at, so that an operator can see when and why.
    ended_at      INTEGER,
    end_reason    TEXT,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) STRICT;

CREATE INDEX sessions_by_user ON sessions (directory, user_id);
CREATE INDEX sessions_by_end ON sessions (expires_at) WHERE ended_at IS NOT NULL;

-- The tokens of sessions that have not ended. A spent one stays until it expires, so that its reuse is noticed.
CREATE TABLE refresh_tokens (
    key           INTEGER PRIMARY KEY,
    digest        BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    session       INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
    expires_at    INTEGER NOT NULL,
    spent_at      INTEGER,
    replay_until  INTEGER,
    sealed_answer BLOB,
    CHECK ((spent_at IS NULL) = (replay_until IS NULL))
) STRICT;

CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session);
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_sealed ON refresh_tokens (replay_until) WHERE sealed_answer IS NOT NULL;
