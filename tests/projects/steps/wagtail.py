"""Wagtail: a site that is open to strangers, and its editors' own admin."""

from person import PIXEL

from .people import ADMIN, CHANGED, KIM, RESET, use_the_admin
from .people import PREPARE as PEOPLE

# Kim is an editor. Wagtail's own sign-in page is in front of its admin only.
PREPARE = PEOPLE + """
from django.contrib.auth.models import Group
User.objects.get(username="kim").groups.add(Group.objects.get(name="Editors"))
"""


def sign_in(me, name, password, at="/admin/"):
    return me.submit(me.open(at), {"username": name, "password": password})


def steps(s):
    stranger = s.browser()
    with s.step("a stranger opens the site") as step:
        step.ends(stranger.open("/"), sees="Welcome to your new Wagtail site!")
    with s.step("a stranger searches") as step:
        step.ends(stranger.open("/search/?query=home"), sees="Search")
    with s.step("a stranger opens a page that is not there") as step:
        step.ends(stranger.open("/no/such/page/"))
    with s.step("a style sheet of the site") as step:
        step.ends(stranger.open("/static/css/mysite.css"))
    s.at_the_gateway("kim", KIM, "/admin/", sees="Welcome")
    with s.step("a wrong password at the service's own page") as step:
        step.ends(sign_in(s.browser(), "kim", "wrong", at="/admin/login/"), sees="Your username and password didn't match")
    me = s.browser()
    with s.step("sign in at the service's own page") as step:
        sign_in(me, "kim", KIM, at="/admin/login/")
        step.ends(me.open("/admin/account/"), sees="kim@example.com")
    with s.step("a page of the editor's scripts") as step:
        step.ends(me.open("/admin/sprite/"), quiet=True)
    with s.step("change a page, and submit it to the moderators") as step:
        page = me.submit(me.open("/admin/pages/3/edit/"), {"title": "Park's home"}, button="action-submit")
        step.ends(page, sees="submitted for moderation", quiet=True)
    with s.step("upload a picture") as step:
        page = me.submit(me.open("/admin/images/add/"), {"title": "A pixel"}, [("file", "pixel.gif", "image/gif", PIXEL)])
        step.ends(page, sees="Image 'A pixel' added")
    with s.step("upload a document") as step:
        page = me.submit(me.open("/admin/documents/add/"), {"title": "A text"}, [("file", "a.txt", "text/plain", b"text")])
        step.ends(page, sees="Document 'A text' added")
    with s.step("a stranger downloads the document") as step:
        step.ends(stranger.open("/documents/1/a.txt"), sees="text")
    with s.step("change the password") as step:
        fields = {f"password-{name}": CHANGED for name in ("new_password1", "new_password2")}
        fields |= {"password-old_password": KIM, "name_email-first_name": "Kim", "name_email-last_name": "Park"}
        step.ends(me.submit(me.open("/admin/account/"), fields), sees="account settings have been changed successfully")
    with s.step("be signed in as before") as step:
        step.ends(me.open("/admin/account/"), sees="kim@example.com")
    with s.step("ask for a mail to reset the password") as step:
        you = s.browser()
        page = you.submit(you.open("/admin/password_reset/"), {"email": "kim@example.com"})
        step.ends(page, sees="Check your email")
    with s.step("reset the password by the mailed link") as step:
        form = you.open(s.mail(r"https?://\S+/password_reset/confirm/\S+"))
        step.ends(you.submit(form, {"new_password1": RESET, "new_password2": RESET}), sees="Password change successful")
    with s.step("the browser from before the reset") as step:
        step.ends(me.open("/admin/account/"), misses="kim@example.com")
    me = s.browser()
    with s.step("sign in where the admin leads") as step:
        sign_in(me, "admin", ADMIN)
        step.ends(me.open("/admin/account/"), sees="admin@example.com")
    with s.step("publish the page") as step:
        page = me.submit(me.open("/admin/pages/3/edit/"), {"title": "Kim's home"}, button="action-publish")
        step.ends(page, sees="has been published", quiet=True)
    with s.step("a stranger sees it") as step:
        step.ends(stranger.open("/"), sees="Kim's home")
    with s.step("sign out") as step:
        me.press(me.open("/admin/account/"), "/admin/logout/")
        step.ends(me.open("/admin/account/"), misses="admin@example.com")
    use_the_admin(s, at="/django-admin/")
