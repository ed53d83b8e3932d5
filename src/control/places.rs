//! Where allocations are made, and every address that this server has: found at the start, and again when the
//! configuration or the network is another.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::addresses::{self, AdvertisedReason, Chosen, Facts};
use super::discovery;
use super::error::StartError;
use super::ready::Bound;
use super::reflexive;
use crate::config::Config;
use crate::net::Endpoint;
use crate::turn::{Discovery, RelayAddress};
use crate::worker::Listening;

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
    pub(super) listening: Listening,
    pub(super) admin: Option<SocketAddr>,
    pub(super) web: Vec<SocketAddr>,
}

impl Places {
    pub(super) fn relays(&self) -> Vec<RelayAddress> {
        self.chosen.iter().map(|chosen| chosen.relay).collect()
    }

    /// Whether the addresses are the same, for whatever reasons.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.relays() == other.relays()
            && self.discovery == other.discovery
            && self.own == other.own
    }

    /// Adds to the relay addresses what is known of the listeners. May take seconds, if a STUN server has to be asked;
    /// where it is silent, what is `told` of before stays.
    ///
    /// # Errors
    /// NAT discovery cannot be served so.
    pub(super) fn complete(
        chosen: Vec<Chosen>,
        config: &Config,
        listened: &Listened,
        told: &[Discovery],
        facts: &Facts,
    ) -> Result<Self, StartError> {
        let pairs = listened.listening.alternates();
        let discovery = discover(&chosen, config, &pairs, told)?;
        Ok(Self::of(chosen, discovery, listened, facts))
    }

    /// The same when everybody has been asked already.
    pub(super) fn of(
        chosen: Vec<Chosen>,
        mut discovery: Vec<Discovery>,
        listened: &Listened,
        facts: &Facts,
    ) -> Self {
        // A port that was free to choose is known by now.
        for (one, (first, second)) in discovery.iter_mut().zip(listened.listening.alternates()) {
            one.ports = [first.port(), second.port()];
        }
        let mut places = Self { chosen, discovery, ..Self::default() };
        places.own = listened.own(&places.relays(), facts);
        places
    }

    /// # Errors
    /// HTTP would be passed on to this server itself.
    pub(super) fn check_backend(&self, config: &Config) -> Result<(), StartError> {
        check_backend(config, &self.own)
    }

    /// Tells where allocations are made from now on and why, if that is elsewhere.
    pub(super) fn report_change(&self, after: &Self, config: &Config) {
        for Chosen { relay, .. } in &self.chosen {
            let now = after.chosen.iter().find(|it| it.relay.local == relay.local);
            let (local, before) = (relay.local, relay.advertised);
            match now.map(|it| it.relay.advertised) {
                None => tracing::info!(
                    event = "relay_address_gone",
                    %local,
                    "no new allocations on {local}; live ones stay there until they end",
                ),
                Some(now) if now != before => tracing::warn!(
                    event = "external_address_changed",
                    %local,
                    %before,
                    %now,
                    "{local} is {now} outside, and was {before}: new allocations are told so, live \
                     ones keep theirs",
                ),
                Some(_) => {}
            }
        }
        if self.chosen != after.chosen || self.discovery != after.discovery {
            after.report(config);
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
        let Bound { udp, tcp, tls, dtls, web, admin } = self.bound();
        // Those that end are there as long as somebody is served.
        let leaving = self.listening.leaving();
        let sockets = [udp, tcp, tls, dtls, web, leaving].into_iter().flatten().chain(admin);
        addresses::own_sockets(&sockets.collect::<Vec<_>>(), relays, facts)
    }

    pub(super) fn bound(&self) -> Bound {
        let Self { listening, admin, web } = self;
        Bound {
            udp: listening.addresses(),
            tcp: listening.addresses(),
            tls: listening.tls(),
            dtls: listening.dtls(),
            admin: *admin,
            web: web.clone(),
        }
    }
}

