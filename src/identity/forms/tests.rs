//! What each caller gets, and what is taken from whom.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::caller::{Anonymous, Identity, Proof, SessionId, UserKey};

const NOW: Timestamp = Timestamp::from_secs(1_780_000_000);

fn config(forms: &str, route: &str) -> Config {
    let text = format!(
        "listen.http = [\"127.0.0.1:1\"]\nupstream = [{{ name = \"a\", servers = [\"127.0.0.1:2\"] }}]\n\
         directory = [{{ kind = \"file\", name = \"staff\", path = \"u\" }}, \
         {{ kind = \"django\", database = \"sqlite:///d\" }}]\n\
         [[route]]\nname = \"r\"\npath = \"/\"\nupstream = \"a\"\n{route}\n{forms}"
    );
    Config::parse(&text, Path::new("/etc"), "gateway.toml")
        .unwrap_or_else(|report| panic!("{report}"))
        .0
}

fn caller(directory: &str, id: &str, name: &str, proof: Proof) -> Caller {
    Caller::Known(Known {
        identity: Arc::new(Identity {
            key: UserKey::new(directory, id),
            name: name.into(),
            groups: vec![],
            staff: false,
            superuser: false,
            attributes: BTreeMap::new(),
        }),
        session: SessionId::new("s1"),
        proof,
    })
}

fn kim(proof: Proof) -> Caller {
    caller("django", "2", "kim", proof)
}

async fn headers(config: &Config, caller: &Caller) -> Result<Vec<(String, String)>, Refusal> {
    let forms = IdentityForms::open(config).unwrap_or_else(|error| panic!("{error}"));
    let given = forms.give(caller, &config.routes[0], NOW).await?;
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    Ok(given.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
}

const TWO: &str = "[[identity.form]]\nname = \"by-name\"\nkind = \"remote-user\"\n\
                   [[identity.form]]\nname = \"by-id\"\nkind = \"remote-user\"\nvalue = \"id\"\n\
                   header = \"X-Remote-User\"\ndirectory = \"django\"\n";

#[tokio::test]
async fn a_caller_gets_the_forms_of_how_they_came() {
    for (route, bearer, cookie) in [
        (
            "identity = [\"by-name\", \"by-id\"]",
            "remote-user=kim x-remote-user=2",
            "remote-user=kim x-remote-user=2",
        ),
        (
            "identity = { bearer = \"by-id\", cookie = \"by-name\" }",
            "x-remote-user=2",
            "remote-user=kim",
        ),
        ("identity = { cookie = [\"by-id\", \"by-name\"] }", "", "x-remote-user=2 remote-user=kim"),
    ] {
        let config = config(TWO, route);
        for (proof, expected) in [(Proof::AccessToken, bearer), (Proof::SessionCookie, cookie)] {
            let fields = headers(&config, &kim(proof)).await.unwrap();
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(fields.join(" "), expected, "{route} {proof:?}");
        }
        let nobody = Caller::Anonymous(Anonymous::NoCredential);
        assert_eq!(headers(&config, &nobody).await, Ok(vec![]));
    }
}

#[tokio::test]
async fn an_id_of_another_directory_is_nobody_to_the_service() {
    let config = config(TWO, "identity = { bearer = \"by-id\", cookie = \"by-name\" }");
    let other = |proof| caller("staff", "1", "root", proof);
    assert_eq!(headers(&config, &other(Proof::AccessToken)).await, Err(Refusal::OtherDirectory));
    assert!(headers(&config, &other(Proof::SessionCookie)).await.is_ok(), "names are not ids");
}

#[test]
fn the_headers_of_forms_are_protected() {
    let forms = IdentityForms::open(&config(TWO, "identity = [\"by-name\", \"by-id\"]")).unwrap();
    assert_eq!(
        forms.names().map(HeaderName::as_str).collect::<Vec<_>>(),
        ["remote-user", "x-remote-user"]
    );
}
