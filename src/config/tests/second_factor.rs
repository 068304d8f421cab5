//! `[second_factor]`, and the own paths that come with it.

use std::time::Duration;

use super::super::*;
use super::config;

#[test]
fn second_factors_have_rules_and_a_key_beside_the_store() {
    let read = config(
        "[store]\npath = \"/data/x.db\"\n[second_factor]\nmode = \"required\"\ngrace_period = \"14d\"\nlabel = \"Acme\"\n\
         [[second_factor.rule]]\nmode = \"off\"\nusers = [\"robot\"]\ngroups = [\"a\"]\ndirectories = [\"file\"]",
    );
    let expected = SecondFactorSettings {
        mode: FactorMode::Required,
        rules: vec![FactorRule {
            mode: FactorMode::Off,
            users: vec!["robot".into()],
            groups: vec!["a".into()],
            directories: vec!["file".into()],
        }],
        grace_period: Duration::from_secs(14 * 86_400),
        label: "Acme".into(),
        key_file: "/data/second-factor-key".into(),
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
    // The account's page leads to where people confirm that it is them, if with a password.
    let has_code_page =
        |config: &Config| config.paths.iter().any(|entry| entry.own == OwnPath::SecondFactor);
    assert!(has_code_page(&off) && !has_code_page(&config("[paths]\naccount = false")));
}
