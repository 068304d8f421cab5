use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::block::{BlockedBy, Demand};
use crate::caller::{AssuranceLevel, AuthMethod, AuthMethods, Proof};
use crate::clock::{SystemClock, Timestamp};
use crate::config::LogFormat;
use crate::detect::{DetectorName, Evidence};
use crate::event::{
    Adoption, EndReason, FactorEvent, FactorRefusal, IssuedRefusal, MailedCodeEvent,
    MailedLinkEvent, Refresh, RefreshRefusal, SignInFailure, TokenRefusal,
};
use crate::refusal::Refusal;
use crate::secret::Digest;

fn event(what: EventKind) -> Event {
    Event {
        at: Timestamp::from_millis(1_795_422_879_042),
        request_id: Some("r-1".into()),
        client: Some("192.0.2.1".parse().unwrap()),
        agent: None,
        what,
    }
}

fn finding(detector: DetectorName, subject: Subject, countries: &[&str]) -> Finding {
    let session = match &subject {
        Subject::Session(session) => Some(session.clone()),
        _ => None,
    };
    Finding {
        detector,
        at: Timestamp::from_secs(0),
        request_id: None,
        client: None,
        agent: None,
        subject,
        user: session.is_some().then(|| UserKey::new("django", "7")),
        session,
        is_doubtful: false,
        evidence: Evidence {
            count: 2,
            window: Duration::from_secs(60),
            countries: countries.iter().map(|code| Country::new(code).unwrap()).collect(),
        },
    }
}

fn everything() -> Vec<EventKind> {
    let (session, user) = (SessionId::new("s-1"), UserKey::new("django", "7"));
    let mut all = vec![
        EventKind::SignedIn {
            session: session.clone(),
            user: user.clone(),
            account: "ada".into(),
            tokens: true,
            cookie: true,
            known_device: true,
            methods: AuthMethods::only(AuthMethod::Password),
        },
        EventKind::RefreshReused { session: session.clone(), user: user.clone() },
        EventKind::SessionUsed {
            session: session.clone(),
            user: user.clone(),
            proof: Proof::SessionCookie,
        },
    ];
    let failed = |why: &_| EventKind::SignInFailed { account: "ada".into(), user: None, why: *why };
    all.extend(SignInFailure::ALL.iter().map(failed));
    let refreshed =
        |how: &_| EventKind::Refreshed { session: session.clone(), user: user.clone(), how: *how };
    all.extend(Refresh::ALL.iter().map(refreshed));
    all.extend(RefreshRefusal::ALL.iter().map(|why| EventKind::RefreshRefused { why: *why }));
    let ended = |why: &_| EventKind::SessionEnded {
        session: session.clone(),
        user: user.clone(),
        why: *why,
    };
    all.extend(EndReason::ALL.iter().map(ended));
    all.extend(
        IssuedRefusal::ALL
            .iter()
            .map(|why| EventKind::IssuedRefused { issuer: "django".into(), why: *why }),
    );
    let adopted = |how: &_| EventKind::Adopted {
        session: session.clone(),
        user: user.clone(),
        issuer: "django".into(),
        how: *how,
    };
    all.extend(Adoption::ALL.iter().map(adopted));
    all.push(EventKind::SignInObserved {
        account: "ada".into(),
        user: Some(user.clone()),
        session: Some(session.clone()),
    });
    all.push(EventKind::SignInObserved { account: "ada".into(), user: None, session: None });
    let (session, issuer) = (session.clone(), "django".into());
    all.push(EventKind::TakenOver { session, user: user.clone(), issuer });
    all.push(EventKind::IssuedEnded { issuer: "django".into(), user: user.clone() });
    all.push(EventKind::PasswordChanged { user: user.clone(), is_own: true });
    all.push(EventKind::DevicesForgotten { user: user.clone(), all: true });
    all.extend(AssuranceLevel::ALL.iter().map(|to| EventKind::AssuranceChanged {
        session: SessionId::new("s-1"),
        user: user.clone(),
        from: None,
        to: *to,
        methods: AuthMethods::only(AuthMethod::Password),
    }));
    let changed = |change: &_| EventKind::FactorChanged { user: user.clone(), change: *change };
    all.extend(FactorEvent::ALL.iter().map(changed));
    let refused = |why: &_| EventKind::FactorRefused { user: user.clone(), why: *why };
    all.extend(FactorRefusal::ALL.iter().map(refused));
    for owner in [None, Some(user.clone())] {
        let link = |what: &_| {
            let (account, user, what) = ("ada".into(), owner.clone(), *what);
            EventKind::MailedLink { account, user, what }
        };
        all.extend(MailedLinkEvent::ALL.iter().map(link));
    }
    let code = |what: &_| EventKind::MailedCode { user: user.clone(), what: *what };
    all.extend(MailedCodeEvent::ALL.iter().map(code));
    let token = SessionId::new("t-1");
    all.push(EventKind::PersonalTokenMade { token: token.clone(), user: user.clone() });
    let (why, owner) = (EndReason::Revoked, user.clone());
    all.push(EventKind::PersonalTokenEnded { token: token.clone(), user: owner, why });
    let named = Some((token, user.clone()));
    for token in [None, named] {
        let refused = |why: &_| EventKind::PersonalTokenRefused { token: token.clone(), why: *why };
        all.extend(TokenRefusal::ALL.iter().map(refused));
    }
    let detector = "refresh_reuse".into();
    all.push(EventKind::IncidentAnswered { user: user.clone(), detector, was_me: false, ended: 2 });
    let (session, user) = (SessionId::new("s-1"), UserKey::new("django", "7"));
    all.push(EventKind::OutsideBinding { session, user });
    all.push(EventKind::NotFound { path: Digest::of(b"/.env") });
    for (kind, subject) in [("address", "192.0.2.0/24"), ("user", "django/7"), ("session", "s-1")] {
        let block = Arc::new(Block {
            subject: BlockSubject::parse(kind, subject).unwrap(),
            demand: Demand::StayAway,
            by: BlockedBy::Operator,
            reason: "abuse".into(),
            at: Timestamp::from_secs(0),
            until: Timestamp::from_secs(60),
        });
        all.extend([EventKind::Blocked(Arc::clone(&block)), EventKind::BlockLifted(block)]);
    }
    all.extend(
        Refusal::ALL.iter().map(|refusal| EventKind::Refused { refusal: *refusal, user: None }),
    );
    all
}

