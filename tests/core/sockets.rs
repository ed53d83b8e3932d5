//! Relay sockets that only remember which are open.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use turnwire::turn::{Client, OpenError, RelayId, RelaySockets};

/// The ports of one host, which several servers share.
#[derive(Clone, Default)]
pub(crate) struct Host(Arc<Mutex<Ports>>);

#[derive(Default)]
struct Ports {
    open: HashSet<SocketAddr>,
    /// Those that somebody else on the host has.
    foreign: HashSet<SocketAddr>,
}

impl Host {
    /// How many relay sockets are open on it.
    pub(crate) fn open(&self) -> usize {
        self.0.lock().unwrap().open.len()
    }

    /// Somebody else takes the port, unless it is taken.
    pub(crate) fn occupy(&self, address: SocketAddr) {
        let mut ports = self.0.lock().unwrap();
        if !ports.open.contains(&address) {
            ports.foreign.insert(address);
        }
    }

    /// Somebody else gives the port back.
    pub(crate) fn vacate(&self, address: SocketAddr) {
        self.0.lock().unwrap().foreign.remove(&address);
    }
}

/// The relay sockets of one server.
#[derive(Default)]
pub(crate) struct FakeSockets {
    pub(crate) host: Host,
    /// By [`RelayId::index`].
    pub(crate) open: BTreeMap<usize, SocketAddr>,
    /// Those of them that take connections.
    pub(crate) listening: BTreeSet<usize>,
    /// The same the other way round.
    at: HashMap<SocketAddr, usize>,
    /// The system has no descriptors left.
    pub(crate) exhausted: bool,
    /// How often an open was refused because the port was somebody else's.
    pub(crate) refused: u64,
    /// What clients have asked for in TLS (SNI), by their addresses.
    pub(crate) names: HashMap<SocketAddr, String>,
}

impl FakeSockets {
    pub(crate) fn on(host: &Host) -> Self {
        Self { host: host.clone(), ..Self::default() }
    }

    /// Takes the sockets of relays out, to be taken in by another worker.
    pub(crate) fn take_out(&mut self, relays: &[Option<RelayId>; 2]) -> Vec<(usize, SocketAddr)> {
        let families = relays.iter().enumerate();
        let taken = families.filter_map(|(family, relay)| {
            let address = self.open.remove(&(*relay)?.index()).expect("it is open");
            self.at.remove(&address);
            Some((family, address))
        });
        taken.collect()
    }

    /// Takes them in.
    pub(crate) fn take_in(
        &mut self,
        relays: &[Option<RelayId>; 2],
        sockets: &[(usize, SocketAddr)],
    ) {
        assert_eq!(relays.iter().flatten().count(), sockets.len());
        for (family, address) in sockets {
            let index = relays[*family].expect("a relay of its family").index();
            assert_eq!(self.open.insert(index, *address), None);
            self.at.insert(*address, index);
        }
    }

    /// The relay whose socket is open at the local address.
    pub(crate) fn relay_at(&self, address: SocketAddr) -> Option<RelayId> {
        self.at.get(&address).map(|index| RelayId::from_index(*index))
    }
}

impl RelaySockets for FakeSockets {
    fn open(&mut self, relay: RelayId, address: SocketAddr) -> Result<(), OpenError> {
        if self.exhausted {
            return Err(OpenError::Unavailable);
        }
        let mut ports = self.host.0.lock().unwrap();
        if ports.foreign.contains(&address) {
            self.refused += 1;
            return Err(OpenError::PortInUse);
        }
        assert!(ports.open.insert(address), "{address} is opened twice");
        let before = self.open.insert(relay.index(), address);
        assert_eq!(before, None, "{relay:?} has a socket already");
        self.at.insert(address, relay.index());
        Ok(())
    }

    fn listen(&mut self, relay: RelayId, address: SocketAddr) -> Result<(), OpenError> {
        self.open(relay, address)?;
        self.listening.insert(relay.index());
        Ok(())
    }

    fn close(&mut self, relay: RelayId) {
        let address = self.open.remove(&relay.index());
        let address = address.unwrap_or_else(|| panic!("{relay:?} has no socket to close"));
        self.at.remove(&address);
        self.listening.remove(&relay.index());
        assert!(self.host.0.lock().unwrap().open.remove(&address));
    }

    fn server_name(&self, client: &Client) -> Option<&str> {
        self.names.get(&client.tuple.client).map(String::as_str)
    }
}
