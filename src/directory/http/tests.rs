//! Tests against a server that gives the responses of a test.

use std::net::SocketAddr;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{HttpUser, Logout};

const NOW: Timestamp = Timestamp::from_secs(1_795_422_879);
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

/// A server that responds by method and path, and records the requests.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answers: &[(&'static str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (seen, answers) = (
            Arc::clone(&asked),
            answers.iter().map(|(to, text)| (*to, (*text).to_owned())).collect::<Vec<_>>(),
        );
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                let answer = answers.iter().find(|(to, _)| request.starts_with(to));
                let answer =
                    answer.map_or("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", |one| &one.1);
                seen.lock().push(request);
                // The client may close the connection once it has read enough.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, asked }
    }

    fn at(&self, path: &str) -> Uri {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    fn directory(&self, change: impl FnOnce(&mut Settings)) -> HttpDirectory {
        // The process does this when it starts.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut settings = Settings::new(self.at("/login"));
        settings.success.location = Some("/home".into());
        settings.refused.status = vec![200];
        change(&mut settings);
        HttpDirectory::new("app", &settings).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.unwrap_or(0);
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            body.len() >= length.map_or(0, |length| length.parse().unwrap())
        });
        if whole || count == 0 {
            return text;
        }
    }
}

fn html(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

const HOME: &str = "HTTP/1.1 302 Found\r\nlocation: /home\r\nset-cookie: sid=1; HttpOnly\r\ncontent-length: 0\r\n\r\n";

async fn sign_in(directory: &HttpDirectory) -> Result<PasswordVerdict, DirectoryError> {
    let password = Secret::new("p&ss wörd");
    directory
        .sign_in(PasswordAttempt {
            name: "kim",
            password: &password,
            client: CLIENT,
            at: NOW,
            is_typed: false,
        })
        .await
}

async fn accepted(directory: &HttpDirectory) -> (Account, Jar) {
    match sign_in(directory).await.unwrap() {
        PasswordVerdict::Accepted(account, jar) => (*account, jar),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_token_is_found_and_sent_back_wherever_it_is() {
    let page = html(
        "set-cookie: XSRF-TOKEN=c%3D%3D; path=/\r\n",
        r#"<meta name="csrf-token" content="m&amp;"><form><input type=password><input name="_t" value="i+"></form>"#,
    );
    let server = Server::start(&[("GET /page", &page), ("POST /login", HOME)]).await;
    for (found, field, header, expected) in [
        (CsrfToken::Input("_t".into()), Some("_t"), None, "_t=i%2B&username"),
        (CsrfToken::Meta("csrf-token".into()), Some("x"), None, "x=m%26&username"),
        (CsrfToken::Meta("csrf-token".into()), None, Some("x-csrf-token"), "x-csrf-token: m&\r\n"),
        (
            CsrfToken::Cookie("XSRF-TOKEN".into()),
            None,
            Some("x-xsrf-token"),
            "x-xsrf-token: c==\r\n",
        ),
    ] {
        let directory = server.directory(|settings| {
            settings.csrf = Some(Csrf {
                page: server.at("/page"),
                found,
                field: field.map(str::to_owned),
                header: header.map(HeaderName::from_static),
            });
        });
        let (_, jar) = accepted(&directory).await;
        let login = server.asked().pop().unwrap();
        assert!(login.contains(expected), "{expected}: {login}");
        assert!(login.contains("cookie: XSRF-TOKEN=c%3D%3D\r\n"), "{login}");
        let names: Vec<_> = jar.cookies(NOW).map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["XSRF-TOKEN", "sid"]);
    }
    for name in ["other", "XSRF-TOKEN"] {
        let directory = server.directory(|settings| {
            let found = CsrfToken::Input(name.into());
            settings.csrf = Some(Csrf {
                page: server.at("/page"),
                found,
                field: Some("x".into()),
                header: None,
            });
        });
        let error = sign_in(&directory).await.unwrap_err();
        assert_eq!(error.reason, "its page has no token");
    }
}

#[tokio::test]
async fn the_form_is_written_as_the_operator_says() {
    let server = Server::start(&[("POST /login", HOME)]).await;
    let directory = server.directory(|settings| {
        settings.fields = vec![("remember".into(), "1".into())];
        settings.headers = vec![
            (HeaderName::from_static("host"), HeaderValue::from_static("shop.example")),
            (ORIGIN, HeaderValue::from_static("https://shop.example")),
        ];
    });
    let (account, _) = accepted(&directory).await;
    let login = server.asked().pop().unwrap();
    for line in [
        "host: shop.example\r\n",
        "origin: https://shop.example\r\n",
        "x-forwarded-for: 203.0.113.9\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "\r\n\r\nremember=1&username=kim&password=p%26ss+w%C3%B6rd",
    ] {
        assert!(login.contains(line), "{line}: {login}");
    }
    assert_eq!(account.identity.key, UserKey::new("app", "kim"));
    assert_eq!((&*account.identity.name, account.active), ("kim", true));

    let directory = server.directory(|settings| settings.encoding = LoginEncoding::Json);
    accepted(&directory).await;
    let login = server.asked().pop().unwrap();
    assert!(login.contains("content-type: application/json\r\n"), "{login}");
    let body: Value = serde_json::from_str(login.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body, serde_json::json!({"username": "kim", "password": "p&ss wörd"}));
}

#[tokio::test]
async fn the_answer_says_who_it_is_or_nobody_knows() {
    let json = r#"{"user": {"id": 7, "name": "김", "groups": ["b", "a", "b", 3, null], "bad": "x\n", "list": []}}"#;
    let server = Server::start(&[("POST /login", &html("", json))]).await;
    let with = |user: HttpUser| {
        server.directory(move |settings| {
            settings.success =
                AnswerRules { json: Some("/user/id".into()), ..AnswerRules::default() };
            settings.refused.status = vec![401];
            settings.user = user;
        })
    };
    let at = |pointer: &str| Some(pointer.to_owned());
    let (account, _) = accepted(&with(HttpUser {
        id: at("/user/id"),
        name: at("/user/name"),
        groups: at("/user/groups"),
        email: at("/user/mail"),
        casefold: false,
    }))
    .await;
    assert_eq!(account.identity.key, UserKey::new("app", "7"));
    assert_eq!(account.identity.name, "김");
    assert_eq!(account.identity.groups, ["3", "a", "b"]);
    assert!(account.identity.attributes.is_empty());
    for pointer in ["/user/nothing", "/user/bad", "/user/list", "/user"] {
        let error = sign_in(&with(HttpUser { id: at(pointer), ..HttpUser::default() })).await;
        assert!(error.unwrap_err().reason.contains(pointer), "{pointer}");
    }
}

#[tokio::test]
async fn no_redirect_is_followed_and_no_more_is_read_than_decides() {
    let long = html("", &format!("wrong{}end", " ".repeat(2 * MAX_BODY)));
    let server = Server::start(&[
        ("POST /login", "HTTP/1.1 307 Go\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"),
        ("POST /long", &long),
        ("GET /page", "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"),
    ])
    .await;
    let error = sign_in(&server.directory(|_| {})).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the directory app failed: the answer 307 to \"/elsewhere\" fits neither `success` nor `refused`"
    );
    let directory = server.directory(|settings| {
        settings.csrf = Some(Csrf {
            page: server.at("/page"),
            found: CsrfToken::Input("t".into()),
            field: Some("t".into()),
            header: None,
        });
    });
    assert_eq!(sign_in(&directory).await.unwrap_err().reason, "its page answers 302 Found");
    let long = |text: &str| {
        let text = text.to_owned();
        server.directory(|settings| {
            settings.url = server.at("/long");
            settings.refused.body_contains = Some(text);
        })
    };
    assert!(matches!(sign_in(&long("wrong")).await, Ok(PasswordVerdict::Refused)));
    assert!(sign_in(&long("end")).await.is_err());
    assert!(server.asked().iter().all(|one| !one.contains("elsewhere")));
}

#[tokio::test]
async fn a_service_that_is_away_or_silent_is_trouble() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let server = Server { address, asked: Arc::default() };
    let directory = server.directory(|settings| {
        settings.timeout = Duration::from_millis(200);
        settings.max_concurrent = 1;
    });
    let (first, second) = tokio::join!(sign_in(&directory), sign_in(&directory));
    let reason = first.unwrap_err().reason;
    assert!(reason.contains("too long") || reason.contains("timed out"), "{reason}");
    assert!(matches!(second, Ok(PasswordVerdict::Busy)), "{second:?}");
    drop(silent);
    let reason = sign_in(&directory).await.unwrap_err().reason;
    assert!(reason.contains("onnect"), "{reason}");
    assert!(!reason.contains("kim") && !reason.contains("/login"), "{reason}");
}