/// Returns the lines of a new audit file after `write`.
fn written(write: impl FnOnce(&Audit)) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let log = log(Some(path.clone()));
    let audit = Audit::open(&log, Arc::new(SystemClock)).unwrap();
    write(&audit);
    drop(audit);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&path).unwrap().ends_with('\n'));
    lines(&path)
}

/// Returns the lines of a file without those in which the trail reports on itself, and without number and MAC.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.retain(|line| !line["event"].as_str().unwrap().starts_with("trail_"));
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        assert!(line.remove("seq").unwrap().is_u64() && line.remove("mac").unwrap().is_string());
    }
    lines
}

fn log(audit_file: Option<PathBuf>) -> config::Log {
    let beside = audit_file.clone().unwrap_or_default().with_file_name("audit-key");
    config::Log {
        format: LogFormat::Json,
        audit_file,
        audit_key_file: beside,
        ..config::Log::default()
    }
}

#[test]
fn an_event_is_one_line_with_stable_names() {
    let what = EventKind::SignedIn {
        session: SessionId::new("s-1"),
        user: UserKey::new("django", "7"),
        account: "ada".into(),
        tokens: true,
        cookie: false,
        known_device: true,
        methods: AuthMethods::only(AuthMethod::Password),
    };
    let expected = json!({
        "at": "2026-11-23T08:34:39.042Z", "event": "sign_in", "request_id": "r-1", "client": "192.0.2.1",
        "session": "s-1", "user": "django/7", "account": "ada", "issued": "tokens",
        "known_device": true, "amr": "pwd",
    });
    assert_eq!(written(|audit| audit.event(&event(what))), [expected]);
}

#[test]
fn a_finding_is_one_line_with_what_was_done() {
    let session = || Subject::Session(SessionId::new("s-1"));
    let countries = finding(DetectorName::TokenCountries, session(), &["KR", "US"]);
    let network = Subject::Network("192.0.2.0/24".parse().unwrap());
    let spraying = finding(DetectorName::PasswordSpraying, network, &[]);
    let lines = written(|audit| {
        audit.finding(&countries, &[TakenAction::EndSession, TakenAction::Notify], None);
        audit.finding(&spraying, &[TakenAction::DryRun], None);
        audit.finding(&countries, &[TakenAction::Failed], Some(&NotDone("disk full".into())));
    });
    let at = "1970-01-01T00:00:00.000Z";
    let mut failed = json!({
        "at": at, "event": "abnormal_access", "session": "s-1", "user": "django/7", "detector": "token_countries",
        "action": "end_session,notify", "subject": "session", "count": 2, "window_seconds": 60, "countries": "KR,US",
    });
    assert_eq!(lines[0], failed);
    let spraying = json!({
        "at": at, "event": "abnormal_access", "detector": "password_spraying", "action": "dry_run",
        "subject": "network", "network": "192.0.2.0/24", "count": 2, "window_seconds": 60,
    });
    assert_eq!(lines[1], spraying);
    failed["action"] = json!("failed");
    failed["failure"] = json!("disk full");
    assert_eq!(lines[2], failed);
}

