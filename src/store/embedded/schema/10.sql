-- A personal access token is a session that began with no sign-in: its grant is set, JSON of its name and of the routes and
-- methods that it is for. The cookie's column has the hash of the token.
ALTER TABLE sessions ADD COLUMN token_grant TEXT;
