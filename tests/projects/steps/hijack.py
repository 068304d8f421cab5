"""django-hijack: a member of staff works as somebody else for a while."""

from .people import ADMIN, KIM, RESET, change_password, reset_password, sign_in_at, use_the_admin, wrong_password
from .people import PREPARE as PEOPLE

# So that the admin shows who is asking, everybody here is staff.
PREPARE = PEOPLE + "User.objects.update(is_staff=True)\n"


def steps(s):
    s.at_the_gateway("kim", KIM, "/admin/", sees="Welcome, Kim")
    wrong_password(s, "/accounts/login/", sees="didn't match")
    me = sign_in_at(s, "/accounts/login/", then="/admin/", sees="Welcome, Kim")
    change_password(s, me, "/admin/", "Welcome, Kim")
    reset_password(s)
    with s.step("the browser from before the reset") as step:
        step.ends(me.open("/admin/"), misses="Welcome, Kim")
    sign_in_at(s, "/accounts/login/", password=RESET, then="/admin/", sees="Welcome, Kim", what="sign in with the new password")

    staff = sign_in_at(s, "/accounts/login/", "admin", ADMIN, then="/admin/", sees="Welcome, admin", what="sign in as admin")
    with s.step("log in as kim") as step:
        # What the package's script sends when the button in the list of users is pressed.
        fields = {"user_pk": "2", "next": "/admin/"}
        page = staff.press(staff.open("/admin/auth/user/"), "/hijack/acquire/", fields)
        step.ends(page, sees="You are currently working on behalf of kim")
    with s.step("be kim") as step:
        step.ends(staff.open("/admin/"), sees="Welcome, Kim", misses="Welcome, admin")
    with s.step("release kim") as step:
        page = staff.submit(staff.open("/admin/"), {}, to="/hijack/release/")
        step.ends(page, misses="You are currently working on behalf")
    with s.step("be admin again") as step:
        step.ends(staff.open("/admin/"), sees="Welcome, admin")
    use_the_admin(s)
