"""django-axes: who tries too many passwords is locked out by the service."""

from .people import ADMIN, KIM, RESET, change_password, reset_password, sign_in_at, use_the_admin, wrong_password
from .people import PREPARE as PEOPLE

# So that the admin shows who is asking, everybody here is staff. Lee is there to be locked out.
PREPARE = PEOPLE + "User.objects.create_user('lee', 'lee@example.com', 'lee')\nUser.objects.update(is_staff=True)\n"


def steps(s):
    s.at_the_gateway("kim", KIM, "/admin/", sees="Welcome, Kim")
    wrong_password(s, "/accounts/login/", sees="didn't match")
    me = sign_in_at(s, "/accounts/login/", then="/admin/", sees="Welcome, Kim")
    change_password(s, me, "/admin/", "Welcome, Kim")
    with s.step("the old password after that") as step:
        you = s.browser()
        page = you.submit(you.open("/accounts/login/"), {"username": "kim", "password": KIM})
        step.ends(page, sees="didn't match")
    reset_password(s)
    with s.step("the browser from before the reset") as step:
        step.ends(me.open("/admin/"), misses="Welcome, Kim")
    sign_in_at(s, "/accounts/login/", password=RESET, then="/admin/", sees="Welcome, Kim", what="sign in with the new password")
    use_the_admin(s)
    with s.step("see in the admin where it came from") as step:
        me = s.browser()
        me.submit(me.open("/admin/"), {"username": "admin", "password": ADMIN})
        step.ends(me.open("/admin/axes/accesslog/"), sees="127.0.0.1")
    with s.step("three wrong passwords for lee, counted by the address") as step:
        you = s.browser()
        for _ in range(3):
            page = you.submit(you.open("/accounts/login/"), {"username": "lee", "password": "wrong"})
        step.ends(page)
