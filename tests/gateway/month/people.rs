//! Defines the first generator: ten thousand people by their roles, planned day by day.
//!
//! - Everybody: a phone from home, on the way (two or three addresses of a carrier a day, placed in the capital) and
//!   elsewhere; sign-ins every two weeks, 2 % of them in private windows; one to five wrong passwords every 40 days; an
//!   update of the browser in the month; a new phone every two years; a broken link now and then.
//! - Office workers (60 %): a desktop too, behind one address for 150 people, with tabs that refresh at the same time; on
//!   day 14 a tenth of them mistype after a change of passwords.
//! - Travelers (4 %): one trip of 3 to 7 days to another country; half of them roam (the home carrier and the local Wi-Fi,
//!   in turn).
//! - VPN users (8 %): an exit in another place, on and off, on two days of three; a third of them through a VPN that no
//!   list has.
//! - Commuters across a border (3 %): live in Freiburg, work in Basel.
//! - Developers (1 %): hand a token to curl once a week; one in 20 times on a machine in a cloud.
//! - Readers of desktop pages (3 %): request them on a phone, once or twice in the month.
//! - Programs (0.25 %): refresh each minute, sign in each day without a cookie.

use super::play::{Act, DAY, Deed, HOUR, MINUTE};
use super::world::{self, CURL, Client, DESKTOPS, Dice, PHONES, REQUESTS};

pub(super) struct Person {
    number: u32,
    home: u8,
    dice: Dice,
    phone: Client,
    desktop: Client,
    carrier: u8,
    office: Option<u64>,
    is_program: bool,
    is_developer: bool,
    crosses_border: bool,
    vpn: Option<(u8, bool)>,
    /// First day, last day, destination, and whether the phone roams.
    trip: Option<(u64, u64, u8, bool)>,
    desktop_pages_on: Option<u64>,
}

