//! Tests the problems of a file, and how they are reported.

use std::path::Path;

use proptest::prelude::*;

use super::*;

mod detect;
mod directory;
mod handling;
mod kept;
mod load;
mod second_factor;
mod values;

/// One case for each paragraph: a file's text, then the report behind `> `. Lines with `##` are headings.
const PROBLEMS: &str = include_str!("problems.txt");

/// Returns a complete file in which only `text` can be wrong: whatever it lacks is added behind it.
fn complete(text: &str) -> String {
    let mut text = text.to_owned();
    for (section, rest) in [
        ("listen", "[listen]\nhttp = [\"127.0.0.1:8080\"]\n"),
        ("upstream", "[[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:8000\"]\n"),
        ("route", "[[route]]\nname = \"rest\"\npath = \"/rest\"\nupstream = \"app\"\n"),
        ("directory", "[[directory]]\nkind = \"file\"\npath = \"users.toml\"\n"),
    ] {
        if !text.contains(&format!("[{section}]")) && !text.starts_with(section) {
            text.push('\n');
            text.push_str(rest);
        }
    }
    text
}

fn parse(text: &str) -> Result<(Config, ProblemReport), ProblemReport> {
    Config::parse(text, Path::new("/etc/doorwarden"), "gateway.toml")
}

fn config(text: &str) -> Config {
    parse(&complete(text)).unwrap().0
}

#[test]
fn every_problem_has_its_place_and_says_what_is_allowed() {
    let mut seen = 0;
    let mut wrong = String::new();
    for case in PROBLEMS.split("\n\n").filter(|case| !case.starts_with("##")) {
        let (text, expected): (Vec<&str>, Vec<&str>) =
            case.lines().partition(|line| !line.starts_with("> "));
        let text = text.join("\n");
        let (Ok((_, report)) | Err(report)) = parse(&complete(&text));
        let said: Vec<String> = report.problems().iter().map(|p| format!("> {p}")).collect();
        if said != expected || said.is_empty() {
            wrong.push_str(&format!("{text}\n{}\n\n", said.join("\n")));
        }
        seen += 1;
    }
    assert!(wrong.is_empty(), "this is what is said now:\n\n{wrong}");
    assert!(seen > 100, "only {seen} cases were read");
}

#[test]
fn five_mistakes_are_five_problems_at_once() {
    let text = r#"[listen]
http = ["127.0.0.1:8080"]
admin = "0.0.0.0:9090"

[[upstream]]
name = "app"
server = ["127.0.0.1:8000"]

[[route]]
name = "app"
path = "/"
upstream = "ap"

[tokens]
access_lifetime = 300
refresh_grace = "5m"
"#;
    let report = parse(text).unwrap_err();
    let places: Vec<_> = report
        .problems()
        .iter()
        .filter(|problem| problem.is_error())
        .map(|problem| (problem.line, problem.column, problem.key.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (3, 9, "listen.admin"),
            (7, 1, "upstream.server"),
            (12, 12, "route.upstream"),
            (15, 19, "tokens.access_lifetime"),
            (16, 17, "tokens.refresh_grace"),
        ]
    );
    // The missing directory is the one warning, which is reported in addition to the errors.
    assert!(report.render(false).ends_with("gateway.toml: 5 errors, 1 warning\n"));
}

#[test]
fn follow_needs_a_way_in_and_refuses_what_it_cannot_keep() {
    const DJANGO: &str = "[[directory]]\nkind = \"django\"\ndatabase = \"sqlite:///db\"\n\
        [[issuer]]\nkind = \"django-session\"\nkey_file = \"key\"\n";
    const LOGIN: &str =
        "[[route]]\nname = \"login\"\npath = \"/in/\"\nupstream = \"app\"\naccess = \"public\"\n";
    const FOLLOW: &str = "[sign_in]\nmode = \"follow\"\nlogin_path = \"/in/\"\n\
        [[sign_in.observe]]\nkind = \"sign-in\"\npath = \"/in/\"\n";
    let good = format!("{DJANGO}{LOGIN}{FOLLOW}");
    let config = config(&good);
    assert!(config.paths.is_empty(), "the gateway answers nothing: {:?}", config.paths);
    assert_eq!(config.sign_in.observe[0].username_field, "username");
    let asked = format!("{good}[paths]\nlogout = \"/out\"\n");
    assert_eq!(self::config(&asked).paths.len(), 1);
    for (text, said) in [
        (good.replace(LOGIN, ""), "behind the route \"rest\""),
        (
            good.replace("django-session", "drf-token").replace("key_file = \"key\"\n", ""),
            "sign_in.mode: the gateway cannot read",
        ),
        (good.replace("login_path = \"/in/\"\n", ""), "sign_in.login_path: is missing"),
        (
            good.replace("kind = \"sign-in\"", "kind = \"sign-up\""),
            "sign_in.mode: the service's sign-in is not observed",
        ),
        (
            good.replace("path = \"/in/\"\nupstream", "path = \"/x/\"\nupstream"),
            "access = \"public\"",
        ),
        (
            format!("{good}[session]\nidle_timeout = \"1h\"\n"),
            "session.idle_timeout: the service's",
        ),
        (format!("{good}[paths]\nlogin = \"/in/\"\n"), "that the gateway answers"),
        (format!("{good}methods = []\n"), "sign_in.observe.methods: without a method"),
        (
            good.replace(
                "kind = \"sign-in\"\npath = \"/in/\"",
                "kind = \"sign-in\"\npath = \"/i*/\"",
            ),
            "sign_in.observe.path: ",
        ),
        (format!("{good}success = {{ json = \"/a\" }}\n"), "goes on to the client unread"),
        (format!("{good}tokens = \"other\"\n"), "sign_in.observe.tokens: there is no [[issuer]]"),
        (format!("{good}tokens = \"django-session\"\n"), "of kind = \"simplejwt\""),
        (
            format!("{good}[[sign_in.observe]]\nkind = \"refresh\"\npath = \"/r/\"\n"),
            "sign_in.observe.tokens: is missing",
        ),
        (
            format!(
                "{good}[[sign_in.observe]]\nkind = \"sign-out\"\npath = \"/r/\"\ntokens = \"x\"\n"
            ),
            "sign_in.observe.tokens: a sign-out",
        ),
        (
            good.replace(
                "access = \"public\"",
                "access = \"public\"\nsign_in_redirect = \"service\"",
            ),
            "leaves to the service where a browser signs in",
        ),
    ] {
        let text = complete(&text).replace("path = \"/rest\"", "path = \"/\"");
        let report = parse(&text).expect_err(said).to_string();
        assert!(report.contains(said), "{said}: {report}");
    }
}

