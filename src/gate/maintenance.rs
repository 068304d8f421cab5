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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const RETRY: Duration = Duration::from_secs(9);

    /// Returns a configuration with these routes, which are down or not. The network 192.0.2.0/24 always gets through.
    fn config(routes: &[(&str, bool)]) -> Config {
        let mut text = "listen.http = [\"127.0.0.1:8080\"]\n[[upstream]]\nname = \"app\"\n\
             servers = [\"127.0.0.1:1\"]\n[[directory]]\nkind = \"file\"\npath = \"users.toml\"\n"
            .to_owned();
        for (name, on) in routes {
            text += &format!(
                "[[route]]\nname = \"{name}\"\npath = \"/{name}/\"\nupstream = \"app\"\n\
                 [route.maintenance]\non = {on}\nretry_after = \"9s\"\nallow = [\"192.0.2.0/24\"]\n"
            );
        }
        let (config, _) = Config::parse(&text, Path::new("/"), "gateway.toml")
            .unwrap_or_else(|report| panic!("{}", report.render(false)));
        config
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Returns the names of the routes that are down.
    fn down(maintenance: &Maintenance) -> Vec<&str> {
        maintenance.list().filter(|one| one.is_on).map(|one| one.route).collect()
    }

    #[test]
    fn a_route_is_down_as_the_operator_says_or_else_as_configured() {
        for (said, a, b) in [
            (Switch::AsConfigured, false, true),
            (Switch::On, true, true),
            (Switch::Off, false, false),
        ] {
            let maintenance =
                Maintenance::new(&config(&[("a", false), ("b", true)]), &Switches::default());
            assert_eq!(maintenance.say("a", said), Some(false), "{said:?}: it was up");
            assert_eq!(maintenance.say("b", said), Some(true), "{said:?}: it was down");
            assert_eq!(maintenance.say("c", said), None, "{said:?}: there is no such route");
            let listed: Vec<_> = maintenance.list().collect();
            let expected = [("a", false, a), ("b", true, b)].map(|(route, configured, is_on)| {
                RouteMaintenance { route, is_on, configured, said }
            });
            assert_eq!(listed, expected);
            let refused = [0, 1].map(|route| maintenance.of(route, ip("203.0.113.1")));
            assert_eq!(refused, [a, b].map(|is_on| is_on.then_some(RETRY)), "{said:?}");
        }
    }

    #[test]
    fn a_route_that_is_down_lets_its_allowed_clients_through() {
        let maintenance =
            Maintenance::new(&config(&[("a", false), ("b", true)]), &Switches::default());
        for (route, client, refused) in [
            (0, "203.0.113.1", None),
            (0, "192.0.2.1", None),
            (1, "203.0.113.1", Some(RETRY)),
            (1, "192.0.2.1", None),
            (1, "::ffff:192.0.2.1", None),
            (2, "203.0.113.1", None),
        ] {
            assert_eq!(maintenance.of(route, ip(client)), refused, "{route} {client}");
        }
    }

    #[test]
    fn an_override_holds_until_it_is_withdrawn_whatever_is_reloaded() {
        let switches = Switches::default();
        let before = Maintenance::new(&config(&[("a", false), ("b", true)]), &switches);
        before.say("a", Switch::On);
        // It follows the name of its route, not its place.
        let routes = config(&[("new", false), ("b", true), ("a", false)]);
        let after = Maintenance::new(&routes, &switches);
        assert_eq!(down(&after), ["b", "a"]);
        let restarted = Maintenance::new(&routes, &Switches::default());
        assert_eq!(down(&restarted), ["b"], "a restart forgets it");
        assert_eq!(after.say("a", Switch::AsConfigured), Some(true));
        assert_eq!(down(&after), ["b"]);
        assert_eq!(down(&before), ["b"], "also for requests that began before the reload");
    }
}
