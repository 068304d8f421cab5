//! Tests applications that are not written in Django: the gateway fills in their login form, and stores their cookies.

use std::thread;

use serde_json::{Value, json};

use crate::support::apps::{FormLogin, Php};
use crate::support::client::{Client, Request, Response};
use crate::support::django::{CHEAP_PASSWORDS, Django};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};

const COOKIE: &str = "__Host-doorwarden";

/// Returns a gateway in front of an application, with this directory; callers with the gateway's cookie get the
/// application's.
fn setup(app: std::net::SocketAddr, directory: &str, form: &str) -> Setup {
    Setup::new(app)
        .directories(directory)
        .routes(
            "[[route]]\nname = \"public\"\npath = \"/public/\"\nstrip_prefix = \"/public/\"\nupstream = \"app\"\naccess = \"public\"\nidentity = \"app\"\n\
             [[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\nidentity = \"app\"\n",
        )
        .with(&format!("[[identity.form]]\nname = \"app\"\nkind = \"cookies\"\n{form}"))
}

/// Returns the directory that uses the form of `tests/apps/form_login.py`.
fn by_form(app: &FormLogin) -> String {
    let at = app.address;
    format!(
        "[[directory]]\nkind = \"http\"\nname = \"app\"\nurl = \"http://{at}/login\"\n\
         username_field = \"user\"\npassword_field = \"pass\"\n\
         csrf = {{ page = \"http://{at}/login\", field = \"tok\" }}\n\
         fields = {{ remember = \"1\" }}\n\
         success = {{ status = [302], location = \"/home\", cookie = \"sid\" }}\n\
         refused = {{ status = [200], body_contains = \"Wrong name or password\" }}\n\
         logout = {{ url = \"http://{at}/logout\" }}\n\
         timeout = \"2s\"\nmax_concurrent = 1\n"
    )
}

fn with_form(app: &FormLogin) -> Gateway {
    setup(app.address, &by_form(app), "cookies = [\"sid\"]\nlogin_path = \"/login\"").start()
}

fn post(client: &Client, name: &str, password: &str) -> Response {
    client.post("/login").json(&json!({"username": name, "password": password})).send()
}

/// Signs in, and returns the session cookie.
fn enter(client: &Client, name: &str, password: &str) -> String {
    let response = post(client, name, password);
    assert_eq!(response.status, 200, "{}", response.text());
    response.set_cookie(COOKIE).unwrap()
}

fn whoami(client: &Client, cookie: &str) -> Request {
    client.get("/whoami").cookie(COOKIE, cookie)
}

