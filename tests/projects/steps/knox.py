"""django-rest-knox: tokens that are given for a name and a password in Basic authentication."""

import base64

from .people import ADMIN, KIM, PREPARE, use_the_admin


def basic(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def steps(s):
    s.at_the_gateway("admin", ADMIN, "/admin/", sees="Site administration")
    it = s.program()
    with s.step("a page without a credential") as step:
        step.says(it.call("GET", "/example/"), "detail")
    with s.step("a wrong password for a token") as step:
        step.says(it.call("POST", "/login/", Authorization=basic("kim", "wrong")), "detail")
    tokens = []
    with s.step("two tokens for name and password") as step:
        for _ in range(2):
            answer = it.call("POST", "/login/", Authorization=basic("kim", KIM))
            step.says(answer, "token", "expiry")
            tokens.append(answer.json["token"])
    with s.step("the page with the token") as step:
        step.says(it.call("GET", "/example/", Authorization=f"Token {tokens[0]}"), foo="bar")
    with s.step("the page with a token that nobody gave") as step:
        step.says(it.call("GET", "/example/", Authorization="Token " + "ab" * 32), "detail")
    with s.step("sign out with the first token") as step:
        step.says(it.call("POST", "/logout/", Authorization=f"Token {tokens[0]}"))
    with s.step("the page with that token") as step:
        step.says(it.call("GET", "/example/", Authorization=f"Token {tokens[0]}"), "detail")
    with s.step("the page with the second token") as step:
        step.says(it.call("GET", "/example/", Authorization=f"Token {tokens[1]}"), foo="bar")
    with s.step("sign out everywhere") as step:
        step.says(it.call("POST", "/logoutall/", Authorization=f"Token {tokens[1]}"))
    with s.step("the page with the second token after that") as step:
        step.says(it.call("GET", "/example/", Authorization=f"Token {tokens[1]}"), "detail")
    use_the_admin(s)
