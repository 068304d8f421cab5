"""dj-rest-auth with its JWT in cookies: what the front end of a single page does."""

from .people import ADMIN, CHANGED, KIM, LEE, RESET, use_the_admin
from .people import PREPARE as PEOPLE

PREPARE = PEOPLE + """
from allauth.account.models import EmailAddress
for user in User.objects.all():
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
"""


def tokens(me):
    """Which of the package's cookies the browser has."""
    return "cookies: " + (", ".join(sorted({"access-token", "refresh-token"} & set(me.cookies))) or "none")


def steps(s):
    s.at_the_gateway("admin", ADMIN, "/admin/", sees="Site administration")
    me = s.browser()
    with s.step("sign up") as step:
        lee = {"email": "lee@example.com", "username": "lee", "password1": LEE, "password2": LEE}
        step.says(me.fetch("POST", "/api/auth/registration/", lee), "detail")
    with s.step("sign in before the address is confirmed") as step:
        step.says(me.fetch("POST", "/api/auth/login/", {"email": "lee@example.com", "password": LEE}))
    with s.step("confirm the address by the mailed link") as step:
        key = s.mail(r"account-confirm-email/([^/\s]+)/")
        step.says(me.fetch("POST", "/api/auth/registration/verify-email/", {"key": key}), "detail")
    with s.step("sign in after it") as step:
        step.says(me.fetch("POST", "/api/auth/login/", {"email": "lee@example.com", "password": LEE}), "user")
    with s.step("who am I") as step:
        step.says(me.fetch("GET", "/api/auth/user/"), username="lee")

    me = s.browser()
    with s.step("a page without a credential") as step:
        step.says(me.fetch("GET", "/api/auth/user/"), "detail")
    with s.step("a wrong password") as step:
        step.says(me.fetch("POST", "/api/auth/login/", {"email": "kim@example.com", "password": "wrong"}))
    access = ""
    with s.step("sign in") as step:
        answer = me.fetch("POST", "/api/auth/login/", {"email": "kim@example.com", "password": KIM})
        step.says(answer, "access", "refresh", "user", "access_expiration")
        step.note(tokens(me))
        access = answer.json["access"]
    with s.step("who am I, by the cookie") as step:
        step.says(me.fetch("GET", "/api/auth/user"), username="kim")
    with s.step("who am I, by the token as Bearer") as step:
        step.says(s.program().call("GET", "/api/auth/user/", Authorization=f"Bearer {access}"), username="kim")
    with s.step("verify the token") as step:
        step.says(me.fetch("POST", "/api/auth/token/verify/", {"token": access}))
    with s.step("refresh, by the cookie") as step:
        step.says(me.fetch("POST", "/api/auth/token/refresh/", {}), "access")
        step.note(tokens(me))
    with s.step("who am I after it") as step:
        step.says(me.fetch("GET", "/api/auth/user/"), username="kim")
    with s.step("change one's own name") as step:
        step.says(me.fetch("PATCH", "/api/auth/user/", {"first_name": "Kimberly"}), first_name="Kimberly")
    with s.step("change the password") as step:
        fields = {"new_password1": CHANGED, "new_password2": CHANGED}
        step.says(me.fetch("POST", "/api/auth/password/change/", fields), "detail")
    with s.step("be signed in as before") as step:
        step.says(me.fetch("GET", "/api/auth/user/"), username="kim")
    with s.step("sign out") as step:
        step.says(me.fetch("POST", "/api/auth/logout/", {}), "detail")
        step.note(tokens(me))
    with s.step("who am I after that") as step:
        step.says(me.fetch("GET", "/api/auth/user/"), "detail")
    with s.step("ask for a mail to reset the password") as step:
        step.says(me.fetch("POST", "/api/auth/password/reset/", {"email": "kim@example.com"}), "detail")
    with s.step("reset the password by the mailed link") as step:
        uid, token = s.mail(r"/password-reset/confirm/([^/\s]+/[^/\s]+)/").split("/")
        fields = {"uid": uid, "token": token, "new_password1": RESET, "new_password2": RESET}
        step.says(me.fetch("POST", "/api/auth/password/reset/confirm/", fields), "detail")
    with s.step("sign in with the new password") as step:
        step.says(me.fetch("POST", "/api/auth/login/", {"email": "kim@example.com", "password": RESET}), "user")
    use_the_admin(s)
