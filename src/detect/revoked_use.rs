//! Detects that one address keeps presenting tokens that do not verify: somebody forges tokens, or tries those of another
//! service.
//!
//! A token that has expired, or whose session has ended, does not count: an open page keeps presenting one for hours. Both are
//! refused like any other, and an attacker who uses them learns nothing.

use super::window::{RepeatRule, Windows};
use super::{Finding, Scene, Subject};
use crate::event::EventKind;
use crate::refusal::Refusal;
use crate::wire::client_ip::network_32_or_64;

const REFUSED: Windows<()> = Windows::new("revoked_use", RepeatRule::AfterWindow);

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let EventKind::Refused { refusal, .. } = &scene.event.what else { return None };
    if !is_forged(*refusal) {
        return None;
    }
    let address = network_32_or_64(scene.event.client?);
    let refused = REFUSED.count(scene, &address, ()).await?;
    Some(scene.finding(Subject::Address(address), refused.len()))
}

/// Whether the token was signed by no key of the gateway or an issuer, or is of another type.
const fn is_forged(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::TokenNotValid
            | Refusal::TokenWrongType
            | Refusal::JwtInvalid
            | Refusal::JwtUndecodable
    )
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{NEVER, at, detector, event, findings, fires_at, shown};
    use super::*;
    use crate::event::Event;

    fn refused(secs: u64, client: &str, refusal: Refusal) -> Event {
        event(at(secs), client, EventKind::Refused { refusal, user: None })
    }

    #[test]
    fn forged_tokens_from_one_address_are_a_finding_about_it() {
        let forged = [Refusal::TokenNotValid, Refusal::TokenWrongType, Refusal::JwtUndecodable];
        let events = forged.map(|refusal| refused(0, "2001:db8::7", refusal));
        let found = findings(&shown(DetectorName::RevokedUse, &detector(3)), events);
        let [(3, finding)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.subject, Subject::Address("2001:db8::/64".parse().unwrap()));
        assert_eq!((&finding.session, &finding.user, finding.evidence.count), (&None, &None, 3));
    }

    #[test]
    fn silent_for_old_tokens_for_strangers_below_the_threshold_and_over_several_addresses() {
        let forged = Refusal::TokenNotValid;
        for events in [
            vec![refused(0, "::1", forged), refused(1, "::1", forged)],
            vec![refused(0, "::1", forged), refused(30, "::1", forged), refused(60, "::1", forged)],
            (0..3).map(|n| refused(0, &format!("192.0.2.{n}"), forged)).collect(),
            [Refusal::TokenExpired, Refusal::SessionEnded, Refusal::TokenBlacklisted]
                .map(|refusal| refused(0, "::1", refusal))
                .to_vec(),
            [Refusal::NotAuthenticated, Refusal::NoRoute, Refusal::CrossSite]
                .map(|refusal| refused(0, "::1", refusal))
                .to_vec(),
        ] {
            assert_eq!(fires_at(&shown(DetectorName::RevokedUse, &detector(3)), events), NEVER);
        }
    }
}
