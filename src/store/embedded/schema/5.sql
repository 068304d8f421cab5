-- What is to be told, and is not told yet. One that is done has no body any more; its key stays known until quiet_until.
CREATE TABLE outbox (
    key         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    channel     TEXT    NOT NULL,
    incident    BLOB    NOT NULL CHECK (length(incident) = 32),
    body        BLOB    NOT NULL,
    at          INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    done        INTEGER NOT NULL DEFAULT 0 CHECK (done IN (0, 1)),
    quiet_until INTEGER NOT NULL,
    UNIQUE (channel, incident)
) STRICT;

CREATE INDEX outbox_waiting ON outbox (channel, key) WHERE NOT done;
CREATE INDEX outbox_by_end ON outbox (quiet_until) WHERE done;

-- What people were asked by mail. Only the hash of the secret in their link is here.
CREATE TABLE questions (
    digest     BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    about      BLOB    NOT NULL CHECK (length(about) = 32),
    body       BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    answered   INTEGER NOT NULL DEFAULT 0 CHECK (answered IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX questions_by_about ON questions (about);
CREATE INDEX questions_by_end ON questions (expires_at);
