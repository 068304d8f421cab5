//! Detects that a user signed in from a country from which they never signed in before.
//!
//! The first sign-in of a user is no finding: every user is somewhere. The known countries outlive a restart
//! ([`history`](super::history)), so that a user is not notified of the same country again.

use super::history::{COUNTRY as SORT, HistoryKey};
use super::window::{MarkValue, RepeatRule, Windows};
use super::{Finding, Scene, Subject};
use crate::geo::Country;

const COUNTRIES: Windows<Country> = Windows::new("new_country", RepeatRule::AtThreshold);

impl MarkValue for Country {
    const BYTES: usize = 2;

    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.as_str().as_bytes());
    }

    fn read(from: &[u8]) -> Option<Self> {
        Self::new(std::str::from_utf8(from).ok()?)
    }
}

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let Scene { event, around, .. } = scene;
    let (session, user) = event.what.sign_in()?;
    let country = around.places.country(event.client?)?;
    let (any, this) = (HistoryKey::Any(SORT), HistoryKey::One(SORT, country.as_str()));
    let is_first = !around.history.has(user, any, event.at);
    let is_known = around.history.has(user, this, event.at);
    around.history.note(user, any, event.at);
    around.history.note(user, this, event.at);
    if is_first || is_known {
        return None;
    }
    let countries = COUNTRIES.distinct(scene, user, country).await?;
    let finding = scene.finding(Subject::Session(session.clone()), countries.len());
    Some(finding.of_user(user).in_countries(countries))
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{NEVER, at, detector, findings, fires_at, shown, signed_in};
    use super::*;

    const KOREA: &str = "1.0.0.1";
    const STATES: &str = "2.0.0.1";

    #[test]
    fn the_first_sign_in_in_another_country_is_a_finding_about_the_session() {
        let places = [KOREA, KOREA, STATES, STATES, KOREA, "9.9.9.9", "10.0.0.1"];
        let events = (0..).zip(places).map(|(secs, place)| signed_in(at(secs), "1", place, true));
        let found = findings(&shown(DetectorName::NewCountry, &detector(1)), events);
        let [(3, finding)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.evidence.countries, [Country::new("US").unwrap()]);
        assert!(finding.session.is_some() && finding.user.is_some());
    }

    #[test]
    fn users_are_told_apart_and_nobodys_first_country_is_new() {
        let events = [
            signed_in(at(0), "1", KOREA, true),
            signed_in(at(1), "2", STATES, true),
            signed_in(at(2), "3", KOREA, false),
        ];
        assert_eq!(fires_at(&shown(DetectorName::NewCountry, &detector(1)), events), NEVER);
    }
}
