"""Whether the PyJWT that is installed takes a `sub` and a `jti` that are numbers. It is asked, since its releases differ."""


def takes_numeric_ids():
    try:
        import jwt
    except ImportError:
        return False
    key = "a key for a token that nobody ever gets to see"
    try:
        jwt.decode(jwt.encode({"sub": 7, "jti": 7}, key, algorithm="HS256"), key, algorithms=["HS256"])
    except (jwt.PyJWTError, TypeError):
        return False
    return True
