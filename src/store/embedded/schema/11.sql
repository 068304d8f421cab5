-- Passkeys are factors that belong to an RP ID. last_step is the signature counter of theirs that was seen last. backed_up: is there
-- a copy elsewhere, as the authenticator said last? discoverable: does the authenticator find it without being told its id?
ALTER TABLE factors ADD COLUMN rp_id TEXT;
ALTER TABLE factors ADD COLUMN backed_up INTEGER NOT NULL DEFAULT 0;
ALTER TABLE factors ADD COLUMN discoverable INTEGER NOT NULL DEFAULT 0;

-- Challenges that were answered, until nobody could answer them any more.
CREATE TABLE challenges (
    digest     BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    kept_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX challenges_by_end ON challenges (kept_until);
