//! Tests the way from a project's settings to a running gateway.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{doctor, printed};
use crate::support::client::Client;
use crate::support::database::{Database, Kind};
use crate::support::django::{Django, root};
use crate::support::gateway::{Gateway, run_in};

/// The service's `SECRET_KEY`.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

const OBTAIN: &str = "/api/v1/users/login/simpleJWT";
const REFRESH: &str = "/api/v1/users/login/simpleJWT/refresh";
const VERIFY: &str = "/api/v1/users/login/simpleJWT/verify";

fn manage_py() -> String {
    root().join("tests/django/manage.py").display().to_string()
}

/// Returns a folder with what the doctor writes for the service, and what it printed.
fn written(database: &str, upstream: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let manage = manage_py();
    let arguments = [
        ["--settings", &manage],
        ["--listen", "127.0.0.1:0"],
        ["--admin", "127.0.0.1:0"],
        ["--upstream", upstream],
    ];
    let output = doctor(folder.path(), database, arguments.as_flattened());
    let text = printed(&output, 0);
    (folder, text)
}

fn for_django(django: &Django) -> (TempDir, String) {
    written(&django.database().display().to_string(), &django.address.to_string())
}

fn post(client: &Client, path: &str, body: &Value) -> (u16, Value) {
    let response = client.post(path).json(body).send();
    (response.status, response.json())
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}")).to_owned()
}

#[test]
fn one_command_puts_a_gateway_in_front_of_the_service() {
    let django = Django::start();
    let before = Client::new(django.address);
    let kim = json!({"username": "kim", "password": "kim-pass-1234"});
    let (_, issued) = post(&before, OBTAIN, &kim);
    let login = |name: &str| {
        let body = json!({"username": name, "password": format!("{name}-pass-1234")});
        let response = before.post("/api/v1/users/login").json(&body).send();
        response.set_cookie("sessionid").unwrap_or_else(|| panic!("{name}: {}", response.text()))
    };
    let (session, admins) = (login("kim"), login("admin"));
    django.run("from rest_framework.authtoken.models import Token\nToken.objects.create(user_id=3, key='5' * 40)");

    let (folder, _) = for_django(&django);
    let gateway = Gateway::launch(folder);
    let client = gateway.client();

    // The service's users sign in, with each of its password hashers; nobody else does.
    for (name, password, id) in [
        ("kim", "kim-pass-1234", "2"),
        ("lee", "lee-pass-1234", "3"),
        ("park", "park-pass-1234", "4"),
        ("choi", "choi-pass-1234", "5"),
        ("김민정", "비밀번호-1234", "13"),
    ] {
        let tokens = client.sign_in(name, password);
        let seen = client.get("/api/v1/whoami").bearer(&text(&tokens, "access")).send().json();
        assert_eq!(seen["meta"]["HTTP_X_USER_ID"], id, "{name}");
        assert_eq!(seen["rest_framework"]["user"]["username"], name, "{seen}");
        assert_eq!(seen["rest_framework"]["by"], "JWTAuthentication");
    }
    for (name, password) in [("kim", "wrong"), ("inactive", "inactive-pass-1234"), ("nobody", "x")]
    {
        let (status, _) = post(&client, "/login", &json!({"username": name, "password": password}));
        assert_eq!(status, 401, "{name}");
    }
    // The service shows this page to strangers, and the gateway adds no identity.
    let stranger = client.get("/api/v1/whoami").send();
    assert_eq!(stranger.status, 200);
    assert!(stranger.json()["meta"].get("HTTP_X_USER_ID").is_none(), "{}", stranger.text());
    assert_eq!(client.get("/api/v1/whoami/below").send().status, 401);

    // Tokens that SimpleJWT issued before stay valid, and its views see whose they are.
    let seen = client.get("/api/v1/whoami").bearer(&text(&issued, "access")).send().json();
    assert_eq!(seen["rest_framework"]["user"]["username"], "kim", "{seen}");
    let forged = client.get("/api/v1/whoami").bearer(&format!("{}x", text(&issued, "access")));
    assert_eq!(forged.send().status, 401);

    // So do its sessions, its tokens, and names and passwords in each request.
    let seen = client.get("/api/v1/whoami").cookie("sessionid", &session).send().json();
    assert_eq!(seen["user"]["username"], "kim", "{seen}");
    let page = client.get("/admin/").cookie("sessionid", &admins).send();
    assert!(page.text().contains("Site administration"), "{}", page.text());
    for (credential, name) in [
        (format!("Token {}", "5".repeat(40)), "lee"),
        ("Basic a2ltOmtpbS1wYXNzLTEyMzQ=".to_owned(), "kim"),
    ] {
        let request = client.get("/api/v1/whoami").header("Authorization", &credential);
        let seen = request.send().json();
        assert_eq!(seen["rest_framework"]["user"]["username"], name, "{seen}");
    }
    let forged = client.get("/api/v1/whoami").cookie("sessionid", &"a".repeat(32));
    assert_eq!(forged.send().status, 401);

    // Its refresh token is taken over, and stays valid as its settings say.
    let outstanding = json!({"refresh": text(&issued, "refresh")});
    for _ in 0..2 {
        let (status, refreshed) = post(&client, REFRESH, &outstanding);
        assert_eq!(status, 200, "{refreshed}");
        assert_eq!(refreshed.as_object().unwrap().len(), 1, "{refreshed}");
        let seen = client.get("/api/v1/whoami").bearer(&text(&refreshed, "access")).send().json();
        assert_eq!(seen["rest_framework"]["user"]["username"], "kim", "{seen}");
        assert_ne!(seen["meta"]["HTTP_X_SESSION_ID"], "", "it has a session of the gateway's now");
    }

    // Its URLs are answered as its settings say: without rotation.
    let (status, pair) = post(&client, OBTAIN, &kim);
    assert_eq!(status, 200, "{pair}");
    let refresh = json!({"refresh": text(&pair, "refresh")});
    for _ in 0..2 {
        let (status, refreshed) = post(&client, REFRESH, &refresh);
        assert_eq!(status, 200, "{refreshed}");
        assert_eq!(refreshed.as_object().unwrap().len(), 1, "{refreshed}");
        let access = text(&refreshed, "access");
        let seen = client.get("/api/v1/whoami").bearer(&access).send().json();
        assert_eq!(seen["rest_framework"]["user"]["username"], "kim", "{seen}");
        assert_eq!(post(&client, VERIFY, &json!({"token": access})), (200, json!({})));
    }
    assert_eq!(post(&client, VERIFY, &json!({"token": "no.such.token"})).0, 401);

    // The session cookie gives access to the admin.
    let admin = json!({"username": "admin", "password": "admin-pass-1234"});
    let cookie = client.post("/login").json(&admin).send().set_cookie("__Host-doorwarden").unwrap();
    let page = client.get("/admin/").cookie("__Host-doorwarden", &cookie).send();
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Site administration"), "{}", page.text());
}

