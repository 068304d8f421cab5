//! The second generator: people move from state to state by chance, hour by hour, instead of by a plan. It shares the map
//! and the accounting with the first generator, but none of its assumptions about days.
//!
//! A state is where a person is and through which network they reach the service; each hour it changes by a table of
//! probabilities. There are families behind one router, students behind one campus, people whose company sends all of their
//! traffic through a gateway in another country, night workers, tourists with a local SIM card, and phones whose address
//! changes several times an hour.

use std::net::IpAddr;

use super::play::{Act, DAY, Deed, HOUR, MINUTE};
use super::world::{self, CURL, Client, DESKTOPS, Dice, PHONES, REQUESTS, SEOUL};

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Asleep,
    AtHome,
    OnTheWay,
    AtWork,
    InACafe,
    OnAPlane(u8),
    Away,
}

pub(super) struct Walker {
    number: u32,
    home: u8,
    now_in: u8,
    dice: Dice,
    state: State,
    until: u64,
    pocket: Client,
    lap: Client,
    family: u64,
    workplace: u64,
    /// The company gateway in another place that carries their traffic: where it is, and whether it is a known one.
    gateway: Option<(u8, bool)>,
    works_at_night: bool,
    is_poller: bool,
    /// Tries things with curl.
    tinkers: bool,
    carrier: u8,
    street: IpAddr,
}

impl Walker {
    pub(super) fn new(number: u32, seed: u64) -> Self {
        let mut dice =
            Dice::new(seed.rotate_left(17) ^ u64::from(number).wrapping_mul(0x1000_0001));
        let home = if dice.percent(40) { SEOUL } else { u8::try_from(dice.below(14)).unwrap() };
        let pick = |all: &[u8], dice: &mut Dice| Client {
            family: all[usize::from(dice.byte()) % all.len()],
            version: dice.byte() % 4,
        };
        let carrier = dice.byte();
        Self {
            number,
            home,
            now_in: home,
            state: State::Asleep,
            until: 0,
            pocket: pick(&PHONES, &mut dice),
            lap: pick(&DESKTOPS, &mut dice),
            family: u64::from(number / 3) + 20_000,
            workplace: dice.below(25) + 300,
            gateway: dice.percent(7).then(|| (dice.abroad(home), dice.percent(60))),
            works_at_night: dice.percent(8),
            is_poller: dice.one_in(400),
            tinkers: dice.one_in(50),
            carrier,
            street: world::mobile_of(home, carrier, &mut dice),
            dice,
        }
    }

    pub(super) const fn home(&self) -> u8 {
        self.home
    }

    pub(super) const fn client(&self) -> Client {
        self.pocket
    }

    pub(super) const fn is_program(&self) -> bool {
        self.is_poller
    }

    pub(super) fn day(&mut self, day: u64, acts: &mut Vec<Act>) {
        for hour in 0..24 {
            let at = day * DAY + hour * HOUR;
            if self.is_poller {
                self.poll(at, acts);
                continue;
            }
            self.step(at, hour);
            self.hour(at, acts);
        }
    }

    /// Moves to the next state.
    fn step(&mut self, at: u64, hour: u64) {
        if at < self.until {
            return;
        }
        let hour = if self.works_at_night { (hour + 12) % 24 } else { hour };
        let chance = self.dice.below(1000);
        self.state = match (self.state, hour) {
            (State::OnAPlane(there), _) => {
                self.now_in = there;
                if there == self.home { State::AtHome } else { State::Away }
            }
            (State::Away, _) if chance < 15 => self.fly(at, self.home),
            (State::Away, _) => State::Away,
            (_, 0..=6) => State::Asleep,
            (State::AtHome, 7..=9) if chance < 500 => State::OnTheWay,
            (State::OnTheWay, 7..=11) => State::AtWork,
            (State::AtWork, 17..=20) if chance < 600 => State::OnTheWay,
            (State::OnTheWay, _) => State::AtHome,
            (State::AtHome, 10..=20) if chance < 60 => State::InACafe,
            (State::AtHome, 10..=20) if chance < 62 => {
                let there = self.dice.abroad(self.home);
                self.fly(at, there)
            }
            (State::InACafe, _) if chance < 500 => State::AtHome,
            (State::Asleep, _) => State::AtHome,
            (state, _) => state,
        };
        if matches!(self.state, State::OnTheWay | State::Away) {
            self.street = world::mobile_of(self.now_in, self.carrier, &mut self.dice);
        }
    }

