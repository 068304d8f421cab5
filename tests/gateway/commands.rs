//! Tests the command line (configuration checks, users, keys, sessions, health), with and without a running gateway.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, run_in, write_private};
use crate::support::upstream::Upstream;

/// Returns the standard output of a command that must succeed.
fn said(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {error}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the standard error of a command that must fail with this exit code.
fn failed(output: &Output, code: i32) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn sign_in(client: &Client, name: &str, password: &str) -> u16 {
    client.post("/login").json(&json!({"username": name, "password": password})).send().status
}

fn used(gateway: &Gateway, tokens: &Value) -> u16 {
    gateway.client().get("/app").bearer(tokens["access"].as_str().unwrap()).send().status
}

/// Returns the id of the key that signed an access token.
fn kid(tokens: &Value) -> String {
    let header = tokens["access"].as_str().unwrap().split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

#[test]
fn check_tells_all_mistakes_at_once_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"[listen]
http = ["127.0.0.1:80800"]
admin = "127.0.0.1:9090"
thread = 4

[[upstream]]
name = "app"
servers = ["127.0.0.1:8000"]

[[route]]
name = "app"
path = "/"
upstream = "ap"
access = "everybody"

[tokens]
access_lifetime = "5"
"#;
    let mistakes = [
        ("listen.http", "\"127.0.0.1:80800\""),
        ("listen.thread", "thread = 4"),
        ("route.upstream", "\"ap\""),
        ("route.access", "\"everybody\""),
        ("tokens.access_lifetime", "\"5\""),
    ];
    write_private(&folder.path().join("gateway.toml"), text);
    for command in ["check", "run"] {
        let error = failed(&run_in(folder.path(), &[command], ""), 64);
        for (key, at) in mistakes {
            let before = &text[..text.find(at).unwrap()];
            let line = before.matches('\n').count() + 1;
            let column = before.len() - before.rfind('\n').unwrap();
            let place = format!("gateway.toml:{line}:{column}");
            assert!(error.contains(&place), "{key} at {place} is missing in:\n{error}");
            assert!(error.contains(key), "{key} is missing in:\n{error}");
        }
        assert!(error.contains("5 errors"), "{error}");
    }
}

#[test]
fn what_cannot_be_a_configuration_or_a_command_exits_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open.toml");
    write_private(&open, "[listen]\n");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o666)).unwrap();
    for (arguments, says) in [
        (&["check"][..], "gateway.toml"),
        (&["run", "--config", "nowhere.toml"], "nowhere.toml"),
        (&["check", "--config", "open.toml"], "writable by others"),
        (&["dance"], "dance"),
        (&["check", "--colour"], "--colour"),
        (&["user", "add", "kim", "--file", "users.toml"], "--password-stdin"),
        (&["session", "end"], "<SESSION|--user <USER>>"),
        (&["--config", "open.toml", "check"], "--config"),
    ] {
        let error = failed(&run_in(folder.path(), arguments, ""), 64);
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    for arguments in [["--help"], ["--version"]] {
        assert!(said(&run_in(folder.path(), &arguments, "")).contains("doorwarden"));
    }
}

#[test]
fn what_init_writes_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    said(&run_in(folder.path(), &["init"], ""));
    let checked = said(&run_in(folder.path(), &["check"], ""));
    assert!(checked.contains("fine"), "the service's database may come later: {checked}");
    let written = std::fs::read(folder.path().join("gateway.toml")).unwrap();
    let error = failed(&run_in(folder.path(), &["init"], ""), 1);
    assert!(error.contains("there already"), "{error}");
    assert_eq!(std::fs::read(folder.path().join("gateway.toml")).unwrap(), written);
}