#[test]
fn every_event_is_a_line_and_no_field_is_unknown() {
    let lines =
        written(|audit| everything().into_iter().for_each(|what| audit.event(&event(what))));
    assert_eq!(lines.len(), everything().len());
    let known = BTreeSet::from([
        "at",
        "event",
        "request_id",
        "client",
        "session",
        "user",
        "account",
        "issuer",
        "reason",
        "issued",
        "amr",
        "known_device",
        "path",
        "about",
        "answer",
        "ended",
        "subject",
        "network",
        "by",
        "why",
        "until",
    ]);
    for line in lines {
        let names: BTreeSet<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(names.is_subset(&known), "{line}");
    }
}

#[test]
fn a_session_that_stays_where_it_is_is_told_of_once() {
    let used = |secs, client: &str, agent: &str| Event {
        at: Timestamp::from_secs(secs),
        client: Some(client.parse().unwrap()),
        agent: Some(agent.into()),
        ..event(EventKind::SessionUsed {
            session: SessionId::new("s-1"),
            user: UserKey::new("django", "7"),
            proof: Proof::SessionCookie,
        })
    };
    let lines = written(|audit| {
        for (secs, client, agent) in [
            (0, "192.0.2.1", "a"),
            (60, "192.0.2.1", "a"),
            (120, "192.0.2.1", "a"),
            (180, "198.51.100.1", "a"),
            (181, "198.51.100.1", "b"),
        ] {
            audit.event(&used(secs, client, agent));
        }
    });
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line["client"].as_str(), line["agent"].as_str(), line["previous"].as_str()))
        .collect();
    let (here, there) = (Some("192.0.2.1"), Some("198.51.100.1"));
    assert_eq!(
        told,
        [
            (here, Some("a"), None),
            (there, Some("a"), Some("1970-01-01T00:02:00.000Z")),
            (there, Some("b"), Some("1970-01-01T00:03:00.000Z")),
        ]
    );
}

#[test]
fn a_name_cannot_begin_a_line_and_is_cut() {
    let forged = "x\"}\n{\"event\":\"sign_in\"\u{1b}[31m\u{2028}";
    let long = "ä".repeat(10_000);
    let lines = written(|audit| {
        for account in [forged, &long] {
            let why = SignInFailure::UnknownUser;
            audit.event(&event(EventKind::SignInFailed {
                account: account.into(),
                user: None,
                why,
            }));
        }
    });
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["account"], forged);
    assert_eq!(lines[1]["account"].as_str().unwrap().chars().count(), 256);
}

#[test]
fn a_file_that_others_may_read_is_refused_and_lines_without_codes_are_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    fs::write(&path, "{}\n").unwrap();
    for (mode, good) in
        [(0o644, false), (0o660, false), (0o602, false), (0o640, true), (0o600, true)]
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let opened = Audit::open(&log(Some(path.clone())), Arc::new(SystemClock));
        assert_eq!(opened.is_ok(), good, "{mode:o} {opened:?}");
    }
    let aside = dir.path().join("audit.jsonl.unsealed");
    assert_eq!(fs::read_to_string(&aside).unwrap(), "{}\n");
    assert_eq!(fs::metadata(&aside).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn after_a_rotation_lines_go_to_the_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, old) = (dir.path().join("audit.jsonl"), dir.path().join("audit.jsonl.1"));
    let audit = Audit::open(&log(Some(path.clone())), Arc::new(SystemClock)).unwrap();
    let refused = || event(EventKind::Refused { refusal: Refusal::NoRoute, user: None });
    audit.event(&refused());
    fs::rename(&path, &old).unwrap();
    assert!(audit.reopen());
    audit.event(&refused());
    audit.event(&refused());
    drop(audit);
    assert_eq!(lines(&old).len() + lines(&path).len(), 3);
    assert!(lines(&path).len() >= 2);
}

#[test]
fn a_file_that_cannot_be_opened_is_a_clear_error() {
    let error = Audit::open(&log(Some("/nonexistent/audit.jsonl".into())), Arc::new(SystemClock))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("the audit file /nonexistent/audit.jsonl cannot be used"), "{error}");
}
