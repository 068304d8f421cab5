"""gunicorn's settings; the command line says where to bind.

`gthread` keeps connections alive (for gunicorn's own default of 2 s) and serves slow requests side by side; the
`sync` worker would close after each answer.
"""

import os

wsgi_app = "config.wsgi"
worker_class = "gthread"
workers = int(os.environ.get("DJANGO_WORKERS", "1"))
threads = int(os.environ.get("DJANGO_THREADS", "16"))
graceful_timeout = 5
# Its path is one per user: a second instance would take it from the first.
control_socket_disable = True


def when_ready(server):
    """Writes the bound addresses to the file that DJANGO_ADDRESS_FILE names, one a line.

    With `--bind 127.0.0.1:0` the kernel picks the port, so whoever started the service learns it here without a
    race. The sockets listen by now: a connection made at once waits for a worker and is not refused.
    """
    path = os.environ.get("DJANGO_ADDRESS_FILE")
    if not path:
        return
    addresses = [listener.sock.getsockname() for listener in server.LISTENERS]
    lines = [name if isinstance(name, str) else f"{name[0]}:{name[1]}" for name in addresses]
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write("".join(line + "\n" for line in lines))
    os.replace(path + ".part", path)
