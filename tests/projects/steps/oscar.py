"""django-oscar: a shop that is open to strangers, its customers' accounts, and its dashboard."""

from person import PIXEL

from .people import ADMIN, CHANGED, KIM, LEE, PREPARE, RESET, use_the_admin


def sign_in(me, name, password, at="/accounts/login/"):
    fields = {"login-username": name, "login-password": password}
    return me.submit(me.open(at), fields, button="login_submit")


def steps(s):
    stranger = s.browser()
    with s.step("a stranger opens the shop") as step:
        step.ends(stranger.open("/"), sees="Oscar")
    with s.step("a stranger opens the catalogue") as step:
        step.ends(stranger.open("/catalogue/"), sees="No products found")
    with s.step("a stranger opens the basket") as step:
        step.ends(stranger.open("/basket/"), sees="Your cart is empty")
    with s.step("a stranger opens the account") as step:
        step.ends(stranger.open("/accounts/profile/"), misses="Profile")
    s.at_the_gateway("kim", KIM, "/accounts/profile/", sees="kim@example.com")
    me = s.browser()
    with s.step("sign up") as step:
        fields = {f"registration-{name}": value for name, value in
                  {"email": "lee@example.com", "password1": LEE, "password2": LEE}.items()}
        me.submit(me.open("/accounts/login/"), fields, button="registration_submit")
        step.ends(me.open("/accounts/profile/"), sees="lee@example.com")
    with s.step("a wrong password at the service's own page") as step:
        step.ends(sign_in(s.browser(), "kim@example.com", "wrong"), sees="Please enter a correct username and password")
    me = s.browser()
    with s.step("sign in at the service's own page") as step:
        sign_in(me, "kim@example.com", KIM)
        step.ends(me.open("/accounts/profile/"), sees="kim@example.com")
    with s.step("change the profile") as step:
        page = me.submit(me.open("/accounts/profile/edit/"), {"last_name": "Park"})
        step.ends(page, sees=["Profile updated", "Park"])
    with s.step("make a list of wishes") as step:
        page = me.submit(me.open("/accounts/wishlists/create/"), {"name": "Books"})
        step.ends(page, sees="Books", quiet=True)
    with s.step("change the password") as step:
        fields = {"old_password": KIM, "new_password1": CHANGED, "new_password2": CHANGED}
        step.ends(me.submit(me.open("/accounts/change-password/"), fields), sees="Password updated")
    with s.step("be signed in as before") as step:
        step.ends(me.open("/accounts/profile/"), sees="kim@example.com")
    with s.step("ask for a mail to reset the password") as step:
        you = s.browser()
        page = you.submit(you.open("/password-reset/"), {"email": "kim@example.com"})
        step.ends(page, sees="Password reset")
    with s.step("reset the password by the mailed link") as step:
        form = you.open(s.mail(r"https?://\S+/password-reset/confirm/\S+"))
        page = you.submit(form, {"new_password1": RESET, "new_password2": RESET})
        step.ends(page, sees="Password reset complete")
    with s.step("the browser from before the reset") as step:
        step.ends(me.open("/accounts/profile/"), misses="kim@example.com")
    with s.step("sign in with the new password, and out again") as step:
        sign_in(you, "kim@example.com", RESET)
        page = you.open("/accounts/profile/")
        you.open("/accounts/logout/")
        step.ends(page, sees="kim@example.com")
    with s.step("open the account after that") as step:
        step.ends(you.open("/accounts/profile/"), misses="kim@example.com")
    with s.step("a customer opens the dashboard") as step:
        sign_in(you, "kim@example.com", RESET)
        step.ends(you.open("/dashboard/"), misses="Store statistics")
    me = s.browser()
    with s.step("open the dashboard, sign in where it leads") as step:
        page = me.submit(me.open("/dashboard/"), {"username": "admin@example.com", "password": ADMIN})
        step.ends(page, sees="Dashboard")
    with s.step("make a kind of product there") as step:
        page = me.submit(me.open("/dashboard/catalogue/product-type/create/"), {"name": "Book"})
        step.ends(page, sees="Product type created successfully")
    with s.step("make a category with a picture there") as step:
        form = me.open("/dashboard/catalogue/categories/create/")
        page = me.submit(form, {"name": "Novels"}, [("image", "pixel.gif", "image/gif", PIXEL)])
        step.ends(page, sees="Category created successfully")
    with s.step("a stranger sees the category") as step:
        step.ends(stranger.open("/catalogue/"), sees="Novels")
    use_the_admin(s)