/// `check` reports what `run` would report.
#[test]
fn check_looks_at_the_files_that_are_named() {
    let upstream = Upstream::start();
    let folder = Setup::new(upstream.address)
        .directories(
            "[[directory]]\nkind = \"django\"\ndatabase = \"sqlite:///db.sqlite3\"\n\
             [[issuer]]\nkind = \"simplejwt\"\nalgorithm = \"HS256\"\nkey_file = \"jwt-key\"\n",
        )
        .prepare();
    let check = |more: &[&str]| run_in(folder.path(), &[&["check"], more].concat(), "");
    let key = folder.path().join("jwt-key");

    let error = failed(&check(&[]), 1);
    let line = |start: &str| error.lines().find(|line| line.starts_with(start)).unwrap();
    assert!(line("error: ").contains(key.to_str().unwrap()), "{error}");
    let warning = line("warning: the database /db.sqlite3 is not there");
    assert!(warning.contains("absolute path"), "{error}");
    assert!(said(&check(&["--file-only"])).contains("fine"));
    failed(&check(&["--file-only", "--connect"]), 64);

    write_private(&key, "a key that is long enough for this algorithm");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
    let error = failed(&check(&[]), 1);
    assert!(error.contains("0640") && error.contains("chmod 600"), "{error}");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let output = check(&[]);
    assert!(said(&output).contains("fine"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not there"));
    let error = failed(&check(&["--connect"]), 1);
    assert!(error.contains("error: directory django: "), "{error}");

    for (state, content) in [("operator-token", "short"), ("refresh-key", "x")] {
        std::fs::create_dir_all(folder.path().join("state")).unwrap();
        let file = folder.path().join("state").join(state);
        write_private(&file, content);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(failed(&check(&[]), 1).contains(state));
        std::fs::remove_file(&file).unwrap();
    }
    let left: Vec<_> = std::fs::read_dir(folder.path().join("state")).unwrap().collect();
    assert!(left.is_empty(), "nothing is made: {left:?}");
    std::fs::remove_file(&key).unwrap();
    let ran = failed(&run_in(folder.path(), &["run"], ""), 1);
    let checked = failed(&check(&[]), 1);
    let why = "jwt-key: No such file or directory";
    assert!(ran.contains(why) && checked.contains(why), "{ran}\n{checked}");
}

#[test]
fn check_asks_the_databases_where_it_is_told_to() {
    let django = crate::support::django::Django::shared();
    let folder = django.setup().prepare();
    let check = |more: &[&str]| run_in(folder.path(), &[&["check"], more].concat(), "");
    let connected = said(&check(&["--connect"]));
    assert!(
        connected.contains("ok: directory django") && connected.contains("fine"),
        "{connected}"
    );
    let file = folder.path().join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let other = text.replace("kind = \"django\"", "kind = \"django\"\nuser_table = \"nowhere\"");
    assert_ne!(text, other);
    write_private(&file, other);
    assert!(said(&check(&[])).contains("fine"));
    let error = failed(&check(&["--connect"]), 1);
    assert!(error.contains("error: directory django: ") && error.contains("nowhere"), "{error}");
}

#[test]
fn check_asks_no_service_that_checks_passwords_itself() {
    let upstream = Upstream::start();
    let directory = format!(
        "[[directory]]\nkind = \"http\"\nurl = \"http://{}/login\"\nsuccess = {{ location = \"/home\" }}\n\
         refused = {{ status = [401] }}\n",
        upstream.address
    );
    let folder = Setup::new(upstream.address).directories(&directory).prepare();
    let connected = said(&run_in(folder.path(), &["check", "--connect"], ""));
    assert!(connected.contains("not asked, since it checks passwords itself"), "{connected}");
    assert!(connected.contains("fine"), "{connected}");
}

#[test]
fn users_are_added_listed_disabled_and_given_passwords() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .directories(
            "[[directory]]\nkind = \"file\"\npath = \"users.toml\"\nrefresh_interval = \"1s\"\n",
        )
        .start();
    let client = gateway.client();
    let user = |arguments: &[&str], input: &str| {
        let all = [&["user"], arguments, &["--file", "users.toml"]].concat();
        run_in(gateway.folder(), &all, input)
    };

    said(&user(&["add", "ada", "--password-stdin", "--group", "a", "--group", "b"], "first one\n"));
    assert_eq!(mode(&gateway.folder().join("users.toml")), 0o600);
    failed(&user(&["add", "ada", "--password-stdin"], "another"), 1);
    failed(&user(&["add", "bob", "--password-stdin"], ""), 1);
    failed(&user(&["disable", "nobody"], ""), 1);
    failed(&user(&["passwd", "nobody", "--password-stdin"], "x"), 1);
    let listed = said(&user(&["list"], ""));
    assert!(
        listed.starts_with("NAME  ID    STATE   GROUPS\nada   ada   active  a,b\n"),
        "{listed}"
    );
    assert!(!listed.contains("bob") && !listed.contains("argon2"), "{listed}");
    let listed: Value = serde_json::from_str(&said(&user(&["list", "--json"], ""))).unwrap();
    let ada = json!({"name": "ada", "id": "ada", "state": "active", "groups": ["a", "b"]});
    assert_eq!(listed["users"][0], ada);

    eventually("the new user to be read", || {
        (sign_in(&client, "ada", "first one") == 200).then_some(())
    });
    client
        .get("/app")
        .bearer(client.sign_in("ada", "first one")["access"].as_str().unwrap())
        .send();
    assert_eq!(upstream.last().all("x-user-groups"), ["a,b"]);

    said(&user(&["passwd", "ada", "--password-stdin"], "second one"));
    eventually("the new password to be read", || {
        (sign_in(&client, "ada", "second one") == 200).then_some(())
    });
    assert_eq!(sign_in(&client, "ada", "first one"), 401);

    let tokens = client.sign_in("ada", "second one");
    said(&user(&["disable", "ada"], ""));
    eventually("their session to end", || (used(&gateway, &tokens) == 401).then_some(()));
    assert_eq!(sign_in(&client, "ada", "second one"), 401);
    let state = || words(&said(&user(&["list"], "")))[1][2].clone();
    assert_eq!(state(), "disabled");

    failed(&user(&["enable", "nobody"], ""), 1);
    said(&user(&["enable", "ada"], ""));
    eventually("them to be let in again", || {
        (sign_in(&client, "ada", "second one") == 200).then_some(())
    });
    assert_eq!(state(), "active");
}

/// Returns the words of each line of a list.
fn words(list: &str) -> Vec<Vec<String>> {
    list.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn the_configuration_says_which_users_file() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let add = |arguments: &[&str]| {
        let all = [&["user", "add", "ada", "--password-stdin"], arguments].concat();
        run_in(gateway.folder(), &all, "first one\n")
    };
    failed(&add(&["--file", "users.toml", "--config", "gateway.toml"]), 64);
    said(&add(&["--config", "gateway.toml"]));
    failed(&add(&[]), 1);
    for arguments in [&["user", "list"][..], &["user", "list", "--file", "users.toml"]] {
        assert!(said(&gateway.command(arguments)).contains("\nada "), "{arguments:?}");
    }
    let own = std::fs::read_to_string(gateway.folder().join("gateway.toml")).unwrap();
    let two = own + "\n[[directory]]\nkind = \"file\"\nname = \"b\"\npath = \"b.toml\"\n";
    write_private(&gateway.folder().join("two.toml"), two);
    let error = failed(&add(&["--config", "two.toml"]), 64);
    assert!(error.contains("several") && error.contains("--file"), "{error}");
}

/// `gateway.toml` in the repository's root documents every setting and configures no gateway.
#[test]
fn the_documentation_of_the_settings_is_not_read_by_accident() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for arguments in [
        &["run"][..],
        &[],
        &["check"],
        &["user", "list"],
        &["key", "list"],
        &["key", "generate"],
        &["key", "rotate"],
        &["session", "list"],
        &["session", "end", "--user", "file/kim"],
        &["store", "backup", "copy.db"],
        &["explain", "GET /"],
    ] {
        let error = failed(&run_in(root, arguments, ""), 64);
        assert!(error.contains("documents every setting") && error.contains("--config"), "{error}");
    }
    assert!(!root.join("doorwarden").exists() && !root.join("copy.db").exists());
    assert!(
        said(&run_in(root, &["check", "--file-only", "--config", "gateway.toml"], ""))
            .contains("fine")
    );
}

