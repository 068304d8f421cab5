"""Where the service itself sends a stranger who has to sign in."""

from urllib.parse import urlsplit


def sent_to(answers):
    """The pages that strangers were sent to from the paths of one pattern, without what stands behind them."""
    found = []
    for one in answers:
        if one["verdict"] == "asks-sign-in":
            page = urlsplit(one["told"].partition(" to ")[2]).path
            if page and page not in found:
                found.append(page)
    return found