#[test]
fn what_is_written_is_checked_and_private_and_never_replaced() {
    let django = Django::shared();
    let (folder, says) = for_django(&django);
    let check = run_in(folder.path(), &["check"], "");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));

    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let key = folder.path().join("secrets/django-secret-key");
    assert_eq!(mode(key.clone()), 0o600);
    assert_eq!(mode(folder.path().join("secrets")), 0o700);
    assert_eq!(std::fs::read_to_string(&key).unwrap(), format!("{SECRET_KEY}\n"));
    let toml = std::fs::read_to_string(folder.path().join("gateway.toml")).unwrap();
    assert!(!toml.contains(SECRET_KEY) && !says.contains(SECRET_KEY), "a secret was told");
    for setting in ["SIMPLE_JWT", "SESSION_COOKIE_NAME", "PASSWORD_HASHERS", "STATIC_URL"] {
        assert!(toml.contains(setting), "{setting}");
    }

    for left in ["gateway.toml", "secrets/django-secret-key"] {
        let content = std::fs::read(folder.path().join(left)).unwrap();
        let database = django.database().display().to_string();
        let output = doctor(folder.path(), &database, &["--settings", &manage_py()]);
        printed(&output, 1);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(left) && error.contains("left alone"), "{error}");
        assert_eq!(std::fs::read(folder.path().join(left)).unwrap(), content);
        // The second file alone prevents writing, too.
        std::fs::remove_file(folder.path().join("gateway.toml")).ok();
    }
    assert!(!folder.path().join("gateway.toml").exists());
}

#[test]
fn a_settings_file_does_as_well_as_a_manage_py() {
    let django = Django::shared();
    let database = django.database().display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let settings = root().join("tests/django/config/settings.py").display().to_string();
    let output = doctor(folder.path(), &database, &["--settings", &settings, "--json"]);
    let report: Value = serde_json::from_str(&printed(&output, 0)).unwrap();
    let about = |word: &str| {
        let findings = report["findings"].as_array().unwrap();
        findings.iter().filter(|one| one["about"] == word).count()
    };
    assert_eq!([about("directory"), about("alias"), about("hint")], [2, 3, 1], "{report:#}");
    assert!(folder.path().join("gateway.toml").exists());
}

