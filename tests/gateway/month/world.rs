//! Places the addresses of the simulated months, defines their clients, and rolls dice that are the same each time.

use std::net::{IpAddr, Ipv4Addr};

use doorwarden::geo::{Asn, Country, Location, Places};

/// Country, latitude, longitude, and the city where its mobile networks are placed.
const CITIES: [(&str, f64, f64, u8); 14] = [
    ("KR", 37.57, 126.98, 0),
    ("KR", 35.18, 129.08, 0),
    ("KR", 36.35, 127.38, 0),
    ("JP", 35.68, 139.69, 3),
    ("JP", 34.69, 135.50, 3),
    ("US", 40.71, -74.01, 5),
    ("US", 37.77, -122.42, 5),
    ("DE", 50.11, 8.68, 12),
    ("DE", 47.99, 7.85, 12),
    ("CH", 47.56, 7.59, 13),
    ("GB", 51.51, -0.13, 10),
    ("SG", 1.35, 103.82, 11),
    ("DE", 52.52, 13.40, 12),
    ("CH", 47.37, 8.54, 13),
];

pub(super) const SEOUL: u8 = 0;
pub(super) const FREIBURG: u8 = 8;
pub(super) const BASEL: u8 = 9;

/// The operator of a network, as the second number of an address.
const MOBILE: u8 = 100;
const VPN: u8 = 200;
const OTHER_VPN: u8 = 201;
const CLOUD: u8 = 202;

/// Numbers that are the same for the same seed (splitmix64).
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) const fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    pub(super) const fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }

    /// Returns true once in `n` times.
    pub(super) const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) const fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.roll().to_le_bytes()[3]
    }

    /// Returns a city in another country.
    pub(super) fn abroad(&mut self, home: u8) -> u8 {
        loop {
            let city = u8::try_from(self.below(14)).unwrap();
            if country(city) != country(home) {
                return city;
            }
        }
    }
}

pub(super) fn country(city: u8) -> &'static str {
    CITIES[usize::from(city)].0
}

fn address(city: u8, network: u8, c: u8, d: u8) -> IpAddr {
    Ipv4Addr::new(20 + city, network, c, d).into()
}

/// Returns a household's or an office's address.
pub(super) fn fixed(city: u8, number: u64) -> IpAddr {
    let [a, b, c, ..] = number.wrapping_mul(0x9E37_79B9).to_le_bytes();
    address(city, a % 8, b, c)
}

/// Returns an address of some carrier, which is placed in the capital.
pub(super) fn mobile(city: u8, dice: &mut Dice) -> IpAddr {
    let capital = CITIES[usize::from(city)].3;
    address(capital, MOBILE + dice.byte() % 3, dice.byte(), dice.byte())
}

/// Returns an address of this carrier.
pub(super) fn mobile_of(city: u8, carrier: u8, dice: &mut Dice) -> IpAddr {
    let capital = CITIES[usize::from(city)].3;
    address(capital, MOBILE + carrier % 3, dice.byte(), dice.byte())
}

/// Returns a VPN exit's address; `listed`: of a VPN that is known as one.
pub(super) fn vpn(city: u8, listed: bool, dice: &mut Dice) -> IpAddr {
    address(city, if listed { VPN } else { OTHER_VPN }, dice.byte() % 4, dice.byte())
}

pub(super) fn cloud(city: u8, dice: &mut Dice) -> IpAddr {
    address(city, CLOUD, dice.byte(), dice.byte())
}

/// Knows all places, as a database would.
pub(super) struct World;

impl World {
    fn parts(address: IpAddr) -> Option<(u8, u8)> {
        let IpAddr::V4(address) = address else { return None };
        let [a, network, ..] = address.octets();
        let city = a.checked_sub(20).filter(|city| usize::from(*city) < CITIES.len())?;
        Some((city, network))
    }
}

impl Places for World {
    fn country(&self, address: IpAddr) -> Option<Country> {
        Country::new(country(Self::parts(address)?.0))
    }

    fn location(&self, address: IpAddr) -> Option<Location> {
        let (city, network) = Self::parts(address)?;
        let (_, latitude, longitude, _) = CITIES[usize::from(city)];
        let is_mobile = (MOBILE..VPN).contains(&network);
        Some(Location { latitude, longitude, radius: if is_mobile { 200.0 } else { 20.0 } })
    }

    fn asn(&self, address: IpAddr) -> Option<Asn> {
        let (city, network) = Self::parts(address)?;
        Some(Asn(match network {
            // M247, which the gateway knows as a VPN.
            VPN => 9009,
            _ => 100_000 + u32::from(network) * 100 + u32::from(city),
        }))
    }
}

/// A browser or program of a family, and its version.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) family: u8,
    pub(super) version: u8,
}

pub(super) const PHONES: [u8; 3] = [0, 1, 2];
pub(super) const DESKTOPS: [u8; 4] = [3, 4, 5, 6];
pub(super) const CURL: u8 = 7;
pub(super) const REQUESTS: u8 = 8;
const CHROME_AS_DESKTOP: u8 = 9;
const SAMSUNG_AS_DESKTOP: u8 = 10;

impl Client {
    pub(super) fn agent(self) -> String {
        let v = 120 + self.version;
        match self.family {
            0 => format!(
                "Mozilla/5.0 (Linux; Android 15; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Mobile Safari/537.36"
            ),
            1 => format!(
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_{v} like Mac OS X) AppleWebKit/605.1.15 Version/18.{v} Mobile/15E148 Safari/604.1"
            ),
            2 => format!(
                "Mozilla/5.0 (Linux; Android 14; SM-S921N) SamsungBrowser/{v}.0 Chrome/125.0.0.0 Mobile Safari/537.36"
            ),
            3 => format!(
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36"
            ),
            4 => format!(
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/{v}.0.0.0 Safari/537.36 Edg/{v}.0.0.0"
            ),
            5 => format!(
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.{v} Safari/605.1.15"
            ),
            6 => format!("Mozilla/5.0 (X11; Linux x86_64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0"),
            7 => "curl/8.5.0".into(),
            CHROME_AS_DESKTOP => format!(
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36"
            ),
            SAMSUNG_AS_DESKTOP => format!(
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/{v}.0 Chrome/125.0.0.0 Safari/537.36"
            ),
            _ => "python-requests/2.32.3".into(),
        }
    }

    /// Returns the same phone browser when it requests desktop pages.
    pub(super) const fn as_desktop(self) -> Self {
        let family = match self.family {
            0 => CHROME_AS_DESKTOP,
            1 => 5,
            _ => SAMSUNG_AS_DESKTOP,
        };
        Self { family, version: self.version }
    }
}
