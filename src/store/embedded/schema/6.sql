-- Who is refused for a time: an address or network, a user (DIRECTORY/ID), a session's id.
CREATE TABLE blocks (
    kind    TEXT    NOT NULL CHECK (kind IN ('address', 'user', 'session')),
    subject TEXT    NOT NULL,
    demand  TEXT    NOT NULL,
    made_by TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX blocks_by_end ON blocks (until);
