//! Defines eight kinds of theft, each in the middle of its victim's own activity.

use super::play::{Act, DAY, Deed, HOUR, MINUTE, Theft};
use super::world::{self, CURL, Client, Dice, REQUESTS};

pub(super) const KINDS: [&str; 8] = [
    "token, by a script abroad",
    "token, by a copied client abroad",
    "token, by another client in the same city",
    "refresh token, both go on",
    "cookie, by the same client in the same city",
    "password, abroad",
    "password, in the same country",
    "refresh token, harvested in a loop",
];

/// The victim of a theft, and where they live.
#[derive(Clone, Copy)]
pub(super) struct Victim {
    pub(super) person: u32,
    pub(super) home: u8,
    pub(super) client: Client,
}

/// Returns an entry for each theft, without results.
pub(super) fn blank(count: u32) -> Vec<Theft> {
    let kind = |number: u32| usize::try_from(number).unwrap() % KINDS.len();
    (0..count).map(|number| Theft { kind: kind(number), ..Theft::default() }).collect()
}

/// Adds what the thief does on this day.
pub(super) fn acts(number: u32, victim: Victim, day: u64, dice: &mut Dice, acts: &mut Vec<Act>) {
    let kind = usize::try_from(number).unwrap() % KINDS.len();
    let abroad = dice.abroad(victim.home);
    let (near, far) = (
        world::fixed(victim.home, 900_000 + u64::from(number)),
        world::fixed(abroad, 900_000 + u64::from(number)),
    );
    let other = Client { family: if victim.client.family == 6 { 3 } else { 6 }, version: 9 };
    let script = Client { family: if dice.percent(50) { CURL } else { REQUESTS }, version: 0 };
    let (from, client) = match kind {
        0 => (far, script),
        1 => (far, victim.client),
        2 | 6 => (near, other),
        3 => (near, script),
        5 => (far, other),
        _ => (near, victim.client),
    };
    let begins = day * DAY + dice.between(10 * HOUR, 21 * HOUR);
    let mut act = |at, device, deed| {
        let person = victim.person;
        acts.push(Act { at, person, device, from, client, deed, theft: Some(number) });
    };
    match kind {
        3 => {
            act(begins, 0, Deed::Refresh);
            (1..12).for_each(|n| act(begins + n * 5 * MINUTE, 0, Deed::Refresh));
        }
        5 | 6 => {
            act(begins, 9, Deed::SignIn(false));
            (1..20).for_each(|n| act(begins + n * MINUTE, 9, Deed::Use));
        }
        7 => (0..40).for_each(|n| act(begins + n * 1500, 0, Deed::Refresh)),
        _ => (0..20).for_each(|n| act(begins + n * 2 * MINUTE, 0, Deed::Use)),
    }
}
