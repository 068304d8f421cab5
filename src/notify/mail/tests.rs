use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::testing::incident;
use super::*;
use crate::directory::{Account, DirectoryError, Users};
use crate::django::hashers::PasswordHasher;
use crate::store::Former;
use crate::store::memory::Memory;

/// A directory with one user, `7`, with these attributes; or one that is down.
struct People {
    attributes: BTreeMap<String, String>,
    down: bool,
    /// The number of other users with the same address.
    others: usize,
}

#[async_trait]
impl Users for People {
    fn name(&self) -> &str {
        "django"
    }

    fn hashers(&self) -> Arc<[PasswordHasher]> {
        Arc::from(PasswordHasher::DEFAULT)
    }

    fn decoy(&self) -> Secret {
        Secret::new("")
    }

    async fn find(&self, name: &str) -> Result<Option<Account>, DirectoryError> {
        let found = self.by_id(&UserKey::new("django", "7")).await?;
        Ok(found.filter(|_| name == "kim"))
    }

    async fn by_id(&self, user: &UserKey) -> Result<Option<Account>, DirectoryError> {
        if self.down {
            return Err(DirectoryError { directory: "django".into(), reason: "down".into() });
        }
        let identity = Identity {
            key: user.clone(),
            name: "kim\r\nBcc: all@example.org".into(),
            groups: Vec::new(),
            staff: false,
            superuser: false,
            attributes: self.attributes.clone(),
        };
        let account = Account {
            identity: Arc::new(identity),
            active: true,
            has_second_factor: false,
            password: Secret::new("!"),
        };
        Ok((&*user.id == "7").then_some(account))
    }

    fn as_typed<'n>(&self, name: &'n str) -> Cow<'n, str> {
        Cow::Borrowed(name)
    }

    async fn key(&self, id: &str) -> Result<UserKey, DirectoryError> {
        Ok(UserKey::new(self.name(), id))
    }

    async fn with_address(&self, _: &str) -> Result<usize, DirectoryError> {
        Ok(1 + self.others)
    }

    fn upgrades_to(&self) -> Option<PasswordHasher> {
        None
    }

    fn password_store(&self) -> Option<&dyn crate::directory::PasswordStore> {
        None
    }

    async fn missing(&self) -> Result<Vec<String>, DirectoryError> {
        Ok(Vec::new())
    }
}

fn settings() -> MailSettings {
    MailSettings {
        host: "127.0.0.1".into(),
        // Nothing listens there: a test ends before, or with that failure.
        port: 1,
        tls: MailTls::None,
        username: None,
        password_file: None,
        from: "Acme <security@example.com>".into(),
        timeout: Duration::from_secs(2),
        ca_file: None,
        public_url: "https://app.example.com".into(),
        password_change_url: None,
        link_lifetime: Duration::from_secs(3600),
        language: Language::Korean,
        time_zone: "Asia/Seoul".into(),
        per_address: 2,
        templates: None,
    }
}

fn mail(attributes: &[(&str, &str)], down: bool) -> Mail {
    let attributes = attributes.iter().map(|(key, value)| ((*key).into(), (*value).into()));
    let people = People { attributes: attributes.collect(), down, others: 0 };
    let store = Memory::new();
    Mail::new(MailParts {
        settings: settings(),
        password: None,
        service: "Acme".into(),
        path: "/incident".into(),
        account_path: Some("/account".into()),
        directories: vec![Directory::Users(Arc::new(people))],
        sessions: Arc::clone(&store) as Arc<dyn Sessions>,
        former: Arc::clone(&store) as Arc<dyn Former>,
        retention: Duration::from_secs(86_400),
        questions: store,
    })
    .unwrap()
}

fn parcel(user: Option<&str>) -> Parcel {
    let told = ToldIncident::new("i1".into(), &incident("token_countries", Some("s1"), user));
    Parcel { id: "m1".into(), news: News::Incident(told), now: Timestamp::from_secs(2_000) }
}

