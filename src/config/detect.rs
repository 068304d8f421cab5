//! Reads `[detect]`, with one table for each detector.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::Geo;
use super::raw::{RawTable, Wrong};
use super::units::{DAY, hours, mins, secs};
use super::vpn::is_vpn;

/// `[detect]`: one table for each detector.
#[derive(Clone, Debug, PartialEq)]
pub struct Detect {
    /// `[detect.refresh_reuse]`
    pub refresh_reuse: DetectorSettings,
    /// `[detect.refresh_burst]`
    pub refresh_burst: DetectorSettings,
    /// `[detect.password_guessing]`
    pub password_guessing: DetectorSettings,
    /// `[detect.password_spraying]`
    pub password_spraying: DetectorSettings,
    /// `[detect.token_countries]`
    pub token_countries: DetectorSettings,
    /// `[detect.revoked_use]`
    pub revoked_use: DetectorSettings,
    /// `[detect.scanning]`
    pub scanning: DetectorSettings,
    /// `[detect.distributed_guessing]`
    pub distributed_guessing: DetectorSettings,
    /// `[detect.outside_binding]`
    pub outside_binding: DetectorSettings,
    /// `[detect.client_change]`
    pub client_change: DetectorSettings,
    /// `[detect.impossible_travel]`
    pub impossible_travel: DetectorSettings,
    /// `[detect.new_country]`
    pub new_country: DetectorSettings,
    /// `[detect.new_device]`
    pub new_device: DetectorSettings,
    /// `[detect.session_count]`
    pub session_count: DetectorSettings,
    /// Events that may wait for the detectors; more are dropped and counted.
    pub queue: usize,
    /// The findings per hour, approximately, up to which a detector acts; beyond them it only reports.
    pub actions_per_hour: u32,
}

/// The settings of one detector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectorSettings {
    /// How many events within the window make a finding.
    pub threshold: u32,
    /// The window.
    pub window: Duration,
    /// The actions after a finding, in this order.
    pub actions: Vec<Action>,
    /// How long an address is blocked, or a session or address is slowed down.
    pub duration: Duration,
    /// How long no action is repeated for the same subject.
    pub cooldown: Duration,
    /// The exemptions from this detector.
    pub exempt: Vec<Exempt>,
    /// Whether findings are only reported, without any action.
    pub dry_run: bool,
    /// Kilometers per hour that nobody travels: only `impossible_travel` has it.
    pub speed: u32,
}

/// One of `detect.NAME.action`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Audit line and metric only, which every finding gets.
    Observe,
    /// Notify those who should know.
    Notify,
    /// Slow down the refreshes of the session, or the sign-ins from the address.
    Limit,
    /// Make the user sign in again before the session can be used.
    StepUp,
    /// End the session of the finding, if it has one.
    EndSession,
    /// End all sessions of the user of the finding, if one is known.
    EndUserSessions,
    /// Block the address for a time.
    BlockAddress,
}

/// An exemption from a detector: one of `detect.NAME.exempt`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exempt {
    /// Clients in this network.
    Network(IpNet),
    /// This user: `DIRECTORY/ID`.
    User(String),
    /// Users in this group.
    Group(String),
    /// Clients whose `User-Agent` contains this.
    Agent(String),
    /// Clients in the network with this AS number (`geo.asn_database`).
    Asn(u32),
    /// Clients in a network of a well-known VPN (`geo.asn_database`).
    Vpn,
}