/// The doctor may be run in a folder that others can write to.
#[test]
fn nothing_is_imported_from_where_it_is_run() {
    let django = Django::shared();
    let database = django.database().display().to_string();
    let folder = tempfile::tempdir().unwrap();
    for module in ["ast", "inspect", "json", "runpy", "textwrap", "datetime", "django"] {
        let program = "raise SystemExit('run from here')\n";
        std::fs::write(folder.path().join(module).with_extension("py"), program).unwrap();
    }
    printed(&doctor(folder.path(), &database, &["--settings", &manage_py()]), 0);
}

#[test]
fn a_project_that_does_not_load_says_why() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("shop")).unwrap();
    std::fs::write(folder.path().join("shop/__init__.py"), "").unwrap();
    let settings = "INSTALLED_APPS = ['no_such_app']\nSECRET_KEY = 'hush-hush'\nprint('loading')\n";
    std::fs::write(folder.path().join("shop/settings.py"), settings).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "").unwrap();
    for (arguments, says) in [
        (&["--settings", "shop/settings.py"][..], "no_such_app"),
        (&["--settings", "notes.txt"], "no manage.py"),
        (&["--settings", "nowhere.py"], "no manage.py"),
        (&["--settings", "shop/settings.py", "--python", "/no/python"], "/no/python"),
    ] {
        let output = doctor(folder.path(), "unused.sqlite3", arguments);
        printed(&output, 1);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(says) && !error.contains("hush-hush"), "{error}");
        assert!(!folder.path().join("gateway.toml").exists());
    }
}

#[test]
fn what_is_commented_is_good_without_its_comment_sign() {
    let django = Django::shared();
    let (folder, _) = for_django(&django);
    let path = folder.path().join("gateway.toml");
    let toml = std::fs::read_to_string(&path).unwrap();
    // A commented setting begins right after the sign, and text for the reader after a blank.
    let lines = toml.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest,
        _ => line,
    });
    let uncommented = lines.collect::<Vec<_>>().join("\n");
    assert_ne!(uncommented, toml.trim_end());
    std::fs::write(&path, uncommented).unwrap();
    let check = run_in(folder.path(), &["check"], "");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));

    // The uncommented settings work: the views that sign in, and the one that reads the hand-made token.
    let gateway = Gateway::launch(folder);
    let client = gateway.client();
    let kim = json!({"username": "kim", "password": "kim-pass-1234"});
    let signed_in = client.post("/api/v1/users/login").json(&kim).send();
    assert_eq!((signed_in.status, signed_in.json()), (200, json!({"message": "success"})));
    let session = signed_in.set_cookie("sessionid").unwrap();
    let seen = client.get("/api/v1/whoami").cookie("sessionid", &session).send().json();
    assert_eq!(seen["user"]["username"], "kim", "{seen}");
    let (status, made) = post(&client, "/api/v1/users/login/jwt", &kim);
    assert_eq!(status, 200, "{made}");
    let info = client.get("/api/v1/users/login/jwt/info").header("jwt-auth", &text(&made, "token"));
    assert_eq!(info.send().json()["username"], "kim");
}

#[test]
fn a_service_on_postgresql_needs_no_edit() {
    let database = Database::start(Kind::Postgres);
    let django = Django::start_on(&database, &[]);
    let before = Client::new(django.address);
    let (_, issued) =
        post(&before, OBTAIN, &json!({"username": "lee", "password": "lee-pass-1234"}));
    let (folder, says) = written(&database.admin_url(), &format!("http://{}", django.address));
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON django_session TO doorwarden;";
    assert!(says.contains(grant), "{says}");
    assert!(says.contains("its key can be read, and its table be written"), "{says}");
    let gateway = Gateway::launch(folder);
    let client = gateway.client();

    let seen_with = |access: &str| client.get("/api/v1/whoami").bearer(access).send().json();
    let seen = seen_with(&text(&client.sign_in("lee", "lee-pass-1234"), "access"));
    assert_eq!(seen["meta"]["HTTP_X_USER_GROUPS"], "editors,reviewers", "{seen}");
    assert_eq!(seen["rest_framework"]["user"]["username"], "lee", "{seen}");

    let (status, taken) = post(&client, REFRESH, &json!({"refresh": text(&issued, "refresh")}));
    assert_eq!(status, 200, "{taken}");
    let seen = seen_with(&text(&taken, "access"));
    assert_eq!(seen["rest_framework"]["user"]["username"], "lee", "{seen}");

    let admin = json!({"username": "admin", "password": "admin-pass-1234"});
    let cookie = client.post("/login").json(&admin).send().set_cookie("__Host-doorwarden").unwrap();
    let page = client.get("/admin/").cookie("__Host-doorwarden", &cookie).send();
    assert!(page.text().contains("Site administration"), "{}", page.text());
}
