"""Why the gateway may not sign people in in the service's place: what it would decide otherwise than Django does.

`follow`: the service goes on signing people in, and the gateway observes. `fail`: not even that keeps what the service
decides, and the operator must do something. What cannot be shown to be the same counts as different.
"""

obstacles = []


def obstacle(effect, about, says, means=""):
    entry = {"effect": effect, "about": about, "says": says, "means": means}
    if entry not in obstacles:
        obstacles.append(entry)


def proven(about, check):
    """What cannot be asked is not shown."""
    try:
        return check()
    except Exception as error:
        obstacle("follow", about, f"could not be asked: {type(error).__name__}: {str(error)[:200]}")
        return None
