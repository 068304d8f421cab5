"""django-allauth: its pages, its second factor, and both of its headless APIs."""

import re

from .people import CHANGED, KIM, LEE, RESET, use_the_admin
from .people import PREPARE as PEOPLE
from .totp import code

PREPARE = PEOPLE + """
from allauth.account.models import EmailAddress
for user in User.objects.all():
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
"""

MINE = "/accounts/email/"


def sign_in(me, name, password):
    return me.submit(me.open("/accounts/login/"), {"login": name, "password": password})


def with_the_password(me, page):
    """Opens a page that may ask for the password once more."""
    answer = me.open(page)
    if answer.place.startswith("/accounts/reauthenticate/"):
        answer = me.submit(answer, {"password": RESET})
    return answer


def steps(s):
    s.at_the_gateway("kim", KIM, MINE, sees="kim@example.com")
    me = s.browser()
    with s.step("sign up at the service's own page") as step:
        fields = {"email": "lee@example.com", "username": "lee", "password1": LEE, "password2": LEE}
        me.submit(me.open("/accounts/signup/"), fields)
        step.ends(me.open(MINE), sees=["lee@example.com", "Unverified"])
    with s.step("confirm the address by the mailed link") as step:
        me.submit(me.open(s.mail(r"https?://\S+/accounts/confirm-email/\S+")), {}, to="/")
        step.ends(me.open(MINE), sees=["lee@example.com", "Verified"], misses="Unverified")
    with s.step("sign out") as step:
        me.submit(me.open("/accounts/logout/"), {})
        step.ends(me.open(MINE), misses="lee@example.com")

    with s.step("a wrong password at the service's own page") as step:
        step.ends(sign_in(s.browser(), "kim", "wrong"), sees="not correct")
    me = s.browser()
    with s.step("sign in at the service's own page by name") as step:
        sign_in(me, "kim", KIM)
        step.ends(me.open(MINE), sees="kim@example.com")
    with s.step("sign in at the service's own page by mail address") as step:
        me = s.browser()
        sign_in(me, "kim@example.com", KIM)
        step.ends(me.open(MINE), sees="kim@example.com")
    with s.step("change the password") as step:
        fields = {"oldpassword": KIM, "password1": CHANGED, "password2": CHANGED}
        step.ends(me.submit(me.open("/accounts/password/change/"), fields), sees="Password successfully changed")
    with s.step("be signed in as before") as step:
        step.ends(me.open(MINE), sees="kim@example.com")
    with s.step("ask for a mail to reset the password") as step:
        you = s.browser()
        you.submit(you.open("/accounts/password/reset/"), {"email": "kim@example.com"})
        page = you.open(s.mail(r"https?://\S+/accounts/password/reset/key/\S+"))
        step.ends(page, sees="Change Password", misses="Bad Token", quiet=True)
    with s.step("reset the password by the mailed link") as step:
        step.ends(you.submit(page, {"password1": RESET, "password2": RESET}), sees="Your password is now changed")
    with s.step("the browser from before the reset") as step:
        step.ends(me.open(MINE), misses="kim@example.com")

    me = s.browser()
    spare = []
    with s.step("activate the second factor") as step:
        sign_in(me, "kim", RESET)
        page = with_the_password(me, "/accounts/2fa/totp/activate/")
        secret = re.search(r'value="([A-Z2-7]{32})"', page.text).group(1)
        # A code is good for half a minute, which may end on the way: a person takes the next one.
        for _ in range(3):
            done = me.submit(page, {"code": code(secret)})
            if done.shows("Authenticator app activated"):
                break
        step.ends(done, sees="Authenticator app activated")
        spare = re.findall(r"\b\d{8}\b", me.open("/accounts/2fa/recovery-codes/").text)
    with s.step("kim's password alone, at the service") as step:
        you = s.browser()
        step.ends(sign_in(you, "kim", RESET), sees="two-factor authentication")
    with s.step("kim's password alone opens nothing") as step:
        step.ends(you.open(MINE), misses="kim@example.com")
    with s.step("kim's password alone, at the gateway") as step:
        if s.gateway:
            you = s.password_at_the_gateway("kim", RESET)
            step.ends(you.open(MINE), misses="kim@example.com")
        else:
            step.without_a_page("-", "there is no gateway")
    with s.step("sign in with password and a recovery code") as step:
        me = s.browser()
        # Each code is good once, and the app's was used a moment ago.
        me.submit(sign_in(me, "kim", RESET), {"code": spare[0]})
        step.ends(me.open(MINE), sees="kim@example.com")
    with s.step("deactivate the second factor") as step:
        page = me.submit(with_the_password(me, "/accounts/2fa/totp/deactivate/"), {}, to="/deactivate/")
        step.ends(page, sees="Authenticator app deactivated")

    it = s.program()
    app, token = "/_allauth/app/v1", ""
    with s.step("the app's API: sign up") as step:
        choi = {"email": "choi@example.com", "username": "choi", "password": "choi-Plum-4716"}
        answer = step.says(it.call("POST", f"{app}/auth/signup", choi), "data", "meta", status=200)
        token = answer.json["meta"]["session_token"]
    with s.step("the app's API: a wrong password") as step:
        step.says(it.call("POST", f"{app}/auth/login", {"username": "kim", "password": "wrong"}), "errors")
    with s.step("the app's API: sign in") as step:
        answer = it.call("POST", f"{app}/auth/login", {"username": "kim", "password": RESET})
        step.says(answer, "data", "meta", status=200)
        token = answer.json["meta"]["session_token"]
    with s.step("the app's API: who am I") as step:
        answer = step.says(it.call("GET", f"{app}/auth/session", X_Session_Token=token), "data", "meta", status=200)
        step.note(answer.json["data"]["user"]["username"])
    with s.step("the app's API: sign out") as step:
        step.says(it.call("DELETE", f"{app}/auth/session", X_Session_Token=token), "meta", status=401)
    with s.step("the app's API: who am I after that") as step:
        step.says(it.call("GET", f"{app}/auth/session", X_Session_Token=token))

    me, browser = s.browser(), "/_allauth/browser/v1"
    with s.step("the browser's API: who am I, as a stranger") as step:
        step.says(me.fetch("GET", f"{browser}/auth/session"), "data", "meta", status=401)
    with s.step("the browser's API: sign in") as step:
        step.says(me.fetch("POST", f"{browser}/auth/login", {"username": "kim", "password": RESET}), "data", status=200)
    with s.step("the browser's API: who am I") as step:
        answer = step.says(me.fetch("GET", f"{browser}/auth/session"), "data", status=200)
        step.note(answer.json["data"]["user"]["username"])
    with s.step("the browser's API: the devices") as step:
        step.says(me.fetch("GET", f"{browser}/auth/sessions"), "data", status=200)
    with s.step("a page of the service with that sign-in") as step:
        step.ends(me.open(MINE), sees="kim@example.com")
    with s.step("the browser's API: sign out") as step:
        step.says(me.fetch("DELETE", f"{browser}/auth/session"), "meta", status=401)
    with s.step("a page of the service after that") as step:
        step.ends(me.open(MINE), misses="kim@example.com")
    use_the_admin(s)