#[tokio::test]
async fn signing_out_sends_the_cookies_and_the_token() {
    let page = html("", r#"<form><input name="_t" value="tok"></form>"#);
    let answers = [
        ("GET /account", page.as_str()),
        ("POST /logout", HOME),
        ("GET /old", HOME),
        ("POST /broken", "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"),
    ];
    let server = Server::start(&answers).await;
    let mut jar = Jar::default();
    let headers = [(http::header::SET_COOKIE, HeaderValue::from_static("sid=1"))];
    jar.take(&headers.into_iter().collect(), NOW);
    for (path, page, expected) in [
        ("/logout", Some("/account"), Some("_t=tok")),
        ("/logout", None, Some("cookie: sid=1")),
        // The session is over: the page has no form, and there is nothing to end.
        ("/logout", Some("/old"), None),
    ] {
        server.asked.lock().clear();
        let directory = server.directory(|settings| {
            settings.csrf = Some(Csrf {
                page: server.at("/page"),
                found: CsrfToken::Input("_t".into()),
                field: Some("_t".into()),
                header: None,
            });
            settings.logout = Some(Logout {
                url: server.at(path),
                method: Method::POST,
                csrf_page: page.map(|page| server.at(page)),
            });
        });
        directory.sign_out(jar.clone(), NOW).await.unwrap();
        let asked = server.asked();
        assert!(asked.iter().all(|one| one.contains("cookie: sid=1\r\n")), "{asked:?}");
        let posted = asked.iter().find(|one| one.starts_with("POST"));
        assert_eq!(posted.is_some(), expected.is_some(), "{asked:?}");
        assert!(expected.is_none_or(|expected| posted.unwrap().contains(expected)), "{asked:?}");
    }
    let directory = server.directory(|settings| {
        let url = server.at("/broken");
        settings.logout = Some(Logout { url, method: Method::POST, csrf_page: None });
    });
    assert!(directory.sign_out(jar, NOW).await.is_err(), "to be tried again");
}

/// The page shows a name that failed again.
#[tokio::test]
async fn nobody_types_what_success_looks_like() {
    let page =
        html("", r#"<p>Nobody is called welcome.</p><input name="username" value="Welcome">"#);
    let server = Server::start(&[("POST /login", &page)]).await;
    let directory = server.directory(|settings| {
        settings.success =
            AnswerRules { body_contains: Some("Welcome ".into()), ..AnswerRules::default() };
        settings.refused =
            AnswerRules { body_lacks: Some("Welcome ".into()), ..AnswerRules::default() };
    });
    for (name, password) in
        [("Welcome", "x"), ("a Welcome b", "x"), ("wELCOME", "x"), ("kim", "Welcome 1")]
    {
        let password = Secret::new(password);
        let attempt =
            PasswordAttempt { name, password: &password, client: CLIENT, at: NOW, is_typed: false };
        let error = directory.sign_in(attempt).await.unwrap_err();
        assert!(error.reason.contains("success.body_contains"), "{name}: {error}");
    }
    assert!(server.asked().is_empty(), "and the application is not asked");
    assert!(matches!(sign_in(&directory).await, Ok(PasswordVerdict::Refused)));
}

#[tokio::test]
async fn what_a_body_lacks_is_not_known_of_half_of_it() {
    let all = html("set-cookie: sid=1\r\n", &format!("{}Wrong", " ".repeat(MAX_BODY)));
    let server = Server::start(&[("POST /login", &all)]).await;
    for succeeds in [true, false] {
        let directory = server.directory(|settings| {
            let lacks = AnswerRules { body_lacks: Some("Wrong".into()), ..AnswerRules::default() };
            let never = AnswerRules { status: vec![400], ..AnswerRules::default() };
            (settings.success, settings.refused) =
                if succeeds { (lacks, never) } else { (never, lacks) };
        });
        let error = sign_in(&directory).await.unwrap_err();
        assert!(error.reason.contains("fits neither"), "{succeeds}: {error}");
    }
}

#[tokio::test]
async fn a_session_that_is_nobodys_is_signed_out() {
    let server = Server::start(&[("POST /login", HOME), ("POST /logout", HOME)]).await;
    let directory = server.directory(|settings| {
        settings.user.id = Some("/id".into());
        let url = server.at("/logout");
        settings.logout = Some(Logout { url, method: Method::POST, csrf_page: None });
    });
    assert!(sign_in(&directory).await.unwrap_err().reason.contains("/id"));
    let last = server.asked().pop().unwrap();
    assert!(last.starts_with("POST /logout") && last.contains("cookie: sid=1\r\n"), "{last}");
}
