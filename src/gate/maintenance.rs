//! Routes that are down for maintenance (`[route.maintenance]`).
//!
//! The configuration says which routes are down. An operator can override it for a running gateway, route by route; the
//! override is kept by the route's name and survives reloads, until it is withdrawn or the gateway restarts. Each
//! request to a route reads both from memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::config::Config;
use crate::wire::client_ip::TrustedProxies;

/// The operators' overrides, by the names of routes.
#[derive(Default)]
pub struct Switches(Mutex<HashMap<String, Arc<AtomicU8>>>);

/// The maintenance state of the routes of one configuration.
pub struct Maintenance {
    routes: Vec<Switched>,
}

struct Switched {
    name: String,
    configured: bool,
    retry_after: Duration,
    /// The clients that get through all the same.
    allowed: TrustedProxies,
    said: Arc<AtomicU8>,
}

/// An operator's override for a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    /// No override: the configuration decides.
    AsConfigured,
    /// The route is down.
    On,
    /// The route is up.
    Off,
}

/// A route's maintenance state, as operators see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteMaintenance<'a> {
    /// The route's name.
    pub route: &'a str,
    /// Whether the route is down.
    pub is_on: bool,
    /// Whether the configuration says that it is down.
    pub configured: bool,
    /// The operator's override.
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
    /// Creates the state for a configuration, with the overrides that operators have set.
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

    /// Returns after how long a client may ask again, if the route is down for that client.
    pub fn of(&self, route: usize, client: IpAddr) -> Option<Duration> {
        let route = self.routes.get(route).filter(|route| route.is_on())?;
        (!route.allowed.trusts(client)).then_some(route.retry_after)
    }

    /// Sets an operator's override for a route, and returns whether the route was down before; `None` if there is no such
    /// route.
    pub fn say(&self, name: &str, switch: Switch) -> Option<bool> {
        let route = self.routes.iter().find(|route| route.name == name)?;
        let was_on = route.is_on();
        route.said.store(switch.number(), Ordering::Relaxed);
        Some(was_on)
    }

    /// Returns all routes.
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
