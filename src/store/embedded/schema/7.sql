-- How the user was authenticated (names of RFC 8176, with spaces between them) and when, in seconds since 1970. Of what
-- began before: a cookie of the gateway's came of a password; an adopted session is the service's; the rest is not known.
ALTER TABLE sessions ADD COLUMN amr TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN auth_time INTEGER;
UPDATE sessions SET amr = 'service' WHERE issuer IS NOT NULL;
UPDATE sessions SET amr = 'pwd', auth_time = signed_in_at / 1000 WHERE issuer IS NULL AND cookie IS NOT NULL;