#[test]
fn a_hashed_password_works_in_a_users_file_that_is_written_by_hand() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let hashed = said(&run_in(gateway.folder(), &["hash-password"], "by hand 손\n"));
    assert!(hashed.starts_with("$argon2id$") && hashed.lines().count() == 1, "{hashed}");
    let again = said(&run_in(gateway.folder(), &["hash-password"], "by hand 손\n"));
    assert_ne!(hashed, again, "each has its own salt");
    failed(&run_in(gateway.folder(), &["hash-password"], "\n"), 1);
    write_private(
        &gateway.folder().join("users.toml"),
        format!("# mine\n[users.hand]\npassword = \"{}\"\n", hashed.trim_end()),
    );
    eventually("the file to be read", || {
        (sign_in(&gateway.client(), "hand", "by hand 손") == 200).then_some(())
    });
}

#[test]
fn keys_are_generated_listed_and_rotated_without_a_gateway() {
    let upstream = Upstream::start();
    let folder = Setup::new(upstream.address).prepare();
    let key = |command: &str| said(&run_in(folder.path(), &["key", command], ""));
    let json = || -> Value {
        let listed = said(&run_in(folder.path(), &["key", "list", "--json"], ""));
        serde_json::from_str(&listed).unwrap()
    };
    let shown = words(&key("generate"));
    let made = json();
    assert_eq!(made["keys"].as_array().unwrap().len(), 1);
    assert_eq!(shown[0], ["KEY", "ALGORITHM", "VERIFIES", "UNTIL"]);
    assert_eq!(shown[1..], [[made["keys"][0]["kid"].as_str().unwrap(), "ES256", "-"]]);
    let file = folder.path().join("state/signing-key.pem");
    assert_eq!(mode(&file), 0o600);
    let content = std::fs::read(&file).unwrap();
    assert_eq!(words(&key("generate")), shown, "made once");
    assert_eq!(std::fs::read(&file).unwrap(), content);

    let rotated = key("rotate");
    assert_eq!(words(&key("list")).len(), 3);
    let listed = json();
    let [new, old] = &listed["keys"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!(old["kid"], made["keys"][0]["kid"]);
    assert!(old["verifies_until"].is_string() && new["verifies_until"].is_null(), "{listed}");
    assert!(rotated.contains(new["kid"].as_str().unwrap()), "{rotated}");
    for entry in std::fs::read_dir(folder.path().join("state")).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn rotating_the_key_takes_effect_at_once_and_old_tokens_stay_good() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).start();
    let rotated = |gateway: &Gateway| said(&gateway.command(&["key", "rotate"]));
    let kim = |gateway: &Gateway| gateway.client().sign_in("kim", "correct horse battery");

    let first = kim(&gateway);
    let says = rotated(&gateway);
    let second = kim(&gateway);
    assert_ne!(kid(&first), kid(&second));
    assert!(says.contains(&kid(&second)), "{says}");
    assert_eq!([used(&gateway, &first), used(&gateway, &second)], [200, 200]);

    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let says = rotated(&gateway);
    gateway.spawn();
    let third = kim(&gateway);
    assert!(says.contains(&kid(&third)), "{says}");
    for tokens in [&first, &second, &third] {
        assert_eq!(used(&gateway, tokens), 200);
    }
    let published = gateway.client().get("/.well-known/jwks.json").send().json();
    let published: Vec<&str> = published["keys"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|key| key["kid"].as_str())
        .collect();
    let listed: Value =
        serde_json::from_str(&said(&gateway.command(&["key", "list", "--json"]))).unwrap();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 3);
    for tokens in [&first, &second, &third] {
        assert!(published.contains(&kid(tokens).as_str()), "{published:?}");
    }
}

