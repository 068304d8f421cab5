//! Detects that requests of one session come from another kind of client: another platform, or a browser of another family. An
//! update of a browser keeps the family, so it is no finding; neither is a client without a `User-Agent`.
//!
//! A `User-Agent` is easily copied, so this detects only thieves who do not know about it. It is wrong about users who give a
//! session's token to a script of their own, or who request desktop pages on a phone. So another kind of client in the same
//! network as the one before (the same operator, where that is known, else /24 or /48) is taken for the same person. A phone
//! that requests desktop pages claims to be a desktop in every network: Safari on iOS then names a Mac, and browsers on Android
//! name Linux; so these are the same platform within one family ([`session_kind`]).

use ipnet::IpNet;

use super::window::{MarkValue, RepeatRule, Windows};
use super::{Finding, Scene, Subject};
use crate::geo::Asn;
use crate::store::counters::CounterKey;
use crate::wire::client_ip::network_24_or_48;

const KINDS: Windows<ClientUse> = Windows::new("client_change", RepeatRule::AfterWindow);

/// A kind of client, and its network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ClientUse {
    /// A hash, because a `User-Agent` can be arbitrarily long.
    kind: CounterKey,
    network: CounterKey,
    asn: Option<Asn>,
}

impl ClientUse {
    fn new(kind: &str, network: IpNet, asn: Option<Asn>) -> Self {
        let network = CounterKey::of(&network.to_string());
        Self { kind: CounterKey::of(kind), network, asn }
    }

    /// Whether the other one is another kind in the same network: one person with two programs.
    fn is_beside(&self, other: &Self) -> bool {
        let is_same_network = match (self.asn, other.asn) {
            (Some(one), Some(other)) => one == other,
            _ => self.network == other.network,
        };
        self.kind != other.kind && is_same_network
    }
}

impl MarkValue for ClientUse {
    const BYTES: usize = 2 * CounterKey::BYTES + 5;

    fn write(&self, to: &mut Vec<u8>) {
        self.kind.write(to);
        self.network.write(to);
        to.push(u8::from(self.asn.is_some()));
        to.extend_from_slice(&self.asn.map_or(0, |Asn(number)| number).to_be_bytes());
    }

    fn read(from: &[u8]) -> Option<Self> {
        let (kind, rest) = from.split_at_checked(CounterKey::BYTES)?;
        let (network, rest) = rest.split_at_checked(CounterKey::BYTES)?;
        let (has_asn, number) = rest.split_first()?;
        let asn = Asn(u32::from_be_bytes(number.try_into().ok()?));
        let asn = (*has_asn == 1).then_some(asn);
        Some(Self { kind: CounterKey::read(kind)?, network: CounterKey::read(network)?, asn })
    }
}

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let Scene { event, around, .. } = scene;
    let (session, user) = scene.session_in_use()?;
    let kind = session_kind(event.agent.as_deref()?)?;
    let client = event.client?;
    let now = ClientUse::new(&kind, network_24_or_48(client), around.places.asn(client));
    if KINDS.seen(scene, session).await.iter().any(|before| before.is_beside(&now)) {
        return None;
    }
    let kinds = KINDS.distinct_by(scene, session, now, |one, other| one.kind == other.kind).await?;
    Some(scene.finding(Subject::Session(session.clone()), kinds.len()).of_user(user))
}