impl Default for Detect {
    fn default() -> Self {
        let does = |actions: &[Action], threshold, window| DetectorSettings {
            threshold,
            window,
            actions: actions.to_vec(),
            duration: mins(10),
            cooldown: mins(1),
            exempt: Vec::new(),
            dry_run: false,
            speed: 0,
        };
        let but_vpns = |detector| DetectorSettings { exempt: vec![Exempt::Vpn], ..detector };
        use Action::{BlockAddress, EndSession, Limit, Notify, StepUp};
        Self {
            // The refresh endpoint has ended the session already; naming the action here does no harm.
            refresh_reuse: does(&[EndSession, Notify], 1, mins(1)),
            refresh_burst: does(&[Limit, Notify], 10, mins(1)),
            password_guessing: does(&[Notify], 10, mins(10)),
            password_spraying: does(&[BlockAddress, Notify], 10, mins(10)),
            token_countries: but_vpns(does(&[EndSession, Notify], 2, hours(1))),
            revoked_use: does(&[Notify, BlockAddress], 100, mins(10)),
            scanning: does(&[BlockAddress], 100, mins(5)),
            distributed_guessing: does(&[Notify], 10, hours(1)),
            outside_binding: does(&[Notify], 1, hours(1)),
            client_change: does(&[StepUp, Notify], 2, hours(1)),
            impossible_travel: DetectorSettings {
                speed: 900,
                ..but_vpns(does(&[StepUp, Notify], 1, hours(24)))
            },
            new_country: but_vpns(does(&[Notify], 1, hours(24))),
            new_device: does(&[Notify], 1, hours(24)),
            // Each finding is about a different session: the oldest.
            session_count: DetectorSettings {
                cooldown: Duration::ZERO,
                ..does(&[EndSession, Notify], 100, hours(24))
            },
            queue: 4096,
            actions_per_hour: 1000,
        }
    }
}

const ACTIONS: [(&str, Action); 7] = [
    ("observe", Action::Observe),
    ("notify", Action::Notify),
    ("limit", Action::Limit),
    ("step_up", Action::StepUp),
    ("end_session", Action::EndSession),
    ("end_user_sessions", Action::EndUserSessions),
    ("block_address", Action::BlockAddress),
];

pub(super) fn detect(table: &RawTable<'_>, geo: &Geo) -> Detect {
    let default = Detect::default();
    let about_addresses = |key, default: DetectorSettings, why: &str| {
        table.table(key, |table| {
            let detector = detector(table, 1, default);
            if detector.actions.iter().any(|action| action.is_about_a_session()) {
                table.warn("action", Wrong::new(why));
            }
            detector
        })
    };
    let sign_ins = "a failed sign-in has no session to end, so this only observes";
    let nobody = "no user with a session to end is known here, so this only observes";
    Detect {
        refresh_reuse: table
            .table("refresh_reuse", |table| detector(table, 1, default.refresh_reuse)),
        refresh_burst: table
            .table("refresh_burst", |table| detector(table, 1, default.refresh_burst)),
        password_guessing: about_addresses(
            "password_guessing",
            default.password_guessing,
            sign_ins,
        ),
        password_spraying: about_addresses(
            "password_spraying",
            default.password_spraying,
            sign_ins,
        ),
        token_countries: table.table("token_countries", |table| {
            // A session is always used from at least one country, so the threshold is at least 2.
            let default = default.token_countries;
            let usual = default.actions.clone();
            let detector = detector(table, 2, default);
            let tells = |action: &Action| matches!(action, Action::Observe | Action::Notify);
            if detector.actions != usual
                && !detector.actions.iter().all(tells)
                && !geo.knows_countries()
            {
                table.warn(
                    "action",
                    Wrong::new("without geo.country_database no address has a country"),
                );
            }
            detector
        }),
        revoked_use: about_addresses("revoked_use", default.revoked_use, nobody),
        scanning: about_addresses("scanning", default.scanning, nobody),
        distributed_guessing: about_addresses(
            "distributed_guessing",
            default.distributed_guessing,
            sign_ins,
        ),
        outside_binding: table
            .table("outside_binding", |table| detector(table, 1, default.outside_binding)),
        // A session is always used by at least one kind of client.
        client_change: table
            .table("client_change", |table| detector(table, 2, default.client_change)),
        impossible_travel: table.table("impossible_travel", |table| {
            let default = default.impossible_travel;
            let speed = table.number("kilometers_per_hour", 100..=100_000).unwrap_or(default.speed);
            let usual = default.actions.clone();
            let detector = DetectorSettings { speed, ..detector(table, 1, default) };
            if detector.actions != usual && geo.city_database.is_none() {
                let why = "without geo.city_database no address has a place on the map";
                table.warn("action", Wrong::new(why));
            }
            detector
        }),
        new_country: table.table("new_country", |table| detector(table, 1, default.new_country)),
        new_device: table.table("new_device", |table| detector(table, 1, default.new_device)),
        session_count: table
            .table("session_count", |table| detector(table, 1, default.session_count)),
        queue: table.number("queue", 1..=1_000_000).unwrap_or(default.queue),
        actions_per_hour: table
            .number("actions_per_hour", 1..=1_000_000)
            .unwrap_or(default.actions_per_hour),
    }
}

