//! Detects that one session's tokens were used from several countries within a short time: probably by more than one person.
//!
//! A use is a request with one of the session's credentials, its refresh token included. Addresses without a country (private,
//! special, unknown to the database, or no database at all) never count, so behind a proxy that is not trusted, or on an
//! internal network, there are no findings rather than wrong ones.
//!
//! People live at borders, travel and use VPNs: [`certainty`](super::certainty) decides when a finding is doubtful, and so only
//! reported, and when there is none at all. Well-known VPNs are exempt by default.

use super::certainty::Certainty;
use super::client_version::{ClientVersion, Likeness};
use super::window::{MarkValue, RepeatRule, Windows};
use super::{Finding, Scene, Subject};
use crate::geo::Country;

const COUNTRIES: Windows<CountryUse> = Windows::new("token_countries", RepeatRule::AfterWindow);

/// The country and the client of a use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct CountryUse {
    country: Country,
    agent: Option<ClientVersion>,
}

impl MarkValue for CountryUse {
    const BYTES: usize = Country::BYTES + Option::<ClientVersion>::BYTES;

    fn write(&self, to: &mut Vec<u8>) {
        self.country.write(to);
        self.agent.write(to);
    }

    fn read(from: &[u8]) -> Option<Self> {
        let (country, agent) = from.split_at_checked(Country::BYTES)?;
        Some(Self { country: Country::read(country)?, agent: MarkValue::read(agent)? })
    }
}

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let Scene { event, around, .. } = scene;
    let (session, user) = scene.session_in_use()?;
    let country = around.places.country(event.client?)?;
    let agent = event.agent.as_deref().map(ClientVersion::of);
    let here = CountryUse { country, agent };
    let is_same = |one: &CountryUse, other: &CountryUse| one.country == other.country;
    let seen = COUNTRIES.distinct_by(scene, session, here, is_same).await?;
    let countries: Vec<Country> = seen.iter().map(|one| one.country).collect();
    let likeness =
        seen.iter().map(|one| ClientVersion::likeness(one.agent.as_ref(), agent.as_ref()));
    let likeness = likeness.max().unwrap_or(Likeness::Other);
    let certainty = Certainty::of(around.history, user, &countries, likeness, event.at);
    let finding = scene.finding(Subject::Session(session.clone()), seen.len());
    if certainty != Certainty::Certain {
        // A doubtful finding must not hide a certain one that follows it.
        COUNTRIES.put_back(scene, session, seen).await;
    }
    certainty.judge(finding.of_user(user).in_countries(countries))
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
    use crate::event::Refresh;

    const KOREA: &str = "1.0.0.1";
    const KOREA_TOO: &str = "4.0.0.1";
    const STATES: &str = "2.0.0.1";
    const GERMANY: &str = "3.0.0.1";

    fn used(secs: u64, name: &str, client: &str) -> Event {
        let (session, user) = session(name);
        event(at(secs), client, EventKind::SessionUsed { session, user, proof: Proof::AccessToken })
    }

    #[test]
    fn two_countries_within_the_window_are_a_finding_that_names_them() {
        let found = findings(
            &shown(DetectorName::TokenCountries, &detector(2)),
            [used(0, "a", KOREA), used(1, "a", KOREA), used(59, "a", STATES)],
        );
        let [(3, finding)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.session, Some(SessionId::new("a")));
        let names: Vec<_> = finding.evidence.countries.iter().map(Country::as_str).collect();
        assert_eq!((names.as_slice(), finding.evidence.count), (&["KR", "US"][..], 2));
    }

    #[test]
    fn the_same_client_everywhere_is_a_doubt() {
        let with = |agent: &str, event: Event| Event { agent: Some(agent.into()), ..event };
        for (agent, is_doubtful) in [
            ("Monitor/1.0", true),
            ("Monitor/1.1", false),
            ("Monitor/0.9", false),
            ("curl/8", false),
        ] {
            let events = [used(0, "a", KOREA), with(agent, used(1, "a", STATES))];
            let found = findings(&shown(DetectorName::TokenCountries, &detector(2)), events);
            assert!(
                matches!(&found[..], [(2, one)] if one.is_doubtful == is_doubtful),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_doubt_is_told_once_of_a_user_and_a_country() {
        let detector = shown(DetectorName::TokenCountries, &detector(2));
        let trips = |session: &str| [used(0, session, KOREA), used(1, session, STATES)];
        let (again, further) = (trips("b"), [used(2, "b", GERMANY)]);
        let events = trips("a").into_iter().chain(again).chain(further);
        assert_eq!(fires_at(&detector, events), [2, 5]);
    }

    #[test]
    fn an_update_is_the_same_client_where_the_person_is_known_to_be() {
        let newer = |event: Event| Event { agent: Some("Monitor/1.1".into()), ..event };
        for (known, expected) in [(true, vec![2]), (false, vec![2])] {
            let mut events = vec![used(0, "a", KOREA)];
            if known {
                // This one is reported, and the update after it is not.
                events.push(used(1, "a", STATES));
            }
            events.push(newer(used(2, "a", if known { KOREA } else { STATES })));
            let found = findings(&shown(DetectorName::TokenCountries, &detector(2)), events);
            let all: Vec<_> = found.iter().map(|(n, _)| *n).collect();
            assert_eq!(all, expected, "{known}");
            assert_eq!(found[0].1.is_doubtful, known, "{known}");
        }
    }

    #[test]
    fn a_doubt_hides_no_other_client() {
        let thief = Event { agent: Some("curl/8".into()), ..used(3, "a", GERMANY) };
        let found = findings(
            &shown(DetectorName::TokenCountries, &detector(2)),
            [used(0, "a", KOREA), used(1, "a", STATES), used(2, "a", KOREA), thief],
        );
        let doubts: Vec<_> = found.iter().map(|(n, one)| (*n, one.is_doubtful)).collect();
        assert_eq!(doubts, [(2, true), (4, false)]);
    }

    #[test]
    fn a_refresh_is_a_use() {
        let (session, user) = session("a");
        let refreshed = EventKind::Refreshed { session, user, how: Refresh::Rotated };
        let events = [used(0, "a", KOREA), event(at(1), STATES, refreshed)];
        assert_eq!(fires_at(&shown(DetectorName::TokenCountries, &detector(2)), events), [2]);
    }

    #[test]
    fn silent_within_one_country_beyond_the_window_and_over_several_sessions() {
        for events in [
            vec![used(0, "a", KOREA), used(1, "a", KOREA_TOO)],
            vec![used(0, "a", KOREA), used(60, "a", STATES)],
            vec![used(0, "a", KOREA), used(1, "b", STATES)],
        ] {
            assert_eq!(fires_at(&shown(DetectorName::TokenCountries, &detector(2)), events), NEVER);
        }
    }

    #[test]
    fn below_a_threshold_of_three_two_countries_are_silent() {
        let two = [used(0, "a", KOREA), used(1, "a", STATES)];
        let detector = shown(DetectorName::TokenCountries, &detector(3));
        assert_eq!(fires_at(&detector, two), NEVER);
        assert_eq!(fires_at(&detector, [used(2, "a", GERMANY)]), [1]);
    }

    #[test]
    fn an_address_without_a_country_never_counts() {
        let mut nobody = used(0, "a", KOREA);
        nobody.client = None;
        let events =
            ["10.0.0.1", "127.0.0.1", "::1", "9.9.9.9", KOREA].map(|client| used(0, "a", client));
        assert_eq!(
            fires_at(
                &shown(DetectorName::TokenCountries, &detector(2)),
                events.into_iter().chain([nobody])
            ),
            NEVER
        );
    }
}