/// Returns platform and family of a browser, or the name of another program; `None` if the `User-Agent` names neither.
pub(super) fn kind(agent: &str) -> Option<String> {
    // Browsers also name those whose pages they want to get, so the rarer names come first.
    const FAMILIES: [(&str, &str); 9] = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung"),
        ("FxiOS/", "Firefox"),
        ("Firefox/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Chromium/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const PLATFORMS: [(&str, &str); 7] = [
        ("Android", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iOS"),
        ("Windows", "Windows"),
        ("Macintosh", "Mac"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let first = |names: &[(&'static str, &'static str)]| {
        names.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name)
    };
    match (agent.starts_with("Mozilla/"), first(&FAMILIES)) {
        (true, Some(family)) => Some(format!("{family} {}", first(&PLATFORMS).unwrap_or_default())),
        _ => {
            let name = agent.split(['/', ' ', '(']).next().unwrap_or_default();
            (!name.is_empty()).then(|| name.to_owned())
        }
    }
}

/// Returns the kind of client within a session, where a phone and the desktop that it claims to be are one kind.
fn session_kind(agent: &str) -> Option<String> {
    const AS_DESKTOP: [(&str, &str); 2] = [(" iOS", " Mac"), (" Android", " Linux")];
    let mut kind = kind(agent)?;
    for (phone, desktop) in AS_DESKTOP {
        if let Some(family) = kind.strip_suffix(phone) {
            kind = format!("{family}{desktop}");
        }
    }
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{NEVER, at, detector, event, findings, fires_at, session, shown};
    use super::*;
    use crate::caller::Proof;
    use crate::caller::SessionId;
    use crate::event::Event;
    use crate::event::EventKind;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    const NEWER_FIREFOX: &str =
        "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0";
    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
    const EDGE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0";
    const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";

    #[test]
    fn a_kind_is_platform_and_family_or_a_programs_name() {
        for (agent, expected) in [
            (FIREFOX, Some("Firefox Linux")),
            (NEWER_FIREFOX, Some("Firefox Linux")),
            (CHROME, Some("Chrome Windows")),
            (EDGE, Some("Edge Windows")),
            (IPHONE, Some("Safari iOS")),
            ("curl/8.5.0", Some("curl")),
            ("python-requests/2.32", Some("python-requests")),
            ("Mozilla/5.0", Some("Mozilla")),
            ("", None),
            ("/", None),
        ] {
            assert_eq!(kind(agent).as_deref(), expected, "{agent}");
        }
    }

    #[test]
    fn a_phone_that_gives_itself_out_for_a_desktop_is_the_same() {
        const PHONE: &str = "Mozilla/5.0 (Linux; Android 15; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36";
        const AS_DESKTOP: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
        const IPHONE_AS_DESKTOP: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15";
        for (one, other, are_same) in [
            (PHONE, AS_DESKTOP, true),
            (IPHONE, IPHONE_AS_DESKTOP, true),
            (PHONE, IPHONE, false),
            (PHONE, CHROME, false),
            (IPHONE_AS_DESKTOP, AS_DESKTOP, false),
            (FIREFOX, AS_DESKTOP, false),
            ("curl/8.5.0", AS_DESKTOP, false),
        ] {
            assert_eq!(session_kind(one) == session_kind(other), are_same, "{one} {other}");
            let events = [("192.0.2.1", one), ("198.51.100.1", other)]
                .map(|(from, agent)| used_from(from, "a", Some(agent)));
            let fires = if are_same { vec![] } else { vec![2] };
            assert_eq!(
                fires_at(&shown(DetectorName::ClientChange, &detector(2)), events),
                fires,
                "{one} {other}"
            );
        }
    }

    fn used_from(client: &str, name: &str, agent: Option<&str>) -> Event {
        let (session, user) = session(name);
        let what = EventKind::SessionUsed { session, user, proof: Proof::SessionCookie };
        Event { agent: agent.map(Into::into), ..event(at(0), client, what) }
    }

    fn used(name: &str, agent: Option<&str>) -> Event {
        used_from("192.0.2.1", name, agent)
    }

    #[test]
    fn another_kind_of_client_is_a_finding_about_the_session() {
        let events = [FIREFOX, NEWER_FIREFOX].map(|agent| used("a", Some(agent)));
        let thief = used_from("198.51.100.1", "a", Some("curl/8.5.0"));
        let events = events.into_iter().chain([thief]);
        let found = findings(&shown(DetectorName::ClientChange, &detector(2)), events);
        let [(3, finding)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((&finding.session, finding.evidence.count), (&Some(SessionId::new("a")), 2));
        assert!(finding.user.is_some());
    }

    #[test]
    fn silent_for_updates_for_other_sessions_and_for_clients_that_say_nothing() {
        for events in [
            vec![used("a", Some(FIREFOX)), used("a", Some(NEWER_FIREFOX))],
            // A script of the same person, or desktop pages on a phone.
            vec![used("a", Some(FIREFOX)), used("a", Some("curl/8.5.0"))],
            vec![used("a", Some(FIREFOX)), used_from("198.51.100.1", "b", Some(CHROME))],
            vec![used("a", Some(FIREFOX)), used("a", None), used("a", Some(""))],
        ] {
            assert_eq!(fires_at(&shown(DetectorName::ClientChange, &detector(2)), events), NEVER);
        }
    }
}
