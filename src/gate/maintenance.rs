//! Routes that are down for maintenance (`[route.maintenance]`).
//!
//! The configuration says which are, and an operator can say otherwise for a running gateway, route by route: that holds over
//! reloads, by the route's name, until it is taken back or the gateway is started again. Both are read from memory with each
//! request of a route.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::config::Config;
use crate::wire::client_ip::TrustedProxies;

/// What operators have said, by the names of routes.
#[derive(Default)]
pub struct Switches(Mutex<HashMap<String, Arc<AtomicU8>>>);

/// Which routes of one configuration are down.
pub struct Maintenance {
    routes: Vec<Switched>,
}

struct Switched {
    name: String,
    configured: bool,
    retry_after: Duration,
    /// Who gets through all the same.
    allowed: TrustedProxies,
    said: Arc<AtomicU8>,
}

/// What an operator says of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    /// As its configuration says.
    AsConfigured,
    /// It is down.
    On,
    /// It is not.
    Off,
}

/// A route, as operators see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteMaintenance<'a> {
    /// Its name.
    pub route: &'a str,
    /// Is it down?
    pub is_on: bool,
    /// Does its configuration say so?
    pub configured: bool,
    /// What an operator has said.
    pub said: Switch,
}

impl Switch {
    const fn number(self) -> u8 {
        match self {
            Self::AsConfigured => 0,
            Self::On => 1,
            Self::Off => 2,
        }
    }

    const fn of(number: u8) -> Self {
        match number {
            1 => Self::On,
            2 => Self::Off,
            _ => Self::AsConfigured,
        }
    }
}

impl Maintenance {
    /// Of a configuration, with what operators have said.
    pub fn new(config: &Config, switches: &Switches) -> Self {
        let mut said = switches.0.lock();
        let routes = config.routes.iter().map(|route| {
            let settings = &route.handling.maintenance;
            Switched {
                name: route.name.clone(),
                configured: settings.on,
                retry_after: settings.retry_after,
                allowed: TrustedProxies::new(settings.allow.iter().copied()),
                said: Arc::clone(said.entry(route.name.clone()).or_default()),
            }
        });
        Self { routes: routes.collect() }
    }

    /// Is a route down for this client? After so long they may ask again.
    pub fn of(&self, route: usize, client: IpAddr) -> Option<Duration> {
        let route = self.routes.get(route).filter(|route| route.is_on())?;
        (!route.allowed.trusts(client)).then_some(route.retry_after)
    }

    /// An operator says something of a route. Was it down before? None: there is no such route.
    pub fn say(&self, name: &str, switch: Switch) -> Option<bool> {
        let route = self.routes.iter().find(|route| route.name == name)?;
        let was_on = route.is_on();
        route.said.store(switch.number(), Ordering::Relaxed);
        Some(was_on)
    }

    /// All routes.
    pub fn list(&self) -> impl Iterator<Item = RouteMaintenance<'_>> {
        self.routes.iter().map(|route| RouteMaintenance {
            route: &route.name,
            is_on: route.is_on(),
            configured: route.configured,
            said: Switch::of(route.said.load(Ordering::Relaxed)),
        })
    }
}

impl Switched {
    fn is_on(&self) -> bool {
        match Switch::of(self.said.load(Ordering::Relaxed)) {
            Switch::AsConfigured => self.configured,
            Switch::On => true,
            Switch::Off => false,
        }
    }
}
