-- Dates about what others have issued: not before, denied until, first seen. Only a hash says about what.
CREATE TABLE stamps (
    key        BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    at         INTEGER NOT NULL,
    kept_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX stamps_by_end ON stamps (kept_until);