impl Person {
    pub(super) fn new(number: u32, seed: u64, days: u64) -> Self {
        let mut dice = Dice::new(seed ^ (u64::from(number) << 20));
        let crosses_border = dice.percent(3);
        let cities = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12];
        let home = if crosses_border {
            world::FREIBURG
        } else {
            cities[usize::try_from(dice.below(14)).unwrap()]
        };
        let client = |families: &[u8], dice: &mut Dice| Client {
            family: families[usize::try_from(dice.roll() % families.len() as u64).unwrap()],
            version: u8::try_from(dice.below(3)).unwrap(),
        };
        let trip = dice.percent(4).then(|| {
            let first = dice.between(1, days.max(9) - 7);
            (first, first + dice.between(3, 8), dice.abroad(home), dice.percent(50))
        });
        let vpn = dice.percent(8).then(|| (dice.abroad(home), dice.percent(67)));
        Self {
            number,
            home,
            phone: client(&PHONES, &mut dice),
            desktop: client(&DESKTOPS, &mut dice),
            carrier: dice.byte(),
            office: (dice.percent(60) || crosses_border).then(|| dice.below(3)),
            is_program: dice.one_in(400),
            is_developer: dice.one_in(100),
            crosses_border,
            vpn,
            trip,
            desktop_pages_on: dice.percent(3).then(|| dice.below(days)),
            dice,
        }
    }

    pub(super) const fn home(&self) -> u8 {
        self.home
    }

    pub(super) const fn client(&self) -> Client {
        self.phone
    }

    pub(super) const fn is_program(&self) -> bool {
        self.is_program
    }

    pub(super) fn day(&mut self, day: u64, acts: &mut Vec<Act>) {
        if self.is_program {
            return self.program(day, acts);
        }
        // The browser is updated once in the month.
        if day % 28 == u64::from(self.number % 28) {
            self.phone.version += 1;
            self.desktop.version += 1;
        }
        if self.dice.one_in(700) {
            // A new phone: the old one's session has ended.
            self.phone = Client { family: PHONES[usize::from(self.dice.byte() % 3)], version: 1 };
            let at = day * DAY + 6 * HOUR;
            self.act(acts, at, 0, self.at_home(), self.phone, Deed::SignIn(false));
        }
        let is_weekday = day % 7 < 5;
        match self.trip {
            Some((first, last, there, roams)) if (first..=last).contains(&day) => {
                return self.abroad(day, (first, last, there, roams), acts);
            }
            _ => {}
        }
        let day_begins = day * DAY;
        let street: Vec<_> = (0..self.dice.between(2, 4))
            .map(|_| world::mobile_of(self.home, self.carrier, &mut self.dice))
            .collect();
        for _ in 0..self.dice.between(6, 16) {
            let at = day_begins + self.dice.between(7 * HOUR, 23 * HOUR);
            let hour = (at - day_begins) / HOUR;
            let from = match (hour, is_weekday, self.office) {
                (9..=17, true, Some(office)) if self.dice.percent(70) => self.at_office(office),
                (8 | 18, _, _) | (9..=17, true, None) => {
                    street[usize::try_from(self.dice.roll() % street.len() as u64).unwrap()]
                }
                _ => self.at_home(),
            };
            let deed = if self.dice.one_in(6) { Deed::Refresh } else { Deed::Use };
            self.act(acts, at, 0, from, self.phone, deed);
        }
        if let (true, Some(office)) = (is_weekday, self.office) {
            self.at_desk(day_begins, office, acts);
        }
        if self.crosses_border && is_weekday {
            // At the border the phone uses one network or the other.
            for n in 0..6 {
                let city = if n % 2 == 0 { world::FREIBURG } else { world::BASEL };
                let from = world::mobile_of(city, self.carrier, &mut self.dice);
                let at = day_begins + 8 * HOUR + n * 4 * MINUTE;
                self.act(acts, at, 0, from, self.phone, Deed::Use);
            }
        }
        self.habits(day_begins, acts);
        self.rare(day, acts);
    }

    fn at_home(&self) -> std::net::IpAddr {
        world::fixed(self.home, u64::from(self.number) + 1000)
    }

    fn at_office(&self, office: u64) -> std::net::IpAddr {
        let city = if self.crosses_border { world::BASEL } else { self.home };
        world::fixed(city, office)
    }

    fn act(
        &self,
        acts: &mut Vec<Act>,
        at: u64,
        device: u8,
        from: std::net::IpAddr,
        client: Client,
        deed: Deed,
    ) {
        acts.push(Act { at, person: self.number, device, from, client, deed, theft: None });
    }

    fn at_desk(&mut self, day_begins: u64, office: u64, acts: &mut Vec<Act>) {
        let from = self.at_office(office);
        for _ in 0..self.dice.between(5, 12) {
            let at = day_begins + self.dice.between(9 * HOUR, 18 * HOUR);
            let tabs = if self.dice.one_in(4) { self.dice.between(1, 8) } else { 0 };
            let deed = if tabs > 0 { Deed::Refresh } else { Deed::Use };
            self.act(acts, at, 1, from, self.desktop, deed);
            for tab in 1..tabs {
                self.act(acts, at + tab * 300, 1, from, self.desktop, Deed::Race);
            }
        }
        if day_begins / DAY == 14 && self.dice.one_in(10) {
            let at = day_begins + self.dice.between(9 * HOUR, 10 * HOUR);
            for n in 0..self.dice.between(1, 4) {
                self.act(acts, at + n * 20_000, 1, from, self.desktop, Deed::Misses);
            }
            self.act(acts, at + 90_000, 1, from, self.desktop, Deed::SignIn(true));
        }
    }

    fn habits(&mut self, day_begins: u64, acts: &mut Vec<Act>) {
        let at = day_begins + self.dice.between(19 * HOUR, 22 * HOUR);
        if self.dice.one_in(14) {
            let known = !self.dice.one_in(50);
            self.act(acts, at, 0, self.at_home(), self.phone, Deed::SignIn(known));
        }
        if self.dice.one_in(40) {
            let misses = self.dice.between(1, 6);
            for n in 0..misses {
                self.act(acts, at + n * 15_000, 0, self.at_home(), self.phone, Deed::Misses);
            }
            self.act(acts, at + 120_000, 0, self.at_home(), self.phone, Deed::SignIn(true));
        }
        if self.dice.one_in(5) {
            let path = u32::try_from(self.dice.below(30)).unwrap();
            self.act(acts, at, 0, self.at_home(), self.phone, Deed::NotFound(path));
        }
        if let Some((city, listed)) = self.vpn.filter(|_| self.dice.percent(67)) {
            for n in 0..self.dice.between(2, 7) {
                let from = world::vpn(city, listed, &mut self.dice);
                let at = day_begins + 20 * HOUR + n * 7 * MINUTE;
                self.act(acts, at, 0, from, self.phone, Deed::Use);
            }
        }
    }

    fn rare(&mut self, day: u64, acts: &mut Vec<Act>) {
        let day_begins = day * DAY;
        let at = day_begins + self.dice.between(10 * HOUR, 20 * HOUR);
        if self.is_developer && day % 7 == 3 {
            let client = Client { family: CURL, version: 0 };
            let is_elsewhere = self.dice.one_in(20);
            let from = match is_elsewhere {
                true => world::cloud(self.home, &mut self.dice),
                false => self.office.map_or(self.at_home(), |office| self.at_office(office)),
            };
            self.act(acts, at, 1, from, client, Deed::Use);
            self.act(acts, at + MINUTE, 1, from, client, Deed::Use);
        }
        if self.desktop_pages_on == Some(day) {
            let street = self.dice.percent(30);
            let from = match street {
                true => world::mobile_of(self.home, self.carrier, &mut self.dice),
                false => self.at_home(),
            };
            self.act(acts, at, 0, from, self.phone, Deed::Use);
            self.act(acts, at + MINUTE, 0, from, self.phone.as_desktop(), Deed::Use);
        }
    }

    /// Adds the acts of a day abroad; the person returns on the last day.
    fn abroad(&mut self, day: u64, trip: (u64, u64, u8, bool), acts: &mut Vec<Act>) {
        let (first, last, there, roams) = trip;
        let (begins, hotel) = (day * DAY, world::fixed(there, u64::from(self.number) + 77));
        let mut from_hour = 8;
        if day == first {
            // A flight takes a few hours; one of more than 5000 km lands the next morning.
            self.act(acts, begins + 7 * HOUR, 0, self.at_home(), self.phone, Deed::Use);
            from_hour = 21;
        }
        if day == last {
            self.act(acts, begins + 6 * HOUR, 0, hotel, self.phone, Deed::Use);
            self.act(acts, begins + 21 * HOUR, 0, self.at_home(), self.phone, Deed::Use);
            return;
        }
        for n in 0..self.dice.between(3, 9) {
            let at = begins + from_hour * HOUR + n * self.dice.between(5 * MINUTE, 20 * MINUTE);
            let from = match (n % 2, roams) {
                (0, true) => world::mobile_of(self.home, self.carrier, &mut self.dice),
                (0, false) => world::mobile(there, &mut self.dice),
                _ => hotel,
            };
            self.act(acts, at, 0, from, self.phone, Deed::Use);
        }
        if self.dice.one_in(8) {
            self.act(acts, begins + 23 * HOUR, 0, hotel, self.phone, Deed::SignIn(true));
        }
    }

    fn program(&mut self, day: u64, acts: &mut Vec<Act>) {
        let client = Client { family: REQUESTS, version: 0 };
        let from = world::fixed(self.home, u64::from(self.number) + 5000);
        self.act(acts, day * DAY, 0, from, client, Deed::SignIn(false));
        for minute in 1..1440 {
            self.act(acts, day * DAY + minute * MINUTE, 0, from, client, Deed::Refresh);
        }
    }
}
