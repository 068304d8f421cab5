//! Tests a service with tables in a schema of their own on PostgreSQL, and an older copy where the server looks first.

use serde_json::json;
use tempfile::TempDir;

use super::{doctor, printed};
use crate::support::client::Client;
use crate::support::database::{Database, Kind};
use crate::support::gateway::{Gateway, Setup, run_in};
use crate::support::upstream::Upstream;

/// Copies the service's tables from `public` into this schema; then kim gets lee's password there, and park is deleted.
fn copied_to(database: &Database, schema: &str) {
    let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
    let tables = [
        "auth_user",
        "auth_group",
        "auth_user_groups",
        "django_session",
        "authtoken_token",
        "django_content_type",
        "auth_permission",
        "auth_group_permissions",
        "auth_user_user_permissions",
        "django_admin_log",
        "django_migrations",
    ];
    let copies: String = tables
        .iter()
        .map(|table| {
            format!(
                "CREATE TABLE {quoted}.{table} (LIKE public.{table} INCLUDING ALL);\
                 INSERT INTO {quoted}.{table} SELECT * FROM public.{table};"
            )
        })
        .collect();
    database.sql(&format!(
        "CREATE SCHEMA {quoted};{copies}\
         UPDATE {quoted}.auth_user SET password = (SELECT password FROM public.auth_user WHERE username = $$lee$$) \
             WHERE username = $$kim$$;\
         DELETE FROM {quoted}.auth_user WHERE username = $$park$$;\
         GRANT USAGE ON SCHEMA {quoted} TO doorwarden; GRANT SELECT ON ALL TABLES IN SCHEMA {quoted} TO doorwarden"
    ));
}

/// Returns the statuses for kim's old password, kim's new password, and the deleted user.
fn signed_in(client: &Client) -> [u16; 3] {
    [("kim", "kim-pass-1234"), ("kim", "lee-pass-1234"), ("park", "park-pass-1234")].map(
        |(name, password)| {
            let body = json!({"username": name, "password": password});
            client.post("/login").json(&body).send().status
        },
    )
}

const THEN: [u16; 3] = [200, 401, 200];
const NOW: [u16; 3] = [401, 200, 401];

/// Returns what the doctor writes for the service on this database; its exit status must be this one.
fn written(url: &str, status: i32) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let manage = crate::support::django::root().join("tests/django/manage.py");
    let arguments = [
        "--settings",
        manage.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ];
    let says = printed(&doctor(folder.path(), url, &arguments), status);
    (folder, says)
}

#[test]
fn the_tables_are_those_that_the_service_reads() {
    let database = Database::start(Kind::Postgres);
    let upstream = Upstream::start();
    copied_to(&database, "app");
    copied_to(&database, "App-2");
    let gateway = |keys: &str| {
        Setup::new(upstream.address)
            .directories(&format!("{}{keys}\n", database.directory()))
            .start()
    };
    // Without a schema, the directory reads the tables that the server finds first; the check reports that there are
    // others.
    let untold = gateway("");
    assert_eq!(signed_in(&untold.client()), THEN);
    let check = run_in(untold.folder(), &["check", "--connect", "--config", "gateway.toml"], "");
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(said.contains("is in several schemas") && said.contains("say in which"), "{said}");
    let told = said.lines().find(|line| line.contains("several schemas")).unwrap_or_default();
    eprintln!(
        "\n| row | input | kim's password of then, of now, park's | says |\n|---|---|---|---|"
    );
    eprintln!(
        "| 6 | no schema, a copy in app and one in public | {THEN:?} | check --connect: {told} |"
    );
    for keys in [
        "schema = \"app\"",
        "schema = \"App-2\"",
        // Django's `db_table` can name both; the key applies to tables that name no schema.
        "user_table = 'app\".\"auth_user'\n[directory.groups]\ngroup_table = 'app\".\"auth_group'\n\
         membership_table = 'app\".\"auth_user_groups'",
        "schema = \"public\"\nuser_table = 'app\".\"auth_user'",
    ] {
        assert_eq!(signed_in(&gateway(keys).client()), NOW, "{keys}");
        eprintln!("| 6 | {} | {NOW:?} | |", keys.replace('\n', ", "));
    }
    assert_eq!(signed_in(&gateway("schema = \"public\"").client()), THEN);

    // The same for the doctor's file.
    let url = format!("{}&search_path=app", database.admin_url());
    let (folder, _) = written(&url, 0);
    let toml = std::fs::read_to_string(folder.path().join("gateway.toml")).unwrap();
    assert!(toml.contains("schema = \"app\""), "{toml}");
    assert_eq!(signed_in(&Gateway::launch(folder).client()), NOW);

    // The user's tables are in several schemas, so a name may be another user in each.
    database.sql("DROP TABLE app.auth_group");
    let (folder, says) = written(&format!("{url},public"), 1);
    assert!(says.contains("the user's tables are in several schemas: app, public"), "{says}");
    drop(folder);
    let several = Setup::new(upstream.address)
        .directories(&format!("{}schema = [\"app\", \"public\"]\n", database.directory()))
        .prepare();
    let refused = run_in(several.path(), &["check", "--config", "gateway.toml"], "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("names several schemas"), "{said}");
    let told = said.lines().next().unwrap_or_default();
    eprintln!("| 6+ | schema = [\"app\", \"public\"] | | check: {told} |");
}