/// Returns what the application reports about a caller.
fn seen(request: &Request) -> Value {
    let response = request.send();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

fn refused(response: &Response) -> (u16, String) {
    (response.status, response.code())
}

#[test]
fn an_application_in_php_is_fronted_without_touching_it() {
    let php = Php::start();
    let at = php.address;
    let directory = format!(
        "[[directory]]\nkind = \"http\"\nname = \"php\"\nurl = \"http://{at}/login.php\"\n\
         username_field = \"user\"\npassword_field = \"pass\"\n\
         csrf = {{ page = \"http://{at}/login.php\", field = \"_token\" }}\n\
         success = {{ status = [302], location = \"/home.php\" }}\n\
         refused = {{ status = [200], body_contains = \"Wrong name or password\" }}\n\
         user = {{ casefold = true }}\nlogout = {{ url = \"http://{at}/logout.php\", method = \"GET\" }}\n"
    );
    let form = "cookies = [\"PHPSESSID\"]\nlogin_path = \"/login.php\"";
    let mut gateway = setup(at, &directory, form).behind_a_proxy().start();
    let client = gateway.client();

    assert_eq!(refused(&post(&client, "kim", "wrong")).0, 401);
    assert_eq!(refused(&post(&client, "nobody", "correct horse")).0, 401);
    let signed_in = client
        .post("/login")
        .from("203.0.113.9".parse().unwrap())
        .json(&json!({"username": "Kim", "password": "correct horse"}))
        .send();
    assert_eq!(signed_in.sets().len(), 1, "ours alone: {:?}", signed_in.headers);
    let cookie = signed_in.set_cookie(COOKIE).unwrap();
    let lee = enter(&client, "lee", "staple 한글 암호");

    let home = client.get("/home.php").cookie(COOKIE, &cookie).send();
    assert!(home.text().contains("<h1>Hello kim</h1>"), "{}", home.text());
    assert!(home.text().contains("views=1 from=203.0.113.9"), "{}", home.text());
    assert!(home.text().contains("gateway=kim"), "and the headers: {}", home.text());
    assert!(home.text().contains("[&quot;PHPSESSID&quot;]"), "{}", home.text());
    let other = client.get("/home.php").cookie(COOKIE, &lee).send();
    assert!(other.text().contains("<h1>Hello lee</h1>"), "{}", other.text());

    // The application's own form with its own hidden token still works.
    let text = home.text();
    let token = text.split("name=_token value='").nth(1).unwrap().split('\'').next().unwrap();
    let order = |token: &str| {
        client
            .post("/order.php")
            .cookie(COOKIE, &cookie)
            .header("Origin", "http://app.test")
            .form(&[("_token", token), ("item", "tea")])
            .send()
    };
    assert!(order(token).text().contains("ordered by kim: tea"));
    assert_eq!(order("made up").status, 419, "its own check is on");

    // The application changes the session id, and a crash right after that loses nothing.
    let renewed = client.get("/renew.php").cookie(COOKIE, &cookie).send();
    assert_eq!(renewed.all("set-cookie"), ["other=passes"], "{:?}", renewed.headers);
    gateway.kill();
    gateway.spawn();
    let client = gateway.client();
    let home = client.get("/home.php").cookie(COOKIE, &cookie).send();
    assert!(home.text().contains("views=2 from=203.0.113.9"), "{}", home.text());

    // Signing out in the application signs out at the gateway.
    let out = client.get("/logout.php").cookie(COOKIE, &cookie).send();
    assert_eq!((out.status, out.header("location")), (302, Some("login.php")));
    assert_eq!(out.all("set-cookie").len(), 1, "{:?}", out.headers);
    assert_eq!(out.set_cookie(COOKIE).as_deref(), Some(""));
    let after = client.get("/home.php").cookie(COOKIE, &cookie).send();
    assert_eq!(refused(&after), (401, "session_ended".into()));
    let other = client.get("/home.php").cookie(COOKIE, &lee).send();
    assert!(other.text().contains("<h1>Hello lee</h1>"), "{}", other.text());
}

#[test]
fn djangos_own_login_page_is_filled_in() {
    let django = Django::start_with(&[CHEAP_PASSWORDS]);
    let at = django.address;
    let directory = format!(
        "[[directory]]\nkind = \"http\"\nurl = \"http://{at}/admin/login/?next=/admin/\"\n\
         csrf = {{ page = \"http://{at}/admin/login/\", field = \"csrfmiddlewaretoken\" }}\n\
         success = {{ status = [302], location = \"/admin\", cookie = \"sessionid\" }}\n\
         refused = {{ status = [200], body_contains = \"errornote\" }}\n\
         logout = {{ url = \"http://{at}/admin/logout/\", csrf_page = \"http://{at}/admin/\" }}\n"
    );
    let form = "cookies = [\"sessionid\"]\nlogin_path = \"/admin/login/\"";
    let gateway = setup(at, &directory, form).start();
    let client = gateway.client();
    assert_eq!(refused(&post(&client, "staff", "wrong")).0, 401);
    assert_eq!(refused(&post(&client, "kim", "kim-pass-1234")).0, 401, "who is not staff");
    let cookie = enter(&client, "staff", "staff-pass-1234");
    let page = client.get("/admin/").cookie(COOKIE, &cookie).send();
    assert_eq!((page.status, page.set_cookie("sessionid")), (200, None), "{}", page.text());
    assert!(page.text().contains("Site administration"), "{}", page.text());

    let rows = || {
        let db = rusqlite::Connection::open(django.database()).unwrap();
        db.query_row("SELECT count(*) FROM django_session", [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!(rows(), 1);
    let out =
        client.post("/logout").cookie(COOKIE, &cookie).header("Origin", "http://app.test").send();
    assert_eq!(out.status, 204, "{}", out.text());
    eventually("Django's session to go, by its own form", || (rows() == 0).then_some(()));
}

#[test]
fn what_the_application_was_sent_is_what_a_browser_sends() {
    let app = FormLogin::start();
    let gateway = with_form(&app);
    enter(&gateway.client(), " kim ", "correct horse");
    let requests = app.seen();
    let [page, login] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((&page["method"], &page["path"]), (&json!("GET"), &json!("/login")));
    assert_eq!(page["headers"]["cookie"], Value::Null);
    let origin = format!("http://{}", app.address);
    assert_eq!(login["headers"]["origin"], origin);
    assert_eq!(login["headers"]["referer"], format!("{origin}/login"));
    assert_eq!(login["headers"]["x-forwarded-for"], "127.0.0.1");
    assert!(login["headers"]["cookie"].as_str().unwrap().starts_with("csrf="));
    let body = login["body"].as_str().unwrap();
    assert!(body.starts_with("remember=1&tok="), "{body}");
    assert!(body.ends_with("&user=kim&pass=correct+horse"), "{body}");
    let log = gateway.log().join("\n");
    let sid = &app.sessions()[0].0;
    assert!(!log.contains("correct horse") && !log.contains(sid), "{log}");
}

#[test]
fn the_page_signs_in_and_says_what_is_wrong() {
    let app = FormLogin::start();
    let gateway = with_form(&app);
    let client = gateway.client();
    let form = |password: &str| {
        client
            .post("/login")
            .header("Origin", "http://app.test")
            .header("Accept", "text/html")
            .header("Sec-Fetch-Mode", "navigate")
            .form(&[("username", "kim"), ("password", password), ("next", "/whoami")])
            .send()
    };
    assert_eq!(form("wrong").status, 401);
    let entered = form("correct horse");
    assert_eq!((entered.status, entered.header("location")), (303, Some("/whoami")));
    let cookie = entered.set_cookie(COOKIE).unwrap();
    assert_eq!(seen(&whoami(&client, &cookie))["user"], "kim");
}

#[test]
fn an_answer_that_is_neither_is_no_answer_and_keeps_nobody_out_who_is_in() {
    let mut app = FormLogin::start();
    let gateway = with_form(&app);
    let client = gateway.client();
    let cookie = enter(&client, "kim", "correct horse");
    let unavailable = (503, "directory_unavailable".to_owned());
    for status in [500, 502, 503, 429, 403, 404, 201, 301] {
        app.control(&json!({"status": status}));
        for password in ["correct horse", "wrong"] {
            assert_eq!(refused(&post(&client, "kim", password)), unavailable, "{status}");
        }
    }
    gateway.logged("why", |line| line.to_string().contains("fits neither"));
    app.well();
    app.control(&json!({"delay": 4}));
    assert_eq!(refused(&post(&client, "kim", "correct horse")), unavailable, "too slow");
    app.well();
    // Only the beginning of an answer is read; the deciding part must be in it.
    app.control(&json!({"huge": true}));
    assert_eq!(refused(&post(&client, "kim", "wrong")).0, 401);
    assert_eq!(seen(&whoami(&client, &cookie))["user"], "kim");
    app.stop();
    assert_eq!(refused(&post(&client, "kim", "correct horse")), unavailable, "down");
}

#[test]
fn too_many_at_once_are_told_to_come_again() {
    let app = FormLogin::start();
    let gateway = with_form(&app);
    app.control(&json!({"delay": 1}));
    let slow = thread::spawn({
        let client = gateway.client();
        move || post(&client, "kim", "correct horse")
    });
    eventually("the first to be at the application", || {
        app.seen().iter().any(|one| one["method"] == "POST").then_some(())
    });
    let busy = post(&gateway.client(), "lee", "battery staple");
    assert_eq!((busy.status, busy.header("retry-after")), (503, Some("1")), "{}", busy.text());
    assert_eq!(slow.join().unwrap().status, 200);
}

#[test]
fn guessing_is_limited_here_before_it_reaches_the_application() {
    let app = FormLogin::start();
    let gateway = with_form(&app);
    let client = gateway.client();
    let locked = (0..20).find_map(|_| {
        let answer = post(&client, "kim", "wrong");
        (answer.status == 429).then_some(answer)
    });
    assert!(locked.unwrap().header("retry-after").is_some());
    let asked = app.seen().len();
    assert_eq!(post(&client, "kim", "correct horse").status, 429);
    assert_eq!(app.seen().len(), asked);
}

#[test]
fn a_client_sees_none_of_it_and_can_send_none_of_it() {
    let app = FormLogin::start();
    let gateway = with_form(&app);
    let client = gateway.client();
    let kim = enter(&client, "kim", "correct horse");
    let lee = enter(&client, "lee", "battery staple");
    let sid = |user: &str| app.sessions().into_iter().find(|one| one.1 == user).unwrap().0;
    let (kims, lees) = (sid("kim"), sid("lee"));
    for name in ["sid", " sid", "\u{a0}sid", "sid\u{a0}"] {
        let line = format!("{name}={lees}; {COOKIE}={kim}; mine=1; {name}=evil");
        let seen = seen(&client.get("/whoami").header("Cookie", &line));
        assert_eq!(seen["user"], "kim", "{name:?}");
        assert_eq!(seen["cookie"], format!("mine=1; sid={kims}"), "{name:?}");
        // A caller who is not signed in at the gateway is anonymous in the application.
        let line = format!("{name}={lees}; mine=1");
        let nobody = client.get("/public/whoami").header("Cookie", &line).send();
        assert_eq!((nobody.status, nobody.header("location")), (302, Some("/login?next=x")));
        let asked = app.seen().pop().unwrap();
        assert_eq!(asked["headers"]["cookie"], "mine=1", "{name:?}");
    }
    assert_eq!(seen(&whoami(&client, &lee))["user"], "lee");

    let rotated = client.get("/rotate").cookie(COOKIE, &kim).send();
    assert_eq!(rotated.all("set-cookie"), ["flash=hello; Path=/"]);
    assert!(app.sessions().iter().all(|(id, _)| *id != kims), "it is another now");
    assert_eq!(seen(&whoami(&client, &kim))["user"], "kim");
}

#[test]
fn a_session_ends_on_both_sides_whoever_ends_it() {
    let app = FormLogin::start();
    let mut gateway = with_form(&app);
    let client = gateway.client();
    let out = |client: &Client, cookie: &str| {
        client.post("/logout").cookie(COOKIE, cookie).header("Origin", "http://app.test").send()
    };
    let gone = || eventually("its session to go", || app.sessions().is_empty().then_some(()));

    let cookie = enter(&client, "kim", "correct horse");
    assert_eq!(out(&client, &cookie).status, 204);
    gone();

    // After a restart, without a request in between.
    let cookie = enter(&client, "kim", "correct horse");
    gateway.kill();
    gateway.spawn();
    let client = gateway.client();
    assert_eq!(app.sessions().len(), 1);
    assert_eq!(out(&client, &cookie).status, 204);
    gone();

    // Ended by the application's own sign-out, which deletes the cookie.
    let cookie = enter(&client, "kim", "correct horse");
    let bye =
        client.post("/bye").cookie(COOKIE, &cookie).header("Origin", "http://app.test").send();
    assert_eq!((bye.status, bye.set_cookie(COOKIE).as_deref()), (302, Some("")));
    assert_eq!(refused(&whoami(&client, &cookie).send()), (401, "session_ended".into()));

    // Ended by the application's own timeout, which shows when it redirects to its login form.
    let cookie = enter(&client, "kim", "correct horse");
    app.ends(&app.sessions()[0].0);
    let sent_away = whoami(&client, &cookie).send();
    assert_eq!((sent_away.status, sent_away.header("location")), (302, Some("/login?next=x")));
    assert_eq!(refused(&whoami(&client, &cookie).send()), (401, "session_ended".into()));

    // Ended by an operator.
    enter(&client, "kim", "correct horse");
    let ended = gateway.command(&["session", "end", "--user", "app/kim"]);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    gone();
}

#[test]
fn an_answer_in_json_says_who_it_is() {
    let app = FormLogin::start();
    let at = app.address;
    let directory = format!(
        "[[directory]]\nkind = \"file\"\npath = \"users.toml\"\n\
         [[directory]]\nkind = \"http\"\nname = \"api\"\nurl = \"http://{at}/api/login\"\nencoding = \"json\"\n\
         username_field = \"user\"\npassword_field = \"pass\"\n\
         success = {{ status = [200], json = \"/user/id\", cookie = \"sid\" }}\nrefused = {{ status = [401] }}\n\
         user = {{ id = \"/user/id\", name = \"/user/login\", groups = \"/user/roles\", email = \"/user/mail\" }}\n"
    );
    let gateway = setup(at, &directory, "directory = \"api\"")
        .with("[identity.attributes]\nX-User-Email = \"email\"")
        .start();
    let client = gateway.client();
    assert_eq!(refused(&post(&client, "ada", "wrong")).0, 401);
    let cookie = enter(&client, "ada", "analytical");
    assert_eq!(seen(&whoami(&client, &cookie))["user"], "ada");
    let headers = app.seen().pop().unwrap()["headers"].clone();
    for (name, value) in [
        ("x-user-id", "9"),
        ("x-user-name", "ada"),
        ("x-user-groups", "editors,staff"),
        ("x-user-email", "ada@app.example"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    // A name in the first directory is checked there only, and has no session in the application.
    let root = enter(&client, "root", "toor toor toor");
    assert_eq!(refused(&whoami(&client, &root).send()), (403, "other_directory".into()));
    assert_eq!(app.seen().iter().filter(|one| one["path"] == "/api/login").count(), 2);
}
