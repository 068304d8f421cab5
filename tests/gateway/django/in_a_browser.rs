//! Tests the Django admin in a real browser behind the gateway: one sign-in, and one sign-out for everything.

use super::COOKIE;
use crate::support::DEVICE_COOKIE;
use crate::support::browser::Browser;
use crate::support::django::Django;
use crate::support::gateway::{Gateway, write_private};

const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

/// Starts a gateway that gives the admin a Django session, and the rest of the service identity headers.
fn gateway(django: &Django) -> (tempfile::TempDir, Gateway) {
    gateway_with(django, "")
}

/// Does the same, with these keys and tables after the form's key file.
fn gateway_with(django: &Django, more: &str) -> (tempfile::TempDir, Gateway) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret-key");
    write_private(&key, format!("{SECRET_KEY}\n"));
    let form = format!(
        "[[identity.form]]\nname = \"admin\"\nkind = \"django-session\"\nkey_file = \"{}\"\n{more}",
        key.display()
    );
    let routes = "[[route]]\nname = \"static\"\npath = \"/static/\"\nupstream = \"app\"\naccess = \"public\"\n\
        [[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\nidentity = { cookie = \"admin\" }\n";
    (folder, django.setup().routes(routes).with(&form).start())
}

fn at(gateway: &Gateway, path: &str) -> String {
    format!("http://localhost:{}{path}", gateway.http.port())
}

fn sign_in(browser: &Browser) {
    browser.fill("#username", "admin");
    browser.fill("#password", "admin-pass-1234");
    browser.follow("button[type=submit]");
}

#[test]
fn a_person_changes_something_in_the_admin_and_signs_out_there() {
    let django = Django::start();
    let (_folder, gateway) = gateway(&django);
    let browser = Browser::start();

    browser.open(&at(&gateway, "/admin/"));
    assert_eq!(browser.url(), at(&gateway, "/login?next=/admin/"));
    sign_in(&browser);
    assert_eq!(browser.url(), at(&gateway, "/admin/"));
    assert_eq!(browser.text("#content h1"), "Site administration");
    assert!(browser.text("#user-tools").to_lowercase().contains("admin"));

    // A group is renamed, by clicks from page to page.
    browser.follow("a[href='/admin/auth/group/']");
    browser.follow("#result_list tbody th a");
    browser.fill("#id_name", "-renamed");
    browser.follow("input[name=_save]");
    assert_eq!(browser.url(), at(&gateway, "/admin/auth/group/"));
    let said = browser.text(".messagelist .success");
    assert!(said.contains("was changed successfully"), "{said}");
    django.run("Group.objects.get(name='editors-renamed')");
    assert_eq!(
        browser.cookie_names(),
        [COOKIE, DEVICE_COOKIE, "csrftoken"],
        "no session of Django's here"
    );

    // Signing out in the admin signs out at the gateway, and the admin requires a new sign-in.
    browser.follow("#logout-form button");
    assert_eq!(browser.cookie_names(), [DEVICE_COOKIE, "csrftoken"]);
    browser.open(&at(&gateway, "/admin/"));
    assert_eq!(browser.url(), at(&gateway, "/login?next=/admin/"));
    django.run(
        "from django.contrib.sessions.models import Session\nassert Session.objects.count() == 0",
    );
}

#[test]
fn signing_out_at_the_gateway_signs_the_admin_out() {
    let django = Django::start();
    let (_folder, gateway) = gateway(&django);
    let browser = Browser::start();
    browser.open(&at(&gateway, "/login?next=/admin/"));
    sign_in(&browser);
    assert_eq!(browser.text("#content h1"), "Site administration");
    browser.run(
        "document.body.innerHTML = '<form method=post action=/logout><button id=out>Sign out</button></form>'",
    );
    browser.follow("#out");
    browser.open(&at(&gateway, "/admin/"));
    assert_eq!(browser.url(), at(&gateway, "/login?next=/admin/"));
    crate::support::eventually("the admin's session to go", || {
        let db = rusqlite::Connection::open(django.database()).unwrap();
        let count: i64 =
            db.query_row("SELECT count(*) FROM django_session", [], |row| row.get(0)).unwrap();
        (count == 0).then_some(())
    });
}

#[test]
fn a_session_from_before_the_gateway_opens_the_admin_until_its_log_out() {
    let django = Django::start();
    let browser = Browser::start();
    // Signed in at Django's own page. Cookies ignore the port, so the gateway receives the cookie that Django set.
    browser.open(&format!("http://localhost:{}/admin/login/?next=/admin/", django.address.port()));
    browser.fill("#id_username", "admin");
    browser.fill("#id_password", "admin-pass-1234");
    browser.follow("input[type=submit]");
    assert_eq!(browser.cookie_names(), ["csrftoken", "sessionid"]);

    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), SECRET_KEY).unwrap();
    let issuer =
        format!("[[issuer]]\nkind = \"django-session\"\nkey_file = \"{}\"\n", key.path().display());
    let (_folder, gateway) = gateway_with(&django, &issuer);
    browser.open(&at(&gateway, "/admin/auth/group/"));
    assert_eq!(browser.url(), at(&gateway, "/admin/auth/group/"), "nobody asked for a password");
    browser.follow("#result_list tbody th a");
    browser.fill("#id_name", "-renamed");
    browser.follow("input[name=_save]");
    let said = browser.text(".messagelist .success");
    assert!(said.contains("was changed successfully"), "{said}");
    django.run("Group.objects.get(name='editors-renamed')");
    assert_eq!(browser.cookie_names(), ["csrftoken", "sessionid"], "and none of the gateway's");

    browser.follow("#logout-form button");
    browser.open(&at(&gateway, "/admin/"));
    assert_eq!(browser.url(), at(&gateway, "/login?next=/admin/"));
    django.run(
        "from django.contrib.sessions.models import Session\nassert Session.objects.count() == 0",
    );
}