#[test]
fn the_gateways_page_can_be_where_the_services_was() {
    const PAGE: &str = "[sign_in]\nlogin_path = \"/admin/login/\"\n";
    const ALIAS: &str = "[[paths.alias]]\npath = \"/admin/login/\"\nendpoint = \"login\"\n";
    assert!(config(&format!("{PAGE}{ALIAS}")).sign_in.login_path.is_some());
    let session = "shape = \"django-session\"\n";
    for text in [PAGE.to_owned(), format!("{PAGE}{ALIAS}{session}")] {
        let report = parse(&complete(&text)).expect_err("nobody shows a page there").to_string();
        assert!(report.contains("is not where the gateway's page is"), "{report}");
    }
}

#[test]
fn a_route_refuses_in_the_words_that_it_names() {
    let route = |keys: &str| {
        complete(&format!(
            "[[route]]\nname = \"api\"\npath = \"/api/\"\nupstream = \"app\"\n{keys}\n"
        ))
    };
    let challenge = |keys: &str| match &config(&route(keys)).routes[0].refusals {
        RouteRefusals::Gateway => None,
        RouteRefusals::RestFramework { challenge } => Some(challenge.clone()),
    };
    let words = "refusals = \"rest-framework\"";
    assert_eq!(challenge(words), Some(None));
    let basic = "Basic realm=\\\"api\\\"";
    assert!(challenge(&format!("{words}\nchallenge = \"{basic}\"")).unwrap().is_some());
    for (keys, said) in [
        ("challenge = \"Token\"".to_owned(), "it is for refusals = \"rest-framework\""),
        (format!("{words}\nchallenge = \"\""), "is no challenge"),
        (format!("{words}\nchallenge = \"a\\nb\""), "is no challenge"),
        ("refusals = \"django\"".to_owned(), "\"rest-framework\""),
    ] {
        let report = parse(&route(&keys)).expect_err(said).to_string();
        assert!(report.contains(said), "{keys}: {report}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    for text in [
        "[[directory]]\nkind = \"django\"\ndatabase = \"postgres://app:hunter2@db/app\"\n",
        "[[directory]]\nkind = \"django\"\npassword = \"hunter2\"\n",
        "[tokens]\nsigning_key = \"hunter2\"\n",
        "[tokens]\nsecret = hunter2\n",
    ] {
        let report = parse(&complete(text)).unwrap_err();
        let shown = report.to_string() + &report.render(true) + &report.render(false);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_reported(text in "\\PC{0,200}") {
        check_any(&text);
    }

    #[test]
    fn any_value_is_read_or_reported(
        key in 0..200_usize,
        value in "(-?[0-9]{1,30}|true|\"\\PC{0,20}\"|\\[\"[a-z0-9:/.*-]{0,20}\"\\]|\\{ [a-z]{1,4} = 1 \\}|[0-9.e]{1,6})",
    ) {
        let sample = include_str!("../../../gateway.toml");
        let settings: Vec<&str> =
            sample.lines().filter(|line| line.contains(" = ") && !line.starts_with("# ")).collect();
        let line = settings[key % settings.len()];
        let (name, _) = line.split_once('=').unwrap();
        let changed = format!("{}= {value}", name.trim_start_matches('#'));
        check_any(&sample.replacen(line, &changed, 1));
    }

    #[test]
    fn any_part_of_a_file_is_read_or_reported(start in 0..2000_usize, length in 0..2000_usize) {
        let text: String = init::MINIMAL.chars().skip(start).take(length).collect();
        check_any(&text);
    }
}

/// Checks that neither reading nor reporting panics, and that there is a configuration or an error.
fn check_any(text: &str) {
    match parse(text) {
        Ok((_, report)) => assert!(!report.has_errors()),
        Err(report) => {
            assert!(report.has_errors());
            assert!(!report.to_string().is_empty());
            assert!(report.render(true).contains("error"));
        }
    }
}
