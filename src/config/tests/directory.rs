//! Tests of `[[directory]]` and of the databases that directories name.

use std::time::Duration;

use super::super::*;
use super::config;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn database(text: &str) -> Database {
    let text = format!("[[directory]]\nkind = \"django\"\ndatabase = {text}\n");
    config(&text).directories[0].django().unwrap().database.clone()
}

#[test]
fn the_groups_of_a_user_table_are_where_django_keeps_them() {
    for (user_table, membership_table, user_column) in [
        ("auth_user", "auth_user_groups", "user_id"),
        ("users_user", "users_user_groups", "user_id"),
        ("accounts_customuser", "accounts_customuser_groups", "customuser_id"),
        ("my_app_member", "my_app_member_groups", "member_id"),
        ("people", "people_groups", "user_id"),
        ("app\".\"users", "app\".\"users_groups", "user_id"),
        ("\"app\".\"crm_user\"", "app\".\"crm_user_groups", "user_id"),
    ] {
        let text = format!(
            "[[directory]]\nkind = \"django\"\ndatabase = \"sqlite:///x\"\nuser_table = '{user_table}'"
        );
        let DirectoryKind::Django(django) = config(&text).directories.swap_remove(0).kind else {
            panic!("Django's")
        };
        let groups = django.groups.unwrap();
        assert_eq!(
            (&*groups.membership_table, &*groups.user_column),
            (membership_table, user_column)
        );
    }
}

#[test]
fn a_database_server_is_an_address_and_keys() {
    let server = DatabaseServer::new;
    let (pg, my) = (Engine::Postgres, Engine::MySql);
    let with = |socket: &str, server| DatabaseServer { socket: Some(socket.into()), ..server };
    for (text, expected) in [
        ("postgres://app@DB.internal/app", server(pg, "app", "db.internal", Some(5432), "app")),
        ("postgresql://app@[::1]:1/app", server(pg, "app", "::1", Some(1), "app")),
        ("mysql://app@10.0.0.1/app", server(my, "app", "10.0.0.1", Some(3306), "app")),
        ("mariadb://a%40b@db/%EC%95%B1", server(my, "a@b", "db", None, "앱")),
        ("postgres://app@/app?socket=/run/pg", with("/run/pg", server(pg, "app", "", None, "app"))),
        (
            "postgres://app@:7/app?socket=pg",
            with("/etc/doorwarden/pg", server(pg, "app", "", Some(7), "app")),
        ),
    ] {
        assert_eq!(database(&format!("{text:?}")), Database::Server(Box::new(expected)), "{text}");
    }
    let keys = "\"mysql://app@127.0.0.1/app\"\npassword_file = \"pw\"\ntls = \"verify-full\"\n\
        schema = \"app\"\nca_file = \"/ca\"\nconnect_timeout = \"1s\"\nquery_timeout = \"3s\"\nmax_connections = 9";
    let expected = DatabaseServer {
        schema: Some("app".into()),
        password_file: Some("/etc/doorwarden/pw".into()),
        tls: DatabaseTls::VerifyFull,
        ca_file: Some("/ca".into()),
        connect_timeout: secs(1),
        query_timeout: secs(3),
        max_connections: 9,
        ..server(my, "app", "127.0.0.1", None, "app")
    };
    assert_eq!(database(keys), Database::Server(Box::new(expected)));
}

#[test]
fn only_on_this_machine_a_server_is_believed_unseen() {
    for (host, tls) in [
        ("localhost", DatabaseTls::Prefer),
        ("127.9.9.9", DatabaseTls::Prefer),
        ("::1", DatabaseTls::Prefer),
        ("", DatabaseTls::Prefer),
        ("db", DatabaseTls::VerifyFull),
        ("localhost.example.com", DatabaseTls::VerifyFull),
        ("10.0.0.1", DatabaseTls::VerifyFull),
    ] {
        assert_eq!(DatabaseServer::new(Engine::Postgres, "u", host, None, "n").tls, tls, "{host}");
    }
}
