-- The issuer whose credential a session was adopted with; its digest is in `cookie` then.
ALTER TABLE sessions ADD COLUMN issuer TEXT;
