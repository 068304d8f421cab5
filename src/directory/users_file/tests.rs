use super::*;

const FILE: &str = r#"# people of the office
[users.kim]                     # the founder
password = "$argon2id$old"      # changed in spring
groups = [
  "editors",                    # since 2020
  "admins",
]

[users."lee@example.com"]
id = "7"
disabled = false
password = '!'
staff = true

[users."lee@example.com".attributes]
email = "lee@example.com"
"#;

fn file() -> UsersFile {
    UsersFile::parse(FILE).unwrap()
}

#[test]
fn accounts_are_what_the_file_says() {
    let file = file();
    let accounts: BTreeMap<_, _> = file.accounts("office").collect();
    let kim = &accounts["kim"];
    assert_eq!(kim.identity.key, UserKey::new("office", "kim"));
    assert_eq!(kim.identity.groups, ["admins", "editors"]);
    assert_eq!(kim.password.expose(), "argon2$argon2id$old");
    assert!(kim.active && !kim.identity.staff);
    let lee = &accounts["lee@example.com"];
    assert_eq!(lee.identity.key, UserKey::new("office", "7"));
    assert_eq!(lee.identity.attributes["email"], "lee@example.com");
    assert!(lee.identity.staff);
}

#[test]
fn a_new_password_changes_that_value_and_no_other_byte() {
    let changed = file().with_password("kim", "$argon2id$new").unwrap();
    assert_eq!(changed.text(), FILE.replace("$argon2id$old", "$argon2id$new"));
}

#[test]
fn disabling_writes_one_line_or_changes_the_one_there_is() {
    let kim = file().with_disabled("kim", true).unwrap();
    let line = "# changed in spring\n";
    assert_eq!(kim.text(), FILE.replace(line, &format!("{line}disabled = true\n")));
    assert!(!kim.with_disabled("kim", false).unwrap().list()[0].disabled);
    let lee = file().with_disabled("lee@example.com", true).unwrap();
    assert_eq!(lee.text(), FILE.replace("disabled = false", "disabled = true"));
}

#[test]
fn a_new_user_is_appended_and_may_have_any_printable_name() {
    for name in ["x", "a b", "a.b", "\"quoted\" \\", "이름", "[users.kim]"] {
        let groups = ["g\"1".to_owned(), "g2".to_owned()];
        let grown = file().with_user(name, "$argon2id$x", &groups).unwrap();
        assert!(grown.text().starts_with(FILE));
        let added = grown.list().into_iter().find(|user| user.name == name).unwrap();
        assert_eq!((added.id.as_str(), added.groups.as_slice()), (name, groups.as_slice()));
    }
    let first = UsersFile::parse("").unwrap().with_user("kim", "x", &[]).unwrap();
    assert_eq!(first.text(), "[users.kim]\npassword = \"x\"\n");
}

#[test]
fn changes_that_cannot_be_are_refused() {
    assert!(matches!(file().with_user("kim", "x", &[]), Err(UsersFileError::Exists(_))));
    assert!(matches!(file().with_user("7", "x", &[]), Err(UsersFileError::Exists(_))), "an id");
    assert!(matches!(file().with_user("a\nb", "x", &[]), Err(UsersFileError::BadName)));
    assert!(matches!(file().with_user("", "x", &[]), Err(UsersFileError::BadName)));
    assert!(matches!(file().with_password("Kim", "x"), Err(UsersFileError::Missing(_))));
    // A line after an inline table belongs to another table; the check of the result detects that.
    let inline = UsersFile::parse("[users]\nkim = { password = \"x\" }\n").unwrap();
    assert!(matches!(inline.with_disabled("kim", true), Err(UsersFileError::CannotEdit)));
    assert!(inline.with_password("kim", "y").is_ok());
}

#[test]
fn a_malformed_file_says_what_is_wrong_and_no_password() {
    let table = [
        ("users = 1", "line 1: "),
        ("[users.kim]\npassword = \"$argon2id$sesame\"\ngroup = []", "group"),
        ("[users.kim]\ngroups = []", "password"),
        ("[users.kim]\npassword = \"a\"\n[users.kim]\npassword = \"b\"", "duplicate"),
        (
            "[users.kim]\npassword = \"a\"\nid = \"1\"\n[users.lee]\npassword = \"b\"\nid = \"1\"",
            "id",
        ),
        ("[users.kim]\npassword = \"a\"\nid = \"\"", "id"),
        ("[users.\"a\\u0000b\"]\npassword = \"a\"", "name"),
    ];
    for (text, part) in table {
        let Err(error) = UsersFile::parse(text) else { panic!("{text} was taken") };
        let error = error.to_string();
        assert!(error.contains(part), "{text:?}: {error}");
        assert!(!error.contains("sesame"), "{error}");
    }
}

#[test]
fn a_change_is_written_to_a_private_file_and_a_failed_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users.toml");
    UsersFile::change(&path, |file| file.with_user("kim", "x", &[])).unwrap();
    assert_eq!(UsersFile::read(&path).unwrap().list()[0].name, "kim");
    assert!(UsersFile::change(&path, |file| file.with_user("kim", "y", &[])).is_err());
    assert_eq!(UsersFile::read(&path).unwrap().text(), "[users.kim]\npassword = \"x\"\n");
}
