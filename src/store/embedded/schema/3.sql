-- What is kept with a session that has not ended, sealed under a key that is not in this file.
CREATE TABLE kept (
    session INTEGER NOT NULL PRIMARY KEY REFERENCES sessions (key) ON DELETE CASCADE,
    sealed  BLOB    NOT NULL
) STRICT;
