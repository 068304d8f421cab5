//! Detects that one session was used in two places so far apart that nobody travels that fast.
//!
//! Databases place an address only roughly, so both radii are subtracted from the distance, and places within [`NEAR`] are one
//! region. Three things look like a theft but are none, and each has a rule here:
//!
//! - **Hidden locations**: networks of well-known VPNs are exempt by default (`exempt = ["vpn"]`), and uses from an exempt
//!   network are ignored.
//! - **Roaming**: a phone abroad appears at home by its carrier and abroad by the Wi-Fi of its hotel, in turn. So a place in
//!   which the session has been before is no new place: only the first use there is judged.
//! - **The same client** on both sides, by an equal `User-Agent`, is a doubtful finding: it is reported only, and once for a
//!   user and a country ([`certainty`](super::certainty)). A thief can copy the `User-Agent`; then the person learns of it at
//!   once, and nobody has to sign in again without reason.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::certainty::Certainty;
use super::client_version::ClientVersion;
use super::window::{MarkValue, RepeatRule, Windows, time, told};
use super::{Finding, Scene, Subject};
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::event::EventKind;
use crate::geo::{Country, Location};
use crate::store::counters::{CounterEntry, CounterKey, CounterScope, changed_one};

/// The last places of sessions: some 25 000 sessions that have been in several places.
const TRAILS: CounterScope = CounterScope { name: "impossible_travel places", most_bytes: 8 << 20 };

/// How long the places of a session are remembered.
const TRAIL_LASTS: Duration = Duration::from_secs(90 * 86_400);

const JUMPS: Windows<()> = Windows::new("impossible_travel", RepeatRule::AfterWindow);

/// The most places that are remembered for one session.
const PLACES: usize = 6;

/// The distance in kilometers within which two places are one region.
const NEAR: f64 = 100.0;

/// The distance in kilometers below which the speed is not checked, because databases err by as much.
const NEVER_FAR: f64 = 500.0;

/// Where a session has been.
#[derive(Clone, PartialEq, Debug)]
struct TravelTrail {
    client: IpAddr,
    at: Timestamp,
    agent: Option<ClientVersion>,
    here: Location,
    country: Option<Country>,
    /// The last few other places, oldest first.
    been: Vec<Location>,
}

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let Scene { event, around, settings, .. } = scene;
    let (EventKind::SessionUsed { session, user, .. }
    | EventKind::Refreshed { session, user, .. }
    | EventKind::SignedIn { session, user, .. }) = &event.what
    else {
        return None;
    };
    let client = event.client?.to_canonical();
    let agent = event.agent.as_deref().map(ClientVersion::of);
    let before = TravelTrail::change(scene, session, |trail| {
        let before = trail.clone();
        if let Some(trail) = trail.as_mut().filter(|trail| trail.client == client) {
            trail.at = trail.at.max(event.at);
            trail.agent = agent;
        }
        before
    });
    let before = before.await?;
    if before.as_ref().is_some_and(|trail| trail.client == client) {
        return None;
    }
    let here = around.places.location(client)?;
    let country = around.places.country(client);
    let been = before.as_ref().map(TravelTrail::with_here).unwrap_or_default();
    let now = TravelTrail { client, at: event.at, agent, here, country, been };
    TravelTrail::change(scene, session, |trail| *trail = Some(now.clone())).await;
    let before = before?;
    if !now.is_new_here() || !before.is_too_far_from(here, event.at, settings.speed) {
        return None;
    }
    let jumps = JUMPS.count(scene, session, ()).await?;
    let countries: Vec<Country> = [before.country, country].into_iter().flatten().collect();
    let likeness = ClientVersion::likeness(before.agent.as_ref(), agent.as_ref());
    let certainty = Certainty::of(around.history, user, &countries, likeness, event.at);
    let finding = scene.finding(Subject::Session(session.clone()), jumps.len());
    if certainty != Certainty::Certain {
        // A doubtful finding must not hide a certain one that follows it.
        JUMPS.put_back(scene, session, jumps).await;
    }
    certainty.judge(finding.of_user(user).in_countries(countries))
}

impl TravelTrail {
    /// Changes the trail of a session, and returns the result of the change.
    async fn change<R: Send>(
        scene: Scene<'_>,
        session: &SessionId,
        mut change: impl FnMut(&mut Option<Self>) -> R + Send,
    ) -> Option<R> {
        let at = scene.event.at;
        let key = CounterKey::of(session.as_str());
        let change = |entry: &mut CounterEntry| {
            let before = Self::read(&entry.value);
            let mut after = before.clone();
            let made = change(&mut after);
            if before != after {
                let value = after.map(|trail| trail.written()).unwrap_or_default();
                *entry = CounterEntry { value, until: at.plus(TRAIL_LASTS) };
            }
            made
        };
        told(changed_one(scene.around.counters, TRAILS, key, at, change).await)
    }