/// Returns the ids of the sessions that `session list` shows.
fn listed(gateway: &Gateway, arguments: &[&str]) -> Vec<(String, String)> {
    let text = said(&gateway.command(&[&["session", "list"], arguments].concat()));
    let json = said(&gateway.command(&[&["session", "list", "--json"], arguments].concat()));
    let json: Value = serde_json::from_str(&json).unwrap();
    let shown = words(&text);
    assert_eq!(shown[0][..3], ["SESSION", "USER", "NAME"]);
    let shown: Vec<_> = shown[1..].iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let rows = json["sessions"].as_array().unwrap().iter();
    let rows: Vec<_> = rows.map(|row| (text(row, "session"), text(row, "user"))).collect();
    assert_eq!(shown, rows);
    shown
}

/// Creates two sessions of kim's and one of root's, and ends some by id and some by user, with or without a running
/// gateway.
fn sessions_are_ended(stopped: bool) {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let one = client.sign_in("kim", "correct horse battery");
    let [(first, user)] = &listed(&gateway, &[])[..] else { panic!("one session") };
    assert_eq!(user, "file/kim");
    let two = client.sign_in("kim", "correct horse battery");
    let root = client.sign_in("root", "toor toor toor");
    let roots = client.sign_in("root", "toor toor toor");
    if stopped {
        gateway.terminate();
        assert_eq!(gateway.wait(), Some(0));
    }
    assert_eq!(listed(&gateway, &[]).len(), 4);
    assert_eq!(listed(&gateway, &["--user", "file/root"]).len(), 2);
    assert_eq!(listed(&gateway, &["--user", "file/nobody"]), []);
    let end = |arguments: &[&str]| gateway.command(&[&["session", "end"], arguments].concat());
    assert_eq!(said(&end(&[first])), "ended 1\n");
    assert_eq!(said(&end(&["--user", "file/root"])), "ended 2\n");
    let output = end(&["--user", "fil/root"]);
    assert_eq!(said(&output), "ended 0\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("are: file"), "{output:?}");
    let error = failed(&end(&["--user", "nobody"]), 1);
    assert!(error.contains("DIRECTORY/ID") && error.contains("one of: file"), "{error}");
    assert_eq!(listed(&gateway, &[]).len(), 1);
    if stopped {
        gateway.spawn();
    }
    for ended in [&one, &root, &roots] {
        assert_eq!(used(&gateway, ended), 401);
        let refresh = json!({"refresh": ended["refresh"]});
        assert_eq!(gateway.client().post("/refresh").json(&refresh).send().status, 401);
    }
    assert_eq!(used(&gateway, &two), 200, "the other one lives");
    if !stopped {
        let audit = gateway.logged("the audit line", |line| line["event"] == "session_ended");
        assert_eq!((&audit["session"], &audit["reason"]), (&json!(first), &json!("operator")));
    }
}

#[test]
fn a_user_is_found_by_name() {
    let upstream = Upstream::start();
    let folder = Setup::new(upstream.address)
        .with("[[directory]]\nkind = \"file\"\nname = \"other\"\npath = \"other.toml\"\n")
        .prepare();
    for name in ["kim", "only"] {
        let add = ["user", "add", name, "--file", "other.toml", "--password-stdin"];
        said(&run_in(folder.path(), &add, "a long password"));
    }
    let mut gateway = Gateway::launch(folder);
    let client = gateway.client();
    assert_eq!(sign_in(&client, "only", "a long password"), 200);
    let kim = client.sign_in("kim", "correct horse battery");
    let end = |user: &str| gateway.command(&["session", "end", "--user", user]);
    let list = |user: &str| words(&said(&gateway.command(&["session", "list", "--user", user])));
    // Only one of the two has a session. The name is ambiguous all the same.
    let error = failed(&end("kim"), 1);
    assert!(error.contains("file/kim, other/kim"), "{error}");
    assert_eq!(list("only")[1][1], "other/only");
    assert_eq!(said(&end("only")), "ended 1\n");
    assert_eq!(said(&end("only")), "ended 0\n", "found in the directory");
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(said(&gateway.command(&["session", "end", "--user", "kim"])), "ended 1\n");
    gateway.spawn();
    assert_eq!(used(&gateway, &kim), 401);
}

#[test]
fn sessions_are_ended_in_a_running_gateway_at_the_next_request() {
    sessions_are_ended(false);
}

#[test]
fn sessions_are_ended_in_the_store_of_a_stopped_one() {
    sessions_are_ended(true);
}

#[test]
fn a_store_has_one_gateway_and_no_command_changes_it_behind_its_back() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).start();
    let tokens = gateway.client().sign_in("kim", "correct horse battery");
    let own = std::fs::read_to_string(gateway.folder().join("gateway.toml")).unwrap();
    let elsewhere = own.replace("admin = \"127.0.0.1:0\"", "admin = \"127.0.0.1:1\"");
    assert_ne!(own, elsewhere);
    write_private(&gateway.folder().join("elsewhere.toml"), elsewhere);

    let error = failed(&gateway.command(&["run"]), 1);
    assert!(error.contains("another gateway is running on"), "{error}");
    for command in [&["session", "end", "--user", "file/kim"][..], &["key", "rotate"]] {
        let error =
            failed(&gateway.command(&[command, &["--config", "elsewhere.toml"]].concat()), 1);
        assert!(error.contains("127.0.0.1:1 (`listen.admin`)"), "{command:?}: {error}");
    }
    assert_eq!(used(&gateway, &tokens), 200);
    assert_eq!(listed(&gateway, &[]).len(), 1, "it is still the one that commands find");

    gateway.kill();
    gateway.spawn();
    assert_eq!(used(&gateway, &tokens), 200, "a killed one leaves nothing that keeps it out");
}