#[tokio::test]
async fn whoever_has_no_address_is_not_written_to() {
    for (attributes, user) in [
        (&[("email", "kim@example.org")][..], None),
        (&[("email", "kim@example.org")], Some("8")),
        (&[], Some("7")),
        (&[("email", "")], Some("7")),
        (&[("email", "no address")], Some("7")),
        (&[("email", "kim@example.org\r\nBcc: all@example.org")], Some("7")),
        (&[("email", "a@example.org, b@example.org")], Some("7")),
        (&[("email", "Kim <kim@example.org>")], Some("7")),
    ] {
        let delivery = mail(attributes, false).deliver(&parcel(user)).await;
        assert_eq!(delivery, Delivery::NoAddress, "{attributes:?} {user:?}");
    }
}

#[tokio::test]
async fn a_directory_or_server_that_is_down_is_asked_again() {
    let down = mail(&[("email", "kim@example.org")], true).deliver(&parcel(Some("7"))).await;
    assert!(matches!(&down, Delivery::Again(reason, None) if reason.contains("down")), "{down:?}");
    let mail = mail(&[("email", "kim@example.org")], false);
    for _ in 0..4 {
        let refused = mail.deliver(&parcel(Some("7"))).await;
        assert!(matches!(refused, Delivery::Again(..)), "failures do not count: {refused:?}");
    }
}

#[test]
fn one_address_gets_so_many_an_hour_however_it_is_spelled() {
    let mail = mail(&[], false);
    let address = |text: &str| text.parse::<Address>().unwrap();
    let at = |minutes: u64| Timestamp::from_secs(10_000 + 60 * minutes);
    assert_eq!(mail.admit(&address("kim@example.org"), at(0)), Ok(()));
    assert_eq!(mail.admit(&address("KIM@example.org"), at(10)), Ok(()));
    let wait = Err(Duration::from_secs(40 * 60));
    assert_eq!(mail.admit(&address("kim@example.org"), at(20)), wait);
    assert_eq!(mail.admit(&address("lee@example.org"), at(20)), Ok(()));
    assert_eq!(mail.admit(&address("kim@example.org"), at(60)), Ok(()));
    mail.take_back(&address("kim@example.org"), at(60));
    assert_eq!(mail.admit(&address("kim@example.org"), at(61)), Ok(()));
}

#[tokio::test]
async fn the_letter_holds_the_secret_and_the_store_its_hash() {
    let store = Memory::new();
    let mail = Mail { questions: Arc::clone(&store) as Arc<dyn Questions>, ..mail(&[], false) };
    let parcel = parcel(Some("7"));
    let News::Incident(told) = &parcel.news else { panic!("an incident") };
    let question =
        Question { incident: told.clone(), account: "kim\r\nBcc: all@example.org".into() };
    let until = parcel.now.plus(Duration::from_secs(60));
    let secret = mail.ask(&parcel, &question, until).await.unwrap();
    assert_eq!(secret.expose().len(), 43);
    let kept = store.question(&secret.digest(), parcel.now).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&kept).contains(secret.expose()));

    let letter = mail.letter(&question, &secret, until, Language::Korean);
    let link = format!("https://app.example.com/incident?answer=not-me&token={}", secret.expose());
    assert!(letter.text.contains(&link), "{}", letter.text);
    assert!(letter.text.contains("1970-01-01 09:16 KST"), "{}", letter.text);
    let message = mail.message(&parcel, "kim@example.org".parse().unwrap(), letter).unwrap();
    let text = String::from_utf8(message.formatted()).unwrap();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
    for line in [
        "To: kim@example.org",
        "Message-ID: <m1@app.example.com>",
        "Auto-Submitted: auto-generated",
        "Date: Thu, 01 Jan 1970 00:33:20 +0000",
    ] {
        assert!(head.lines().any(|one| one == line), "{line} is not in\n{head}");
    }
}