    fn written(&self) -> Vec<u8> {
        let mut to = Vec::new();
        let client = match self.client {
            IpAddr::V4(client) => client.to_ipv6_mapped(),
            IpAddr::V6(client) => client,
        };
        to.extend_from_slice(&client.octets());
        to.extend_from_slice(&self.at.as_millis().to_be_bytes());
        self.agent.write(&mut to);
        self.country.write(&mut to);
        for place in self.been.iter().chain([&self.here]) {
            for number in [place.latitude, place.longitude, place.radius] {
                to.extend_from_slice(&number.to_be_bytes());
            }
        }
        to
    }

    fn read(from: &[u8]) -> Option<Self> {
        let (client, rest) = from.split_first_chunk::<16>()?;
        let (at, rest) = time(rest)?;
        let (agent, rest) = rest.split_at_checked(Option::<ClientVersion>::BYTES)?;
        let (country, rest) = rest.split_at_checked(Option::<Country>::BYTES)?;
        let mut been: Vec<Location> = rest.chunks_exact(24).filter_map(location).collect();
        Some(Self {
            client: IpAddr::from(Ipv6Addr::from(*client)).to_canonical(),
            at,
            agent: MarkValue::read(agent)?,
            country: MarkValue::read(country)?,
            here: been.pop()?,
            been,
        })
    }

    fn is_too_far_from(&self, here: Location, at: Timestamp, speed: u32) -> bool {
        let kilometers = self.here.apart(&here);
        // Events may arrive out of order.
        let apart = at.since(self.at).max(self.at.since(at));
        let hours = apart.max(Duration::from_secs(1)).as_secs_f64() / 3600.0;
        kilometers > NEVER_FAR && kilometers / hours > f64::from(speed)
    }

    /// Returns all places, the present one last.
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

fn location(from: &[u8]) -> Option<Location> {
    let (latitude, rest) = number(from)?;
    let (longitude, rest) = number(rest)?;
    Some(Location { latitude, longitude, radius: number(rest)?.0 })
}

fn number(from: &[u8]) -> Option<(f64, &[u8])> {
    let (number, rest) = from.split_first_chunk::<8>()?;
    Some((f64::from_be_bytes(*number), rest))
}

fn is_near(one: &Location, other: &Location) -> bool {
    one.apart(other) < NEAR
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{
        NEVER, ShownDetector, at, detector, event, findings, fires_at, session, shown,
    };
    use super::*;
    use crate::caller::Proof;
    use crate::event::Event;

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

    fn build_() -> ShownDetector {
        let settings = crate::config::DetectorSettings { speed: 900, ..detector(1) };
        shown(DetectorName::ImpossibleTravel, &settings)
    }

    #[test]
    fn two_places_faster_apart_than_anybody_travels_are_a_finding() {
        let events = [used(0, SEOUL, "a"), used(3600, BERLIN, "b")];
        let found = findings(&build_(), events);
        let [(2, finding)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.session, Some(SessionId::new("a")));
        let countries: Vec<_> = finding.evidence.countries.iter().map(Country::as_str).collect();
        assert_eq!(countries, ["KR", "DE"]);
        assert!(!finding.is_doubtful && finding.user.is_some());
    }

    #[test]
    fn the_same_client_on_both_sides_is_a_doubt() {
        let events = [used(0, SEOUL, "a"), used(60, BERLIN, "a")];
        let found = findings(&build_(), events);
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
        let found = findings(&build_(), events);
        let doubts: Vec<_> = found.iter().map(|(n, one)| (*n, one.is_doubtful)).collect();
        assert_eq!(doubts, [(2, true), (3, true), (4, false)]);
        let again = [used(0, SEOUL, "a"), used(60, BERLIN, "a")].map(|event| {
            let (session, user) = session("b");
            let what = EventKind::SessionUsed { session, user, proof: Proof::AccessToken };
            Event { what, at: event.at.plus(Duration::from_secs(200)), ..event }
        });
        let all = [used(0, SEOUL, "a"), used(60, BERLIN, "a")].into_iter().chain(again);
        assert_eq!(fires_at(&build_(), all), [2], "another session of the same person");
    }

    #[test]
    fn silent_for_flights_for_neighbors_for_places_where_it_has_been_and_for_nowhere() {
        for events in [
            // 8130 km in 9.5 hours.
            vec![used(0, SEOUL, "a"), used(34_200, BERLIN, "b")],
            vec![used(0, SEOUL, "a"), used(1, SEOUL_TOO, "b")],
            // The database locates the address to within 1000 km.
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
            assert_eq!(fires_at(&build_(), events), NEVER);
        }
    }

    #[test]
    fn time_runs_from_the_last_use_at_the_place_before() {
        let events = [used(0, SEOUL, "a"), used(34_000, SEOUL, "a"), used(34_200, BERLIN, "b")];
        assert_eq!(fires_at(&build_(), events), [3]);
    }
}
