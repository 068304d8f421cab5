//! Tests `[second_factor]`, and the own paths that come with it.

use std::time::Duration;

use super::super::*;
use super::config;

#[test]
fn second_factors_have_rules_and_a_key_beside_the_store() {
    let read = config(
        "[store]\npath = \"/data/x.db\"\n[second_factor]\nmode = \"required\"\ngrace_period = \"14d\"\ntrusted_devices = \"30d\"\nlabel = \"Acme\"\n\
         [[second_factor.rule]]\nmode = \"off\"\nusers = [\"robot\"]\ngroups = [\"a\"]\ndirectories = [\"file\"]\nmailed_codes = false",
    );
    let expected = SecondFactorSettings {
        mode: FactorMode::Required,
        rules: vec![FactorRule {
            mode: FactorMode::Off,
            users: vec!["robot".into()],
            groups: vec!["a".into()],
            directories: vec!["file".into()],
            mailed_codes: Some(false),
        }],
        grace_period: Duration::from_secs(14 * 86_400),
        trusted_devices: Duration::from_secs(30 * 86_400),
        label: "Acme".into(),
        key_file: "/data/second-factor-key".into(),
        mailed_codes: false,
        passkeys: None,
    };
    assert_eq!(read.second_factor, expected);
    let own: Vec<_> = read.paths.iter().map(|entry| (entry.own, entry.path.to_string())).collect();
    for expected in [
        (OwnPath::SecondFactor, "/login/second-factor".to_owned()),
        (OwnPath::Factors, "/account/second-factors".to_owned()),
    ] {
        assert!(own.contains(&expected), "{own:?}");
    }
    let tokens = config("[personal_tokens]\nmax_lifetime = \"10d\"\nmax_per_user = 3");
    let expected =
        PersonalTokenSettings { max_lifetime: Duration::from_secs(10 * 86_400), max_per_user: 3 };
    assert_eq!(tokens.personal_tokens, expected);
    let off = config("");
    assert!(off.paths.iter().all(|entry| entry.own != OwnPath::Factors), "off by default");
    // The account page links to where users confirm their identity, even if with a password.
    let has_code_page =
        |config: &Config| config.paths.iter().any(|entry| entry.own == OwnPath::SecondFactor);
    assert!(has_code_page(&off) && !has_code_page(&config("[paths]\naccount = false")));
}

#[test]
fn what_the_service_keeps_is_taken_over_by_its_settings() {
    let config = config(
        r#"
[[directory]]
kind = "django"
name = "shop"
database = "sqlite://db.sqlite3"
[[directory.second_factor]]
kind = "django-otp"
take_over = true
totp_table = "totp"
static_table = false
user_column = "owner_id"
throttle_factor = 0
static_throttle_factor = 5
sync = false
[[directory.second_factor]]
kind = "allauth"
take_over = true
table = "mfa"
digits = 8
period = "60s"
tolerance = 1
recovery_codes = 12
recovery_digits = 10
[[directory]]
kind = "django"
name = "other"
database = "sqlite://other.sqlite3"
[[directory.second_factor]]
kind = "django-otp"
[[directory.second_factor]]
kind = "allauth"
"#,
    );
    let django = |name: &str| {
        let found = config.directories.iter().find(|one| one.name == name).unwrap();
        let DirectoryKind::Django(django) = &found.kind else { panic!("{name}") };
        (**django).clone()
    };
    let otp = DjangoOtpSettings {
        totp_table: "totp".into(),
        static_tables: None,
        user_column: "owner_id".into(),
        throttle_factor: 0,
        static_throttle_factor: 5,
        sync: false,
    };
    let allauth = AllauthSettings {
        table: "mfa".into(),
        user_column: "user_id".into(),
        digits: 8,
        period: Duration::from_secs(60),
        tolerance: 1,
        recovery_codes: 12,
        recovery_digits: 10,
    };
    let shop = django("shop");
    assert_eq!(shop.taken_over, [TakenOver::DjangoOtp(otp), TakenOver::Allauth(allauth)]);
    // A user who has nothing but a security key there is refused.
    let names = |tables: &[SecondFactorTable]| -> Vec<String> {
        tables.iter().map(|one| format!("{} {}", one.table, one.conditions.len())).collect()
    };
    assert_eq!(names(&shop.second_factors), ["mfa 0"]);
    let other = django("other");
    assert!(other.taken_over.is_empty(), "not unless it is said");
    let tables = ["otp_totp_totpdevice 1", "otp_static_staticdevice 1", "mfa_authenticator 0"];
    assert_eq!(names(&other.second_factors), tables);
    let own = config.paths.iter().filter(|one| one.own == OwnPath::SecondFactor).count();
    assert_eq!(own, 1, "whoever has one is asked for it, whatever the mode is");
}