/// # Errors
/// HTTP would be passed on to one of these, which are this server itself.
pub(super) fn check_backend(config: &Config, own: &[SocketAddr]) -> Result<(), StartError> {
    match config.worker.web.backend {
        Some(Endpoint::Tcp(backend)) if own.contains(&backend) => {
            Err(StartError::OwnBackend(backend))
        }
        _ => Ok(()),
    }
}

/// How the pairs of addresses of NAT discovery are known outside.
///
/// # Errors
/// It cannot be served so.
pub(super) fn discover(
    chosen: &[Chosen],
    config: &Config,
    pairs: &[(SocketAddr, SocketAddr)],
    told: &[Discovery],
) -> Result<Vec<Discovery>, StartError> {
    let relays: Vec<_> = chosen.iter().map(|chosen| chosen.relay).collect();
    let ask = asking(config, chosen);
    let said = |local: IpAddr| {
        let pairs = told.iter().flat_map(|it| it.local.into_iter().zip(it.advertised));
        let mut pairs = pairs.filter(|(ip, outside)| *ip == local && outside != ip);
        pairs.next().map(|(_, outside)| outside)
    };
    let ask = |local| {
        let answer = ask(local)?;
        Some(answer.or_else(|silent| said(local).ok_or(silent)))
    };
    discovery::advertised(pairs, &relays, &config.relay.external, ask)
}

/// Takes out of the listeners what this host cannot have, and says where NAT discovery is served.
///
/// # Errors
/// It cannot be served so.
pub(super) fn lay_out(
    config: &mut Config,
    relays: &[RelayAddress],
    facts: &Facts,
) -> Result<(), StartError> {
    let worker = &mut config.worker;
    addresses::drop_unsupported(&mut worker.listeners, facts);
    addresses::drop_unsupported(&mut worker.tls_listeners, facts);
    addresses::drop_unsupported(&mut worker.dtls_listeners, facts);
    let seconds = &config.nat_alternates;
    worker.alternates = discovery::alternates(seconds, &worker.listeners, relays, facts)?;
    Ok(())
}

/// Chooses the relay addresses. May take seconds, if a STUN server has to be asked; it is not asked for what is
/// `known`.
///
/// # Errors
/// There is none, or two would be known as one.
pub(super) fn choose(
    config: &Config,
    facts: &Facts,
    known: &[Chosen],
) -> Result<Vec<Chosen>, StartError> {
    let mut listeners = config.worker.listeners.clone();
    addresses::drop_unsupported(&mut listeners, facts);
    let relay = &config.relay;
    let ask = asking(config, known);
    let chosen = addresses::choose(&listeners, &relay.addresses, &relay.external, facts, ask);
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

/// Asks the STUN server how it sees an address of ours, if that is not `known` from it.
fn asking(config: &Config, known: &[Chosen]) -> impl Fn(IpAddr) -> Option<Result<IpAddr, String>> {
    let server = config.relay.stun_server.as_deref();
    move |local| {
        let seen =
            |it: &&Chosen| it.relay.local == local && it.advertised == AdvertisedReason::Reflexive;
        let known = known.iter().find(seen).map(|it| Ok(it.relay.advertised));
        server.map(|server| known.unwrap_or_else(|| reflexive::ask(server, local)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the start was told of a second address is no less true because nobody answers now.
    #[test]
    fn a_stun_server_that_is_silent_leaves_what_it_has_said_of_a_second_address() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        config.relay.stun_server = Some(silent.local_addr().unwrap().to_string());
        let [first, second] = ["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let [outside, other] =
            ["203.0.113.1", "203.0.113.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let relay = RelayAddress { local: first, advertised: outside };
        let chosen = Chosen {
            relay,
            local: addresses::LocalReason::Configured,
            advertised: AdvertisedReason::Reflexive,
        };
        let pairs = [(SocketAddr::new(first, 1), SocketAddr::new(second, 2))];
        let told =
            Discovery { local: [first, second], advertised: [outside, other], ports: [1, 2] };
        let chosen = [chosen];
        let known = |told: &[Discovery]| discover(&chosen, &config, &pairs, told).unwrap();
        assert_eq!(known(&[told]), [told]);
        assert_eq!(known(&[])[0].advertised, [outside, second]);
    }
}
