//! How many allocations this process can hold.

use crate::turn::{Limits, RelayAddress};
use crate::{turn, worker};

/// Descriptors for everything that is not counted: the log, signals, the admin endpoint's
/// connections, what libraries open for a moment.
const RESERVE: u64 = 128;
/// Descriptors of a worker beside its listeners: its poller and what wakes it.
const PER_WORKER: u64 = 4;

/// Allocations that a server has room for unless its limit of open files is one that nobody has chosen for it.
const FEW: u64 = 256;

/// What the host gives, and what that is enough for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// Open descriptors that the process may have.
    pub(super) descriptors: u64,
    /// Relay ports of the family that has the most.
    pub(super) ports: u64,
    /// Allocations for which there are descriptors: one for the relay socket of each.
    pub(super) by_descriptors: u32,
    /// TCP connections without an allocation for which there are descriptors besides.
    pub(super) streams: u32,
    /// The same for HTTP connections that are passed on.
    pub(super) webs: u32,
}

impl Capacity {
    pub(super) fn new(
        descriptors: u64,
        settings: &worker::Settings,
        relays: &[RelayAddress],
        ports: turn::PortRange,
    ) -> Self {
        let workers = settings.threads() as u64;
        // An alternate listens on up to four addresses of its own.
        let addresses = settings.listeners.len() + settings.alternates.len() * 4;
        let sealed = settings.tls_listeners.len() + settings.dtls_listeners.len();
        let sockets = (addresses * 2 + sealed) as u64;
        let left = descriptors.saturating_sub(RESERVE + workers * (sockets + PER_WORKER));
        // Connections that have no allocation yet may not use up what the allocations need.
        let streams = u64::from(settings.streams.without_allocation).min(left / 4);
        // Each has two, one at either end.
        let webs = match settings.web.backend {
            Some(_) => u64::from(settings.streams.web).min(left / 8),
            None => 0,
        };
        let left = left - streams - 2 * webs;
        let by_descriptors = u32::try_from(left).unwrap_or(u32::MAX);
        let v4 = relays.iter().filter(|relay| relay.local.is_ipv4()).count();
        let addresses = v4.max(relays.len() - v4);
        let [streams, webs] = [streams, webs].map(|it| u32::try_from(it).unwrap_or(u32::MAX));
        Self { descriptors, ports: (addresses * ports.len()) as u64, by_descriptors, streams, webs }
    }

    /// Allocations that can live at the same time.
    pub(super) fn allocations(&self) -> u64 {
        u64::from(self.by_descriptors).min(self.ports)
    }

    /// Says at start what the server can hold.
    pub(super) fn log(&self, asked: u32, too_many: bool) {
        let (holds, descriptors, ports) = (self.allocations(), self.descriptors, self.ports);
        tracing::info!(
            event = "capacity",
            allocations = holds,
            descriptors,
            relay_ports = ports,
            "can hold {holds} allocations",
        );
        let few = u64::from(self.by_descriptors) < FEW.min(ports);
        if few && (asked == 0 || too_many) {
            tracing::warn!(
                event = "descriptors_few",
                descriptors,
                "{descriptors} open files are allowed, which is enough for {holds} allocations: \
                 raise the limit (systemd: LimitNOFILE=, docker: --ulimit nofile=, a shell: \
                 ulimit -n)",
            );
        } else if too_many {
            tracing::warn!(
                event = "capacity_short",
                "limits.allocations is {asked}, which is more than the host allows: \
                 raise the descriptor limit (systemd: LimitNOFILE=) or widen the relay ports",
            );
        }
    }

    /// Lowers the limit of allocations to what there are descriptors for, so that one too many is
    /// refused in words instead of failing somewhere. True when the operator had asked for more.
    pub(super) fn cap(&self, limits: &mut Limits) -> bool {
        let asked = limits.allocations;
        if asked == 0 || asked > self.by_descriptors {
            // 0 would mean no limit at all.
            limits.allocations = self.by_descriptors.max(1);
        }
        u64::from(asked) > self.allocations()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net;
    use crate::turn::PortRange;

    fn capacity(descriptors: u64) -> Capacity {
        capacity_beside(descriptors, None)
    }

    fn capacity_beside(descriptors: u64, backend: Option<net::Endpoint>) -> Capacity {
        let settings = worker::Settings {
            web: worker::WebSettings { backend, ..worker::WebSettings::default() },
            workers: 2,
            listeners: vec!["0.0.0.0:3478".parse().unwrap()],
            ..worker::Settings::default()
        };
        let relay = |text: &str| {
            let local = text.parse().unwrap();
            RelayAddress { local, advertised: local }
        };
        let relays = [relay("10.0.0.1"), relay("10.0.0.2"), relay("2600::1")];
        Capacity::new(descriptors, &settings, &relays, PortRange { first: 50_000, last: 50_999 })
    }

    #[test]
    fn it_is_what_the_scarcest_thing_allows() {
        let plenty = capacity(1 << 20);
        assert_eq!((plenty.ports, plenty.allocations()), (2000, 2000));
        let scarce = capacity(1024);
        // 1024 - 128 - 2 * 6, and a quarter of that for connections without an allocation.
        assert_eq!((scarce.by_descriptors, scarce.streams, scarce.allocations()), (663, 221, 663));
        assert_eq!(capacity(0).allocations(), 0);
    }

    #[test]
    fn a_web_server_beside_it_takes_no_more_than_its_part() {
        let backend = || Some(net::Endpoint::Unix("/run/app.sock".into()));
        assert_eq!((capacity(1 << 20).webs, capacity_beside(1 << 20, backend()).webs), (0, 1024));
        let scarce = capacity_beside(1024, backend());
        assert_eq!((scarce.by_descriptors, scarce.streams, scarce.webs), (443, 221, 110));
    }

    #[test]
    fn the_limit_is_lowered_and_never_raised() {
        let mut limits = Limits { allocations: 0, ..Limits::default() };
        assert!(!capacity(1024).cap(&mut limits));
        assert_eq!(limits.allocations, 663);
        limits.allocations = 100;
        assert!(!capacity(1024).cap(&mut limits));
        assert_eq!(limits.allocations, 100);
        limits.allocations = 5000;
        assert!(capacity(1024).cap(&mut limits));
        assert_eq!(limits.allocations, 663);
        limits.allocations = 0;
        assert!(!capacity(0).cap(&mut limits));
        assert_eq!(limits.allocations, 1);
    }
}
