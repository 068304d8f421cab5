-- What people are shown of what happened to their account: bounded for each user, and forgotten after [privacy] retention.
-- No address is here, only its network. What anybody can cause (refused) has room of its own.
CREATE TABLE activity (
    key       INTEGER PRIMARY KEY AUTOINCREMENT,
    directory TEXT    NOT NULL,
    user_id   TEXT    NOT NULL,
    what      TEXT    NOT NULL,
    detail    TEXT    NOT NULL,
    refused   INTEGER NOT NULL CHECK (refused IN (0, 1)),
    first_at  INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    network   TEXT,
    agent     TEXT    NOT NULL
) STRICT;

CREATE INDEX activity_by_user ON activity (directory, user_id, at);
CREATE INDEX activity_by_time ON activity (at);

-- Browsers in which somebody signed in, by a hash of what their device cookie says of itself.
CREATE TABLE known_devices (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    directory  TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    first_used INTEGER NOT NULL,
    last_used  INTEGER NOT NULL,
    network    TEXT,
    agent      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX known_devices_by_user ON known_devices (directory, user_id, last_used);
CREATE INDEX known_devices_by_end ON known_devices (last_used);
