"""django CMS: pages for strangers, which editors change in the admin."""

from person import PIXEL

from .people import ADMIN, CHANGED, PREPARE, use_the_admin


def steps(s):
    stranger = s.browser()
    with s.step("a stranger opens the site before there is a page") as step:
        step.ends(stranger.open("/"), misses="A new home", quiet=True)
    s.at_the_gateway("admin", ADMIN, "/admin/", sees="Site administration")
    with s.step("a wrong password at the service's own page") as step:
        me = s.browser()
        page = me.submit(me.open("/admin/login/"), {"username": "admin", "password": "wrong"})
        step.ends(page, sees="Please enter the correct username and password")
    me = s.browser()
    with s.step("sign in at the service's own page") as step:
        page = me.submit(me.open("/admin/login/?next=/admin/"), {"username": "admin", "password": ADMIN})
        step.ends(page, sees="Site administration")
    with s.step("make a page") as step:
        form = me.open("/admin/cms/pagecontent/add/?language=en-us")
        page = me.submit(form, {"title": "A new home", "slug": "home"}, button="_save")
        step.ends(page, misses="Please correct the error")
    with s.step("a stranger looks for it before it is published") as step:
        step.ends(stranger.open("/"), misses="A new home")
    with s.step("publish it") as step:
        versions = me.open("/admin/djangocms_versioning/pagecontentversion/?page=1&language=en-us")
        step.ends(me.press(versions, "/admin/djangocms_versioning/pagecontentversion/1/publish/"), quiet=True)
    with s.step("a stranger looks for it") as step:
        step.ends(stranger.open("/"), sees="A new home")
    with s.step("upload a picture") as step:
        target = "/admin/filer/clipboard/operations/upload/no_folder/"
        page = me.press(me.open("/admin/filer/folder/"), target, files=[("file", "pixel.gif", "image/gif", PIXEL)])
        step.says(page, "file_id")
    with s.step("change the password") as step:
        fields = {"old_password": ADMIN, "new_password1": CHANGED, "new_password2": CHANGED}
        step.ends(me.submit(me.open("/admin/password_change/"), fields), sees="Password change successful")
    with s.step("be signed in as before") as step:
        step.ends(me.open("/admin/"), sees="Site administration")
    use_the_admin(s, password=CHANGED)
