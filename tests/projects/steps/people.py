"""Who the people of all scripts are, and what they do on Django's own pages: the admin, and those for passwords."""

import re

ADMIN = "admin-Plum-4711"
KIM = "kim-Plum-4712"
# What kim changes the password to, and what it is reset to.
CHANGED = "kim-Pear-4713"
RESET = "kim-Fig-4714"
# What new people choose.
LEE = "lee-Plum-4715"

PREPARE = f"""
from django.contrib.auth import get_user_model
User = get_user_model()
User.objects.create_superuser("admin", "admin@example.com", "{ADMIN}")
User.objects.create_user("kim", "kim@example.com", "{KIM}", first_name="Kim")
"""


def use_the_admin(s, at="/admin/", who="kim", password=ADMIN):
    """Opens the admin as a stranger, signs in where that leads, changes somebody, and signs out."""
    me = s.browser()
    with s.step("open the admin, sign in where it leads") as step:
        page = me.submit(me.open(at), {"username": "admin", "password": password})
        step.ends(page, sees=["Site administration", "admin"])
    with s.step("change an object in the admin") as step:
        found = re.search(rf'href="({at}auth/user/\d+/change/)[^"]*">{who}<', me.open(f"{at}auth/user/").text)
        form = me.open(found.group(1) if found else f"{at}auth/user/")
        step.ends(me.submit(form, {"last_name": "Park"}, button="_save"), sees="was changed successfully")
    with s.step("see the change in the admin") as step:
        step.ends(me.open(f"{at}auth/user/?q={who}"), sees="Park")
    with s.step("sign out of the admin") as step:
        step.ends(me.submit(me.open(at), {}, to="logout/"), sees="Logged out")
    with s.step("open the admin after that") as step:
        step.ends(me.open(at), misses="Site administration")


def sign_in_at(s, path, user="kim", password=KIM, name="username", then=None, sees=(), what=None):
    """Signs in at the service's own page in a new browser, which is given back."""
    me = s.browser()
    with s.step(what or "sign in at the service's own page") as step:
        page = me.submit(me.open(path), {name: user, "password": password})
        step.ends(me.open(then) if then else page, sees=sees)
    return me


def wrong_password(s, path, sees, name="username"):
    with s.step("a wrong password there") as step:
        me = s.browser()
        step.ends(me.submit(me.open(path), {name: "kim", "password": "wrong"}), sees=sees)


def change_password(s, me, then, sees, old=KIM):
    """On the page of `django.contrib.auth.urls`; this browser stays signed in."""
    with s.step("change the password") as step:
        form = me.open("/accounts/password_change/")
        fields = {"old_password": old, "new_password1": CHANGED, "new_password2": CHANGED}
        step.ends(me.submit(form, fields), sees="Password change successful")
    with s.step("be signed in as before") as step:
        step.ends(me.open(then), sees=sees)


def reset_password(s):
    """By the link in the mail, in a browser that has been nowhere."""
    me = s.browser()
    with s.step("ask for a mail to reset the password") as step:
        page = me.submit(me.open("/accounts/password_reset/"), {"email": "kim@example.com"})
        step.ends(page, sees="Password reset sent")
    with s.step("reset the password by the mailed link") as step:
        form = me.open(s.mail(r"https?://\S+/accounts/reset/\S+"))
        page = me.submit(form, {"new_password1": RESET, "new_password2": RESET})
        step.ends(page, sees="Password reset complete")
