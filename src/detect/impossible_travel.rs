//! One session was used in two places, faster apart than anybody travels.
//!
//! Databases place an address roughly, so both radii are taken off the distance, and what is within [`NEAR`] is one region.
//! Three things look like a theft and are none, and each is a rule here:
//!
//! - **Somebody hides where they are**: networks of well-known VPNs are exempt by default (`exempt = ["vpn"]`), and a place
//!   that is exempt is not seen at all.
//! - **Somebody roams**: a phone abroad is placed at home by its carrier and where it is by the Wi-Fi of its hotel, in turn. So a
//!   place in which the session has been already is no other place: only the first time is judged.
//! - **The same client** on both sides, to the letter of its `User-Agent`, is a doubtful finding: it is told and nothing
//!   else, and once for a user and a country ([`certainty`](super::certainty)). A thief can copy that, and then the person is
//!   told at once, and nobody is asked to sign in anew for nothing.

use std::net::IpAddr;
use std::time::Duration;

use quick_cache::unsync::Cache;

use super::certainty::Certainty;
use super::client_version::ClientVersion;
use super::window::{Again, Windows};
use super::{Detector, DetectorName, Evidence, Finding, Subject, Surroundings};
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::config;
use crate::event::{Event, EventKind};
use crate::geo::{Country, Location};

/// Sessions of which the last place is remembered.
const SESSIONS: usize = 32_768;

/// Places that one session is remembered to have been in.
const PLACES: usize = 6;

/// Kilometers within which two places are one region.
const NEAR: f64 = 100.0;

/// Kilometers that no speed is asked about: databases are as wrong as that.
const NEVER_FAR: f64 = 500.0;

struct ImpossibleTravel {
    settings: config::DetectorSettings,
    trails: Cache<SessionId, TravelTrail>,
    jumps: Windows<SessionId, ()>,
}

/// Where a session has been.
#[derive(Clone, Debug)]
struct TravelTrail {
    client: IpAddr,
    at: Timestamp,
    agent: Option<ClientVersion>,
    here: Location,
    country: Option<Country>,
    /// The last few other places, oldest first.
    been: Vec<Location>,
}

pub(super) fn build(settings: &config::DetectorSettings) -> impl Detector + use<> {
    ImpossibleTravel {
        trails: Cache::new(SESSIONS),
        jumps: Windows::new(settings.threshold, settings.window, Again::AfterWindow),
        settings: settings.clone(),
    }
}

impl Detector for ImpossibleTravel {
    fn observe(&mut self, event: &Event, around: &Surroundings<'_>) -> Option<Finding> {
        let (EventKind::SessionUsed { session, user, .. }
        | EventKind::Refreshed { session, user, .. }
        | EventKind::SignedIn { session, user, .. }) = &event.what
        else {
            return None;
        };
        let client = event.client?;
        let agent = event.agent.as_deref().map(ClientVersion::of);
        if let Some(mut trail) = self.trails.get_mut(session)
            && trail.client == client
        {
            trail.at = trail.at.max(event.at);
            trail.agent = agent;
            return None;
        }
        let here = around.places.location(client)?;
        let country = around.places.country(client);
        let before = self.trails.get(session).cloned();
        let been = before.as_ref().map(TravelTrail::with_here).unwrap_or_default();
        let trail = TravelTrail { client, at: event.at, agent, here, country, been };
        let is_new_here = trail.is_new_here();
        self.trails.insert(session.clone(), trail);
        let before = before?;
        if !is_new_here || !self.is_too_fast(&before, here, event.at) {
            return None;
        }
        let jumps = self.jumps.count(session.clone(), (), event.at)?;
        let countries: Vec<Country> = [before.country, country].into_iter().flatten().collect();
        let likeness = ClientVersion::likeness(before.agent.as_ref(), agent.as_ref());
        let certainty = Certainty::of(around.history, user, &countries, likeness, event.at);
        if certainty != Certainty::Certain {
            // What is in doubt hides nothing that is beyond doubt a moment later.
            self.jumps.put_back(session, &jumps, event.at);
        }
        if certainty == Certainty::Usual {
            return None;
        }
        let evidence = Evidence { count: jumps.len(), window: self.settings.window, countries };
        let subject = Subject::Session(session.clone());
        let finding = Finding::new(DetectorName::ImpossibleTravel, event, subject, evidence);
        let is_doubtful = certainty == Certainty::Doubtful;
        Some(Finding { is_doubtful, ..finding.of_user(user) })
    }

    fn judge_by(&mut self, settings: &config::DetectorSettings) {
        self.jumps.judge_by(settings.threshold, settings.window);
        self.settings = settings.clone();
    }
}

