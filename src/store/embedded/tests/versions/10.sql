-- A store as version 10 of the schema left it.
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
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
INSERT INTO "activity" VALUES(1,'django','2','sign_in','',0,1800000000000,1800000000000,1,'192.0.2.0/24','a browser');
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
INSERT INTO "blocks" VALUES('address','198.51.100.7','stay_away','operator','a test',1800000000000,1805184000000);
CREATE TABLE factor_attempts (
    source     BLOB    NOT NULL PRIMARY KEY CHECK (length(source) = 32),
    failures   INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    kept_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE factor_duties (
    directory TEXT    NOT NULL,
    user_id   TEXT    NOT NULL,
    asked_at  INTEGER,
    reset_at  INTEGER,
    PRIMARY KEY (directory, user_id)
) STRICT, WITHOUT ROWID;
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
INSERT INTO "factors" VALUES('a-factor','django','2','totp','a phone',X'7365616C6564',59999999,1800000000000,1800000001000);
CREATE TABLE kept (
    session INTEGER NOT NULL PRIMARY KEY REFERENCES sessions (key) ON DELETE CASCADE,
    sealed  BLOB    NOT NULL
) STRICT;
INSERT INTO "kept" VALUES(1,X'7365616C6564');
CREATE TABLE known_devices (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    directory  TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    first_used INTEGER NOT NULL,
    last_used  INTEGER NOT NULL,
    network    TEXT,
    agent      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "known_devices" VALUES(X'2705D83FA7BC32E9D64FBA9ACE3E0BE62E01AF4CD2227ED00E538C8D944B75D6','django','2',1800000000000,1800000001000,'192.0.2.0/24','a browser');
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
INSERT INTO "outbox" VALUES(1,'m','mail',X'D4191834714542DCF3E5D8A6AB386C9B72259430730157B6E5C76469CBB6A622',X'626F6479',1800000000001,1800000000001,0,0,1800086400000);
CREATE TABLE questions (
    digest     BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    about      BLOB    NOT NULL CHECK (length(about) = 32),
    body       BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    answered   INTEGER NOT NULL DEFAULT 0 CHECK (answered IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE TABLE recovery_codes (
    directory TEXT    NOT NULL,
    user_id   TEXT    NOT NULL,
    digest    BLOB    NOT NULL CHECK (length(digest) = 32),
    used_at   INTEGER,
    PRIMARY KEY (directory, user_id, digest)
) STRICT, WITHOUT ROWID;
INSERT INTO "recovery_codes" VALUES('django','2',X'2705D83FA7BC32E9D64FBA9ACE3E0BE62E01AF4CD2227ED00E538C8D944B75D6',NULL);
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
INSERT INTO "refresh_tokens" VALUES(1,X'2705D83FA7BC32E9D64FBA9ACE3E0BE62E01AF4CD2227ED00E538C8D944B75D6',1,1801209600000,1800000002000,1800000012000,NULL);
INSERT INTO "refresh_tokens" VALUES(2,X'C6C1C9A9C8543F1E4CD980064CF1625EEB61A90703B2464FFF039F21682508B3',1,1801209600000,NULL,NULL,NULL);
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
    end_reason    TEXT, issuer TEXT, amr TEXT NOT NULL DEFAULT '', auth_time INTEGER, token_grant TEXT,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) STRICT;
INSERT INTO "sessions" VALUES(1,'live','django','2','{"name":"kim","groups":["editors"],"staff":false,"superuser":false,"attributes":{"email":"kim@example.com"}}',X'6201EB4DCCC956CC4FA3A78DCA0C2888177EC52EFD48F125DF214F046EB43138',X'442DEAF6F2D98C94549D41C7B50FC189052554DAAD66283BA5F33579F19A61F6',1800000000000,1802592000000,86400000,1800000001000,'192.0.2.7','a browser',NULL,NULL,NULL,'pwd',1800000000,NULL);
INSERT INTO "sessions" VALUES(2,'ended','django','2','{"name":"kim","groups":["editors"],"staff":false,"superuser":false,"attributes":{"email":"kim@example.com"}}',X'6201EB4DCCC956CC4FA3A78DCA0C2888177EC52EFD48F125DF214F046EB43138',X'54CAE6DD15FAAE96D0AEFDEE9533AA315DBFB8CAB75D7F2B444F3FCB6C51F62F',1800000000000,1802592000000,86400000,1800000001000,'192.0.2.7','a browser',1800000005000,'signed_out',NULL,'pwd',1800000000,NULL);
INSERT INTO "sessions" VALUES(3,'adopted','django','2','{"name":"kim","groups":["editors"],"staff":false,"superuser":false,"attributes":{"email":"kim@example.com"}}',X'6201EB4DCCC956CC4FA3A78DCA0C2888177EC52EFD48F125DF214F046EB43138',X'AE6F3C7F38B7DA9843FB35036E4B3A19BC10C8958E7C8985D791F4ABAD8C127F',1800000000000,1802592000000,86400000,1800000001000,'192.0.2.7','a browser',NULL,NULL,'django-session','service',NULL,NULL);
CREATE TABLE stamps (
    key        BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    at         INTEGER NOT NULL,
    kept_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "stamps" VALUES(X'E0AFCDBF6AD4ADF566C572D7F7C34D4DFB85E5122BBA750D6A3A5842F915D39B',1800000003000,1805184000000);
CREATE INDEX sessions_by_user ON sessions (directory, user_id);
CREATE INDEX sessions_by_end ON sessions (expires_at) WHERE ended_at IS NOT NULL;
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session);
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_sealed ON refresh_tokens (replay_until) WHERE sealed_answer IS NOT NULL;
CREATE INDEX stamps_by_end ON stamps (kept_until);
CREATE INDEX outbox_waiting ON outbox (channel, key) WHERE NOT done;
CREATE INDEX outbox_by_end ON outbox (quiet_until) WHERE done;
CREATE INDEX questions_by_about ON questions (about);
CREATE INDEX questions_by_end ON questions (expires_at);
CREATE INDEX blocks_by_end ON blocks (until);
CREATE INDEX factors_by_user ON factors (directory, user_id);
CREATE INDEX factor_attempts_by_end ON factor_attempts (kept_until);
CREATE INDEX activity_by_user ON activity (directory, user_id, at);
CREATE INDEX activity_by_time ON activity (at);
CREATE INDEX known_devices_by_user ON known_devices (directory, user_id, last_used);
CREATE INDEX known_devices_by_end ON known_devices (last_used);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('outbox',1);
INSERT INTO "sqlite_sequence" VALUES('activity',1);
COMMIT;
PRAGMA application_id = 1148344164;
PRAGMA user_version = 10;