fn detector(table: &RawTable<'_>, lowest: u32, default: DetectorSettings) -> DetectorSettings {
    DetectorSettings {
        threshold: table.number("threshold", lowest..=1_000_000).unwrap_or(default.threshold),
        window: table.duration("window", secs(1)..=30 * DAY).unwrap_or(default.window),
        actions: match table.one_or_more("action", action) {
            actions if actions.is_empty() => default.actions,
            actions => actions,
        },
        // An address may be shared, so it is blocked for minutes, or for a day at the very most.
        duration: table.duration("duration", secs(1)..=DAY).unwrap_or(default.duration),
        cooldown: table.duration("cooldown", Duration::ZERO..=DAY).unwrap_or(default.cooldown),
        exempt: table.values("exempt", exempt).unwrap_or(default.exempt),
        dry_run: table.flag("dry_run").unwrap_or(default.dry_run),
        speed: default.speed,
    }
}

fn action(text: &str) -> Result<Action, Wrong> {
    let found = ACTIONS.iter().find(|(word, _)| *word == text).map(|(_, action)| *action);
    found.ok_or_else(|| {
        let allowed: Vec<&str> = ACTIONS.iter().map(|(word, _)| *word).collect();
        Wrong::choice(text, &allowed)
    })
}

fn exempt(text: &str) -> Result<Exempt, Wrong> {
    let network = || {
        let of_one = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().or_else(|_| of_one()).map(Exempt::Network)
    };
    let nobody = || {
        Wrong::new(format!("{text:?} cannot be exempted")).help(
            "allowed: a network, \"user:DIRECTORY/ID\", \"group:NAME\", \"agent:PART OF A USER-AGENT\", \"asn:NUMBER\", \"vpn\"",
        )
    };
    match text.split_once(':') {
        Some(("user", user)) if user.contains('/') => Ok(Exempt::User(user.into())),
        Some(("group", group)) if !group.is_empty() => Ok(Exempt::Group(group.into())),
        Some(("agent", agent)) if !agent.is_empty() => Ok(Exempt::Agent(agent.into())),
        Some(("asn", number)) => number.parse().map(Exempt::Asn).map_err(|_| nobody()),
        None if text == "vpn" => Ok(Exempt::Vpn),
        _ => network().map_err(|_| nobody()),
    }
}

impl Action {
    /// Whether the action requires a session or its user.
    pub const fn is_about_a_session(self) -> bool {
        match self {
            Self::StepUp | Self::EndSession | Self::EndUserSessions => true,
            Self::Observe | Self::Notify | Self::Limit | Self::BlockAddress => false,
        }
    }
}

impl DetectorSettings {
    /// Whether the detector exempts clients with this address, this agent or this AS number.
    pub fn exempts_client(
        &self,
        client: Option<IpAddr>,
        agent: Option<&str>,
        asn: impl Fn() -> Option<u32>,
    ) -> bool {
        self.exempt.iter().any(|exempt| match exempt {
            Exempt::Network(network) => {
                client.is_some_and(|client| network.contains(&client.to_canonical()))
            }
            Exempt::Agent(part) => agent.is_some_and(|agent| agent.contains(part.as_str())),
            Exempt::Asn(number) => asn() == Some(*number),
            Exempt::Vpn => asn().is_some_and(is_vpn),
            Exempt::User(_) | Exempt::Group(_) => false,
        })
    }

    /// Whether the detector exempts this user (`DIRECTORY/ID`).
    pub fn exempts_user(&self, user: &str) -> bool {
        self.exempt.iter().any(|exempt| matches!(exempt, Exempt::User(other) if other == user))
    }

    /// Whether the detector exempts users in certain groups.
    pub fn exempts_groups(&self) -> bool {
        self.exempt.iter().any(|exempt| matches!(exempt, Exempt::Group(_)))
    }

    /// Whether the detector exempts users in this group.
    pub fn exempts_group(&self, group: &str) -> bool {
        self.exempt.iter().any(|exempt| matches!(exempt, Exempt::Group(other) if other == group))
    }
}
