-- A store as version 4 left it (`sqlite3 store.db .dump`): a session with a cookie, one with tokens alone, one of a service's.
PRAGMA foreign_keys = OFF;
PRAGMA application_id = 1148344164;
PRAGMA user_version = 4;
BEGIN TRANSACTION;
CREATE TABLE kept (
    session INTEGER NOT NULL PRIMARY KEY REFERENCES sessions (key) ON DELETE CASCADE,
    sealed  BLOB    NOT NULL
) STRICT;
INSERT INTO "kept" VALUES(3,X'7365616C6564');
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
INSERT INTO "refresh_tokens" VALUES(1,X'3333333333333333333333333333333333333333333333333333333333333333',2,1796632479500,NULL,NULL,NULL);
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
    end_reason    TEXT, issuer TEXT,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) STRICT;
INSERT INTO "sessions" VALUES(1,'with-cookie','django','1','{"name":"kim","groups":["editors"],"staff":false,"superuser":false,"attributes":{}}',X'1111111111111111111111111111111111111111111111111111111111111111',X'2121212121212121212121212121212121212121212121212121212121212121',1795422879500,1798014879500,86400000,1795422879500,'192.0.2.1','Mozilla/5.0',NULL,NULL,NULL);
INSERT INTO "sessions" VALUES(2,'with-tokens','django','2','{"name":"kim","groups":["editors"],"staff":false,"superuser":false,"attributes":{}}',X'1111111111111111111111111111111111111111111111111111111111111111',NULL,1795422879500,1798014879500,86400000,1795422879500,'192.0.2.1','Mozilla/5.0',NULL,NULL,NULL);
INSERT INTO "sessions" VALUES(3,'adopted','django','3','{"name":"kim","groups":["editors"],"staff":false,"superuser":false,"attributes":{}}',X'1111111111111111111111111111111111111111111111111111111111111111',X'2222222222222222222222222222222222222222222222222222222222222222',1795422879500,1798014879500,86400000,1795422879500,'192.0.2.1','Mozilla/5.0',NULL,NULL,'legacy');
CREATE TABLE stamps (
    key        BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    at         INTEGER NOT NULL,
    kept_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "stamps" VALUES(X'4444444444444444444444444444444444444444444444444444444444444444',5,253402300799000);
CREATE INDEX sessions_by_user ON sessions (directory, user_id);
CREATE INDEX sessions_by_end ON sessions (expires_at) WHERE ended_at IS NOT NULL;
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session);
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_sealed ON refresh_tokens (replay_until) WHERE sealed_answer IS NOT NULL;
CREATE INDEX stamps_by_end ON stamps (kept_until);
COMMIT;
