//! Detects that one address requests many resources that do not exist: a scan.
//!
//! Only *distinct* paths count, whether no route matches them or the service answers 404: a page with a broken link, or a
//! client that polls for a resource that does not exist yet, requests the same one.

use super::window::{RepeatRule, Windows};
use super::{Finding, Scene, Subject};
use crate::event::EventKind;
use crate::store::counters::CounterKey;
use crate::wire::client_ip::network_32_or_64;

/// The values are hashes of paths, because paths can be arbitrarily long.
const MISSED: Windows<CounterKey> = Windows::new("scanning", RepeatRule::AfterWindow);

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let EventKind::NotFound { path } = &scene.event.what else { return None };
    let address = network_32_or_64(scene.event.client?);
    let paths = MISSED.distinct(scene, &address, CounterKey::from(path)).await?;
    Some(scene.finding(Subject::Address(address), paths.len()))
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{NEVER, at, detector, event, findings, fires_at, shown};
    use super::*;
    use crate::event::Event;
    use crate::secret::Digest;

    fn missed(secs: u64, client: &str, path: &str) -> Event {
        event(at(secs), client, EventKind::NotFound { path: Digest::of(path.as_bytes()) })
    }

    #[test]
    fn many_paths_that_are_not_there_are_a_finding_about_the_address() {
        let paths = ["/.git/config", "/wp-login.php", "/.env"];
        let events = paths.map(|path| missed(0, "192.0.2.1", path));
        let found = findings(&shown(DetectorName::Scanning, &detector(3)), events);
        let [(3, finding)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.subject, Subject::Address("192.0.2.1/32".parse().unwrap()));
        assert_eq!(finding.evidence.count, 3);
    }

    #[test]
    fn silent_for_one_broken_link_below_the_threshold_and_over_several_addresses() {
        for events in [
            (0..50).map(|s| missed(s, "::1", "/favicon.ico")).collect::<Vec<_>>(),
            vec![missed(0, "::1", "/a"), missed(1, "::1", "/b")],
            vec![missed(0, "::1", "/a"), missed(30, "::1", "/b"), missed(60, "::1", "/c")],
            (0..3).map(|n| missed(0, &format!("192.0.2.{n}"), &n.to_string())).collect(),
        ] {
            assert_eq!(fires_at(&shown(DetectorName::Scanning, &detector(3)), events), NEVER);
        }
    }
}
