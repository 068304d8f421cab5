"""The test's eye: views that answer what reached the service, or answer in the ways that try a proxy.

Not part of the legacy service, and nothing in the service uses it. It knows as little of the gateway as the service
does: it reports what Django was given and judges none of it.

    /                       a page that names the caller that the headers tell (a place to land on after signing in)
    /api/v1/whoami          JSON: the request as Django sees it; any method, any body, any path below it
    /public/whoami          the same view under a path that a gateway may leave public
    /slow?seconds=N         answers after N seconds (120 at most)
    /stream                 a chunked download, flushed piece by piece (?chunks= ?size= ?pause=)
    /events                 server-sent events (?count= ?pause=)
    /set-cookies            cookies and headers in the response that a gateway must not let through, and some it must
    /status/CODE            that status (?location= for redirects)
    /upload                 reads the body as a stream; answers its length and SHA-256
    /session/...            what a project's code does to its session (see sessions.py); /public/session/... is the same
    /reset-link/NAME        the link that Django mails to who forgot a password; it leads to the stock view

`manage.py seed_users` makes the users that the tests sign in with.
"""
