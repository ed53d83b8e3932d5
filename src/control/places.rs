//! Where allocations are made, and every address that this server has: found at the start, and again when the
//! configuration or the network is another.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::addresses::{self, Chosen, Facts};
use super::discovery;
use super::error::StartError;
use super::ready::Bound;
use super::reflexive;
use crate::config::Config;
use crate::net::Endpoint;
use crate::turn::{Discovery, RelayAddress};

/// What was found out.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Where allocations are made, with the reasons.
    pub(super) chosen: Vec<Chosen>,
    pub(super) discovery: Vec<Discovery>,
    /// Every address that a socket of this server is reached at.
    pub(super) own: Vec<SocketAddr>,
}

/// What is listened on.
#[derive(Clone, Debug)]
pub(super) struct Listened {
    pub(super) bound: Bound,
    /// The first and the second address of each one for NAT discovery.
    pub(super) alternates: Vec<(SocketAddr, SocketAddr)>,
}

impl Places {
    pub(super) fn relays(&self) -> Vec<RelayAddress> {
        self.chosen.iter().map(|chosen| chosen.relay).collect()
    }

    /// Adds to the relay addresses what is known of the listeners. May take seconds, if a STUN server has to be asked.
    ///
    /// # Errors
    /// NAT discovery cannot be served so.
    pub(super) fn complete(
        chosen: Vec<Chosen>,
        config: &Config,
        listened: &Listened,
        facts: &Facts,
    ) -> Result<Self, StartError> {
        let mut places = Self { chosen, ..Self::default() };
        let (relays, external) = (places.relays(), &config.relay.external);
        let seconds = &listened.alternates;
        places.discovery = discovery::advertised(seconds, &relays, external, asking(config))?;
        places.own = listened.own(&relays, facts);
        Ok(places)
    }

    /// # Errors
    /// HTTP would be passed on to this server itself.
    pub(super) fn check_backend(&self, config: &Config) -> Result<(), StartError> {
        match config.worker.web.backend {
            Some(Endpoint::Tcp(backend)) if self.own.contains(&backend) => {
                Err(StartError::OwnBackend(backend))
            }
            _ => Ok(()),
        }
    }

    /// Tells where allocations are made and why.
    pub(super) fn report(&self, config: &Config) {
        let external = &config.relay.external;
        let development = config.worker.listeners.iter().all(|it| it.ip().is_loopback());
        // What stands for a second address of NAT discovery needs no relay.
        let second = |ip| config.nat_alternates.iter().any(|second| Some(second.ip()) == ip);
        let external: Vec<_> = external.iter().filter(|it| !second(it.private)).copied().collect();
        addresses::report(&self.chosen, &external, development);
        discovery::report(&self.discovery);
    }
}

impl Listened {
    /// Every address that a socket of this server is reached at.
    fn own(&self, relays: &[RelayAddress], facts: &Facts) -> Vec<SocketAddr> {
        let Bound { udp, tcp, tls, dtls, admin } = &self.bound;
        let sockets = [udp, tcp, tls, dtls].into_iter().flatten().chain(admin);
        addresses::own_sockets(&sockets.copied().collect::<Vec<_>>(), relays, facts)
    }
}

/// Chooses the relay addresses. May take seconds, if a STUN server has to be asked.
///
/// # Errors
/// There is none, or two would be known as one.
pub(super) fn choose(config: &Config, facts: &Facts) -> Result<Vec<Chosen>, StartError> {
    let mut listeners = config.worker.listeners.clone();
    addresses::drop_unsupported(&mut listeners, facts);
    let relay = &config.relay;
    let chosen =
        addresses::choose(&listeners, &relay.addresses, &relay.external, facts, asking(config));
    if chosen.is_empty() {
        return Err(StartError::NoRelay);
    }
    for (place, one) in chosen.iter().enumerate() {
        let same = |other: &&Chosen| other.relay.advertised == one.relay.advertised;
        if let Some(other) = chosen[..place].iter().find(same) {
            let (first, second) = (other.relay.local, one.relay.local);
            return Err(StartError::SameAdvertised(one.relay.advertised, first, second));
        }
    }
    Ok(chosen)
}

/// Whether sockets can be had on each.
pub(super) fn try_relays(chosen: &[Chosen]) -> Result<(), StartError> {
    for Chosen { relay, .. } in chosen {
        let tried = UdpSocket::bind((relay.local, 0));
        tried.map_err(|error| StartError::Relay(relay.local, error))?;
    }
    Ok(())
}

/// Asks the STUN server how it sees an address of ours.
fn asking(config: &Config) -> impl Fn(IpAddr) -> Option<Result<IpAddr, String>> {
    let server = config.relay.stun_server.as_deref();
    move |local| server.map(|server| reflexive::ask(server, local))
}
