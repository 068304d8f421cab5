"""djoser with SimpleJWT, and `Authorization: JWT`: the flow of a front end that has no pages of Django's."""

from .people import ADMIN, CHANGED, KIM, LEE, PREPARE, RESET, use_the_admin


def steps(s):
    s.at_the_gateway("admin", ADMIN, "/admin/", sees="Site administration")
    it = s.program()
    with s.step("sign up") as step:
        lee = {"username": "lee", "email": "lee@example.com", "password": LEE}
        step.says(it.call("POST", "/auth/users/", lee), username="lee")
    with s.step("sign in before the activation") as step:
        step.says(it.call("POST", "/auth/jwt/create/", {"username": "lee", "password": LEE}), "detail")
    with s.step("activate by the mailed link") as step:
        uid, token = s.mail(r"#/activate/(\S+)").split("/")
        step.says(it.call("POST", "/auth/users/activation/", {"uid": uid, "token": token}))
    with s.step("sign in after it") as step:
        answer = it.call("POST", "/auth/jwt/create/", {"username": "lee", "password": LEE})
        step.says(answer, "access", "refresh")
    with s.step("who am I") as step:
        answer = it.call("GET", "/auth/users/me/", Authorization=f"JWT {answer.json['access']}")
        step.says(answer, username="lee")

    with s.step("a page without a credential") as step:
        step.says(it.call("GET", "/auth/users/me/"), "detail")
    with s.step("a wrong password") as step:
        step.says(it.call("POST", "/auth/jwt/create/", {"username": "kim", "password": "wrong"}), "detail")
    with s.step("a sign-in without a password") as step:
        step.says(it.call("POST", "/auth/jwt/create/", {"username": "kim"}), "password")
    pair = {}
    with s.step("sign in") as step:
        pair = step.says(it.call("POST", "/auth/jwt/create", {"username": "kim", "password": KIM}), "access", "refresh").json
    with s.step("who am I, as kim") as step:
        step.says(it.call("GET", "/auth/users/me/", Authorization=f"JWT {pair['access']}"), username="kim")
    with s.step("refresh") as step:
        answer = step.says(it.call("POST", "/auth/jwt/refresh/", {"refresh": pair["refresh"]}), "access")
        pair["access"] = answer.json["access"]
    with s.step("verify") as step:
        step.says(it.call("POST", "/auth/jwt/verify/", {"token": pair["access"]}))
    with s.step("verify what nobody gave") as step:
        step.says(it.call("POST", "/auth/jwt/verify/", {"token": "no.such.token"}), "detail")
    with s.step("change the password") as step:
        fields = {"new_password": CHANGED, "current_password": KIM}
        step.says(it.call("POST", "/auth/users/set_password/", fields, Authorization=f"JWT {pair['access']}"))
    with s.step("sign in with the new password") as step:
        step.says(it.call("POST", "/auth/jwt/create/", {"username": "kim", "password": CHANGED}), "access", "refresh")
    with s.step("ask for a mail to reset the password") as step:
        step.says(it.call("POST", "/auth/users/reset_password/", {"email": "kim@example.com"}))
    with s.step("reset the password by the mailed link") as step:
        uid, token = s.mail(r"#/password/reset/confirm/(\S+)").split("/")
        fields = {"uid": uid, "token": token, "new_password": RESET}
        step.says(it.call("POST", "/auth/users/reset_password_confirm/", fields))
    with s.step("sign in with the password after the reset") as step:
        pair = step.says(it.call("POST", "/auth/jwt/create/", {"username": "kim", "password": RESET}), "access", "refresh").json
    with s.step("change one's own mail address, which asks for a new activation") as step:
        mine = {"email": "kim.park@example.com"}
        step.says(it.call("PATCH", "/auth/users/me/", mine, Authorization=f"JWT {pair['access']}"), **mine)
    with s.step("who am I before it") as step:
        step.says(it.call("GET", "/auth/users/me/", Authorization=f"JWT {pair['access']}"), "detail")
    with s.step("activate by the mailed link again") as step:
        uid, token = s.mail(r"#/activate/(\S+)").split("/")
        step.says(it.call("POST", "/auth/users/activation/", {"uid": uid, "token": token}))
    with s.step("who am I after it") as step:
        step.says(it.call("GET", "/auth/users/me/", Authorization=f"JWT {pair['access']}"), username="kim")
    with s.step("end the account") as step:
        answer = it.call("DELETE", "/auth/users/me/", {"current_password": RESET}, Authorization=f"JWT {pair['access']}")
        step.says(answer)
    with s.step("sign in to it after that") as step:
        step.says(it.call("POST", "/auth/jwt/create/", {"username": "kim", "password": RESET}), "detail")
    use_the_admin(s, who="lee")