#[test]
fn the_store_is_copied_and_nothing_is_overwritten() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).start();
    gateway.client().sign_in("kim", "correct horse battery");
    for name in ["running.db", "stopped.db"] {
        said(&gateway.command(&["store", "backup", name]));
        let copy = gateway.folder().join(name);
        assert_eq!(mode(&copy), 0o600);
        let content = std::fs::read(&copy).unwrap();
        let error = failed(&gateway.command(&["store", "backup", name]), 1);
        assert!(error.contains(name), "{error}");
        assert_eq!(std::fs::read(&copy).unwrap(), content);
        if name == "running.db" {
            gateway.terminate();
            assert_eq!(gateway.wait(), Some(0));
        }
    }
    failed(&gateway.command(&["store", "backup", "no/such/folder/copy.db"]), 1);
}

#[test]
fn an_answer_that_cannot_be_written_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let add = ["user", "add", "kim", "--file", "users.toml", "--password-stdin"];
    said(&run_in(folder.path(), &add, "a long password"));
    let list = |stdout: Stdio| {
        Command::new(env!("CARGO_BIN_EXE_doorwarden"))
            .args(["user", "list", "--file", "users.toml"])
            .current_dir(folder.path())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .output()
            .unwrap()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = list(writer.into());
    said(&output);
    assert!(output.stderr.is_empty(), "a reader like `head` has had enough");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert!(failed(&list(full.into()), 1).contains("cannot write the answer"));
}

#[test]
fn health_says_whether_the_gateway_is_ready() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).start();
    let admin = gateway.admin.to_string();
    for arguments in
        [&["health", "--admin", &admin][..], &["health", "--config", "gateway.toml"], &["health"]]
    {
        assert_eq!(said(&gateway.command(arguments)), "ready\n", "{arguments:?}");
    }
    failed(&gateway.command(&["health", "--admin", &admin, "--config", "gateway.toml"]), 64);
    failed(&gateway.command(&["health", "--config", "missing.toml"]), 64);
    gateway.kill();
    let error = failed(&gateway.command(&["health", "--admin", &admin]), 1);
    assert!(error.contains(&admin), "{error}");
}