impl ImpossibleTravel {
    fn is_too_fast(&self, before: &TravelTrail, here: Location, at: Timestamp) -> bool {
        let kilometers = before.here.apart(&here);
        // Events may be told out of order.
        let apart = at.since(before.at).max(before.at.since(at));
        let hours = apart.max(Duration::from_secs(1)).as_secs_f64() / 3600.0;
        kilometers > NEVER_FAR && kilometers / hours > f64::from(self.settings.speed)
    }
}

impl TravelTrail {
    /// All places, the present one last.
    fn with_here(&self) -> Vec<Location> {
        let is_elsewhere = |place: &&Location| !is_near(place, &self.here);
        let mut been: Vec<Location> = self.been.iter().filter(is_elsewhere).copied().collect();
        been.push(self.here);
        let too_many = been.len().saturating_sub(PLACES);
        been.drain(..too_many);
        been
    }

    fn is_new_here(&self) -> bool {
        !self.been.iter().any(|place| is_near(place, &self.here))
    }
}

fn is_near(one: &Location, other: &Location) -> bool {
    one.apart(other) < NEAR
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NEVER, at, detector, event, findings, fires_at, session};
    use super::*;
    use crate::caller::Proof;

    const SEOUL: &str = "1.0.0.1";
    const SEOUL_TOO: &str = "1.0.9.9";
    const TOKYO: &str = "5.0.0.1";
    const BERLIN: &str = "3.0.0.1";
    const SOMEWHERE_IN_KOREA: &str = "4.0.0.1";

    fn used(secs: u64, client: &str, agent: &str) -> Event {
        let (session, user) = session("a");
        let what = EventKind::SessionUsed { session, user, proof: Proof::AccessToken };
        Event { agent: Some(agent.into()), ..event(at(secs), client, what) }
    }

    fn build_() -> impl Detector {
        let settings = config::DetectorSettings { speed: 900, ..detector(1) };
        build(&settings)
    }

    #[test]
    fn two_places_faster_apart_than_anybody_travels_are_a_finding() {
        let events = [used(0, SEOUL, "a"), used(3600, BERLIN, "b")];
        let found = findings(&mut build_(), events);
        let [(2, finding)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.session, Some(SessionId::new("a")));
        let countries: Vec<_> = finding.evidence.countries.iter().map(Country::as_str).collect();
        assert_eq!(countries, ["KR", "DE"]);
        assert!(!finding.is_doubtful && finding.user.is_some());
    }

    #[test]
    fn the_same_client_on_both_sides_is_a_doubt() {
        let events = [used(0, SEOUL, "a"), used(60, BERLIN, "a")];
        let found = findings(&mut build_(), events);
        assert!(matches!(&found[..], [(2, finding)] if finding.is_doubtful), "{found:?}");
    }

    #[test]
    fn a_doubt_is_told_once_and_hides_no_other_client() {
        let events = [
            used(0, SEOUL, "a"),
            used(60, BERLIN, "a"),
            used(120, TOKYO, "a"),
            used(180, "2.0.0.1", "b"),
        ];
        let found = findings(&mut build_(), events);
        let doubts: Vec<_> = found.iter().map(|(n, one)| (*n, one.is_doubtful)).collect();
        assert_eq!(doubts, [(2, true), (3, true), (4, false)]);
        let again = [used(0, SEOUL, "a"), used(60, BERLIN, "a")].map(|event| {
            let (session, user) = session("b");
            let what = EventKind::SessionUsed { session, user, proof: Proof::AccessToken };
            Event { what, at: event.at.plus(Duration::from_secs(200)), ..event }
        });
        let all = [used(0, SEOUL, "a"), used(60, BERLIN, "a")].into_iter().chain(again);
        assert_eq!(fires_at(&mut build_(), all), [2], "another session of the same person");
    }

    #[test]
    fn silent_for_flights_for_neighbors_for_places_where_it_has_been_and_for_nowhere() {
        for events in [
            // 8130 km in 9 hours and a half.
            vec![used(0, SEOUL, "a"), used(34_200, BERLIN, "b")],
            vec![used(0, SEOUL, "a"), used(1, SEOUL_TOO, "b")],
            // The database knows it to within 1000 km.
            vec![used(0, SEOUL, "a"), used(1, SOMEWHERE_IN_KOREA, "b")],
            vec![used(0, SEOUL, "a"), used(1, "10.0.0.1", "b"), used(2, "9.9.9.9", "b")],
            // After a flight of two hours: the carrier says Seoul, the hotel Tokyo.
            vec![
                used(0, SEOUL, "a"),
                used(7200, TOKYO, "a"),
                used(7300, SEOUL_TOO, "b"),
                used(7400, TOKYO, "a"),
            ],
        ] {
            assert_eq!(fires_at(&mut build_(), events), NEVER);
        }
    }

    #[test]
    fn time_runs_from_the_last_use_at_the_place_before() {
        let events = [used(0, SEOUL, "a"), used(34_000, SEOUL, "a"), used(34_200, BERLIN, "b")];
        assert_eq!(fires_at(&mut build_(), events), [3]);
    }
}