    fn fly(&mut self, at: u64, there: u8) -> State {
        // The longest flights take half a day from door to door; a traveler on the way uses nothing.
        self.until = at + self.dice.between(13, 26) * HOUR;
        State::OnAPlane(there)
    }

    fn hour(&mut self, at: u64, acts: &mut Vec<Act>) {
        let uses = match self.state {
            State::Asleep | State::OnAPlane(_) => return,
            State::AtWork => self.dice.below(5),
            State::AtHome | State::InACafe => self.dice.below(3),
            State::OnTheWay | State::Away => self.dice.below(4),
        };
        for _ in 0..uses {
            let moment = at + self.dice.below(HOUR);
            let (device, from, client) = self.reach();
            let deed = match self.dice.below(40) {
                0..=4 => Deed::Refresh,
                5 => Deed::Race,
                6 => Deed::NotFound(u32::from(self.dice.byte())),
                _ => Deed::Use,
            };
            self.push(acts, moment, device, from, client, deed);
        }
        let (device, from, client) = self.reach();
        if self.dice.one_in(200) {
            // The password manager had the old password.
            let moment = at + self.dice.below(HOUR - 5 * MINUTE);
            for n in 0..self.dice.between(1, 9) {
                self.push(acts, moment + n * 9000, device, from, client, Deed::Misses);
            }
            let known = !self.dice.one_in(20);
            self.push(acts, moment + 3 * MINUTE, device, from, client, Deed::SignIn(known));
        }
        if self.dice.one_in(5000) {
            // A new machine, or a borrowed one.
            self.lap.family = DESKTOPS[usize::from(self.dice.byte() % 4)];
            self.push(acts, at + MINUTE, 1, from, self.lap, Deed::SignIn(false));
        }
        if self.tinkers && device == 1 && self.dice.one_in(100) {
            let script = Client { family: CURL, version: 0 };
            self.push(acts, at + 30 * MINUTE, device, from, script, Deed::Use);
        }
        if self.dice.one_in(9000) {
            self.push(acts, at + 31 * MINUTE, 0, from, self.pocket.as_desktop(), Deed::Use);
        }
        if self.dice.one_in(700) {
            self.pocket.version = (self.pocket.version + 1) % 60;
            self.lap.version = (self.lap.version + 1) % 60;
        }
    }

    /// Returns the device, the address and the client of the next request.
    fn reach(&mut self) -> (u8, IpAddr, Client) {
        let router = world::fixed(self.home, self.family);
        match self.state {
            State::AtWork => match self.gateway {
                Some((city, listed)) if self.dice.percent(80) => {
                    (1, world::vpn(city, listed, &mut self.dice), self.lap)
                }
                _ if self.dice.percent(60) => {
                    (1, world::fixed(self.home, self.workplace), self.lap)
                }
                _ => (0, world::fixed(self.home, self.workplace), self.pocket),
            },
            State::OnTheWay => {
                if self.dice.percent(40) {
                    self.street = world::mobile_of(self.now_in, self.carrier, &mut self.dice);
                }
                (0, self.street, self.pocket)
            }
            State::InACafe => {
                (0, world::fixed(self.home, self.dice.below(400) + 50_000), self.pocket)
            }
            State::Away => {
                // A local SIM card, the hotel, and now and then the carrier at home.
                match self.dice.below(10) {
                    0..=4 => (0, world::fixed(self.now_in, self.family + 7), self.pocket),
                    5..=8 => (0, self.street, self.pocket),
                    _ => {
                        (0, world::mobile_of(self.home, self.carrier, &mut self.dice), self.pocket)
                    }
                }
            }
            State::AtHome | State::Asleep | State::OnAPlane(_) => {
                if self.dice.percent(30) {
                    (1, router, self.lap)
                } else {
                    (0, router, self.pocket)
                }
            }
        }
    }

    fn poll(&mut self, at: u64, acts: &mut Vec<Act>) {
        let client = Client { family: REQUESTS, version: 0 };
        let from = world::fixed(self.home, u64::from(self.number) + 5000);
        if self.dice.one_in(24) {
            self.push(acts, at, 0, from, client, Deed::SignIn(false));
        }
        for minute in 0..60 {
            self.push(acts, at + minute * MINUTE + 1, 0, from, client, Deed::Refresh);
        }
    }

    fn push(
        &self,
        acts: &mut Vec<Act>,
        at: u64,
        device: u8,
        from: IpAddr,
        client: Client,
        deed: Deed,
    ) {
        acts.push(Act { at, person: self.number, device, from, client, deed, theft: None });
    }
}
