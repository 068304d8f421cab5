use super::*;
use crate::support::eventually;
use crate::support::tls::Certificate;

fn certificate(folder: &std::path::Path) -> (Certificate, String, String) {
    let certificate = Certificate::of("127.0.0.1");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    std::fs::write(path("mail.pem"), &certificate.pem).unwrap();
    std::fs::write(path("mail.key"), &certificate.key).unwrap();
    (certificate, path("mail.pem"), path("mail.key"))
}

#[test]
fn the_person_is_told_in_their_language() {
    let (upstream, server) = (Upstream::start(), Receiver::smtp(&[]));
    let gateway = setup(&upstream).with(&notify(&mail(&server, PLAIN))).start();
    let client = gateway.client();
    kim(&client);
    let letter = &server.wait_for(1)[0];
    assert_eq!(letter["to"], json!(["kim@example.org"]));
    let header = |name: &str| letter["headers"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(header("From"), "Acme <security@example.com>");
    assert_eq!(header("Subject"), "Acme: was this you?");
    assert_eq!(header("Auto-Submitted"), "auto-generated");
    for part in ["text", "html"] {
        let text = letter[part].as_str().unwrap();
        for said in [
            "kim",
            "203.0.113.7",
            "Firefox on Windows",
            "https://app.example/incident?answer=not-me",
        ] {
            assert!(text.contains(said), "{said} is not in\n{text}");
        }
        assert!(!text.contains("{{"), "{text}");
    }

    lee(&client);
    let letters = server.wait_for(2);
    let subject = letters[1]["headers"]["Subject"].as_str().unwrap();
    assert_eq!(
        (subject, &letters[1]["to"][0]),
        ("Acme: 본인이 맞으신가요?", &json!("lee@example.org"))
    );
    assert!(letters[1]["text"].as_str().unwrap().contains("본인이 아니라면"), "{letters:?}");

    // Root has no address.
    incident(&client, "root", "toor toor toor");
    eventually("root", || (notices(&gateway, "mail", "no_address") == 1.0).then_some(()));
    assert_eq!(server.received().len(), 2);
}

#[test]
fn mail_goes_over_tls_with_a_password() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, pem, key) = certificate(folder.path());
    for tls in ["starttls", "implicit"] {
        let mut arguments = vec!["--tls", tls, "--cert", &pem, "--key", &key];
        // aiosmtpd asks for a password only over STARTTLS.
        if tls == "starttls" {
            arguments.extend(["--user", "doorwarden", "--password", "a mail password"]);
        }
        let server = Receiver::smtp(&arguments);
        let mut more = format!("tls = \"{tls}\"\nca_file = \"ca.pem\"\n");
        if tls == "starttls" {
            more += "username = \"doorwarden\"\npassword_file = \"mail-password\"\n";
        }
        let gateway = setup(&upstream)
            .file("ca.pem", certificate.pem.as_bytes())
            .file("mail-password", b"a mail password\n")
            .with(&notify(&mail(&server, &more)))
            .start();
        kim(&gateway.client());
        let letter = &server.wait_for(1)[0];
        assert_eq!(letter["authenticated"], tls == "starttls", "{letter}");
        assert_eq!(letter["to"], json!(["kim@example.org"]));
    }
}

#[test]
fn nothing_is_said_to_a_server_that_is_not_the_one() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let (_, pem, key) = certificate(folder.path());
    let stranger = Certificate::of("127.0.0.1");
    let plain = Receiver::smtp(&[]);
    let tls = Receiver::smtp(&["--tls", "starttls", "--cert", &pem, "--key", &key]);
    // A server without encryption, and one with an untrusted certificate.
    for server in [&plain, &tls] {
        let gateway = setup(&upstream)
            .file("ca.pem", stranger.pem.as_bytes())
            .with(&notify(&mail(server, "tls = \"starttls\"\nca_file = \"ca.pem\"\n")))
            .start();
        kim(&gateway.client());
        eventually("attempts", || (notices(&gateway, "mail", "retried") >= 2.0).then_some(()));
        assert_eq!(server.received(), Vec::<Value>::new());
    }
}

#[test]
fn a_mailbox_that_does_not_exist_is_given_up_and_one_that_is_busy_is_not() {
    let (upstream, server) = (Upstream::start(), Receiver::smtp(&[]));
    for (mailbox, result) in [("gone@example.org", "given_up"), ("later@example.org", "retried")] {
        let people = people().replace("kim@example.org", mailbox);
        let gateway = setup(&upstream)
            .file("users.toml", people.as_bytes())
            .with(&notify(&mail(&server, PLAIN)))
            .start();
        kim(&gateway.client());
        eventually(result, || (notices(&gateway, "mail", result) >= 1.0).then_some(()));
    }
    assert_eq!(server.received(), Vec::<Value>::new());
}

#[test]
fn accounts_that_share_an_address_do_not_flood_it() {
    let (upstream, server) = (Upstream::start(), Receiver::smtp(&[]));
    let people = people().replace("lee@example.org", "kim@example.org");
    let gateway = setup(&upstream)
        .file("users.toml", people.as_bytes())
        .with(&notify(&mail(&server, &format!("{PLAIN}\nper_address = 3\n"))))
        .start();
    let client = gateway.client();
    for _ in 0..3 {
        kim(&client);
        lee(&client);
    }
    eventually("the others to wait", || {
        (notices(&gateway, "mail", "deferred") >= 3.0).then_some(())
    });
    assert_eq!(server.received().len(), 3);
    let waiting = "doorwarden_notices_waiting{channel=\"mail\"}";
    eventually("the number", || (gateway.metric(waiting) == Some(3.0)).then_some(()));
}

#[test]
fn an_operators_own_words_are_used() {
    let (upstream, server) = (Upstream::start(), Receiver::smtp(&[]));
    let text = "Subject: [{{ service }}] look here\n\n{{ what }} {{ not_me }}\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("incident.en.txt"), text).unwrap();
    let more = format!("{PLAIN}\ntemplates = {:?}\n", folder.path());
    let gateway = setup(&upstream).with(&notify(&mail(&server, &more))).start();
    kim(&gateway.client());
    assert_eq!(server.wait_for(1)[0]["headers"]["Subject"], "[Acme] look here");
}
