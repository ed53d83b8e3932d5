//! From a checked configuration to a server that is ready.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::addresses::{self, Chosen, Facts};
use super::admin::{self, Admin};
use super::base::{Base, cap_limits, generated_secret};
use super::certificates::Certificates;
use super::error::StartError;
use super::health::Health;
use super::metrics::Sources;
use super::ready::{self, Bound, ReadyFile};
use super::watch::Lost;
use super::{alternates, discovery, invitation, log, privileges, reflexive};
use crate::auth::{self, Authority};
use crate::config::{self, Config, Level};
use crate::net::Offload;
use crate::tls;
use crate::turn::{Discovery, Ledger, RelayAddress};
use crate::worker::{Clock, Events, Sockets, Workers};

/// Events that may wait for the log: a burst of ended sessions, not a backlog of minutes.
const QUEUE: usize = 16 << 10;

/// A server that runs, with everything that its end has to take back.
pub(super) struct Running {
    pub(super) workers: Workers,
    pub(super) sources: Arc<Sources>,
    pub(super) log_thread: JoinHandle<()>,
    pub(super) ready_file: Option<ReadyFile>,
    pub(super) certificates: Option<Certificates>,
}

/// Starts everything in an order in which nobody is let in before all of it works.
pub(super) fn start(mut config: Config) -> Result<(Running, Base), StartError> {
    let clock = Clock::start();
    if let Some(path) = &config.ready_file {
        ReadyFile::clear(path).map_err(|error| StartError::ReadyFile(path.clone(), error))?;
    }
    let facts = Facts::gather();
    addresses::drop_unsupported(&mut config.worker.listeners, &facts);
    addresses::drop_unsupported(&mut config.worker.tls_listeners, &facts);
    addresses::drop_unsupported(&mut config.worker.dtls_listeners, &facts);
    let relays = relays(&config, &facts)?;
    let (seconds, listeners) = (&config.nat_alternates, &config.worker.listeners);
    config.worker.alternates = discovery::alternates(seconds, listeners, &relays, &facts)?;
    let generated = generated_secret(&mut config)?;
    let mut master = [0; 16];
    getrandom::fill(&mut master).map_err(StartError::Random)?;
    let authority = Authority::new(config.auth.clone(), master)?;
    let sockets = Sockets::bind(&config.worker)?;
    for relay in &relays {
        let tried = UdpSocket::bind((relay.local, 0));
        tried.map_err(|error| StartError::Relay(relay.local, error))?;
    }
    let discovery = discover(&config, &sockets, &relays)?;
    let endpoint = config.admin.map(bind_admin).transpose()?;
    let bound = Bound {
        udp: sockets.addresses().to_vec(),
        tcp: sockets.addresses().to_vec(),
        tls: sockets.tls().to_vec(),
        dtls: sockets.dtls().to_vec(),
        admin: endpoint.as_ref().map(|(_, address)| *address),
    };
    cap_limits(&mut config, &relays, true);
    let certificates = Certificates::load(&config.tls.certificates, clock)?;
    config.worker.tls =
        certificates.as_ref().map(|it| tls_server(&it.identities, &config.tls)).transpose()?;
    config.worker.identities = certificates.as_ref().map(|it| Arc::clone(&it.identities));
    let own = own_sockets(&bound, &relays, &facts);
    let others = alternates::alternates(&config.redirect);
    let base = Base { relays, discovery, own, alternates: others, master, generated };
    base.check_backend(&config)?;
    privileges::drop(config.user.as_deref(), config.group.as_deref())?;
    let settings = Arc::new(base.turn_settings(&config));
    let ledger = Arc::new(Ledger::new(&settings));
    let (events, queue) = Events::queue(QUEUE);
    let log_thread =
        log::spawn(queue).map_err(|error| StartError::System("a thread for the log", error))?;
    let workers = Workers::start(
        sockets,
        &config.worker,
        &settings,
        &Arc::new(authority),
        &ledger,
        clock,
        &events,
    )
    .map_err(|error| StartError::System("what a worker needs", error))?;
    log_datapath(config.worker.trains, workers.offload());
    workers.set_verbose(config.log.level >= Level::Debug);
    let lost = Lost::of(events);
    let others = Arc::clone(&base.alternates);
    alternates::watch(&others, &config.redirect, &config.auth, clock);
    let certificates_report = certificates.as_ref().map(|it| Arc::clone(&it.report));
    let sources = Sources {
        stats: workers.stats().to_vec(),
        ledger,
        alternates: others,
        lost,
        clock,
        certificates: certificates_report,
        health: Health::new(),
    };
    let sources = Arc::new(sources);
    if let Some((listener, _)) = endpoint {
        let admin = Admin::new(Arc::clone(&sources));
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|error| StartError::System("the admin endpoint", error))?;
        tokio::spawn(admin.serve(listener));
    }
    let unix = clock.now().unix;
    if let Some(secret) = &base.generated {
        let listeners = config.worker.listeners.len();
        invite(secret, &config.auth, &bound, listeners, &base.relays, unix);
    }
    let ready_file = announce(&config, &bound)?;
    let running = Running { workers, sources, log_thread, ready_file, certificates };
    Ok((running, base))
}

/// Chooses the relay addresses and logs the reasons.
fn relays(config: &Config, facts: &Facts) -> Result<Vec<RelayAddress>, StartError> {
    let listeners = &config.worker.listeners;
    let external = &config.relay.external;
    let server = config.relay.stun_server.as_deref();
    let ask = |local: IpAddr| server.map(|server| reflexive::ask(server, local));
    let chosen = addresses::choose(listeners, &config.relay.addresses, external, facts, ask);
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
    let development = listeners.iter().all(|listener| listener.ip().is_loopback());
    // What stands for a second address of NAT discovery needs no relay.
    let second = |ip| config.nat_alternates.iter().any(|second| Some(second.ip()) == ip);
    let external: Vec<_> = external.iter().filter(|it| !second(it.private)).copied().collect();
    addresses::report(&chosen, &external, development);
    Ok(chosen.iter().map(|Chosen { relay, .. }| *relay).collect())
}

/// Finds out how the addresses of NAT discovery are known outside, and logs it.
fn discover(
    config: &Config,
    sockets: &Sockets,
    relays: &[RelayAddress],
) -> Result<Vec<Discovery>, StartError> {
    let server = config.relay.stun_server.as_deref();
    let ask = |local: IpAddr| server.map(|server| reflexive::ask(server, local));
    let external = &config.relay.external;
    let found = discovery::advertised(sockets.alternates(), relays, external, ask)?;
    discovery::report(&found);
    Ok(found)
}

/// Says once what the kernel does for the datapath.
fn log_datapath(wanted: bool, offload: Offload) {
    let (receive, send) = (offload.receive, offload.send);
    match (wanted, receive && send) {
        (false, _) => tracing::info!(
            event = "datapath",
            "datagrams move one by one: listen.trains is off, so bursts cost more"
        ),
        (true, true) => tracing::info!(
            event = "datapath",
            "datagrams of one way move together where they come together (UDP_GRO, UDP_SEGMENT)"
        ),
        (true, false) => tracing::warn!(
            event = "datapath",
            receive,
            send,
            "this kernel does not move datagrams together (UDP_GRO needs Linux 5.0, UDP_SEGMENT \
             4.18): all works, bursts cost more"
        ),
    }
}

fn bind_admin(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Admin(address, error);
    let listener = admin::bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// What streams with TLS are served with.
fn tls_server(
    identities: &Arc<tls::Identities>,
    settings: &config::Tls,
) -> Result<tls::Server, StartError> {
    let settings = tls::Settings { min_version: settings.min_version, ..tls::Settings::default() };
    Ok(tls::Server::new(identities, &settings)?)
}

/// Every address that a socket of this server is reached at.
fn own_sockets(bound: &Bound, relays: &[RelayAddress], facts: &Facts) -> Vec<SocketAddr> {
    let Bound { udp, tcp, tls, dtls, admin } = bound;
    let sockets = [udp, tcp, tls, dtls].into_iter().flatten().chain(admin);
    addresses::own_sockets(&sockets.copied().collect::<Vec<_>>(), relays, facts)
}

/// Prints what a client needs, for the owner of a server that was told nothing.
fn invite(
    secret: &auth::Secret,
    auth: &auth::Settings,
    bound: &Bound,
    listeners: usize,
    relays: &[RelayAddress],
    unix: u64,
) {
    // What NAT discovery adds is not where clients are to begin.
    let (udp, tcp) = (&bound.udp[..listeners], &bound.tcp[..listeners]);
    let json = invitation::ice_servers(secret, auth, udp, tcp, relays, unix);
    invitation::print(&json);
}

/// Says that the server is ready, everywhere where somebody may wait for it.
fn announce(config: &Config, bound: &Bound) -> Result<Option<ReadyFile>, StartError> {
    let write = |path: &PathBuf| {
        ReadyFile::write(path, bound).map_err(|error| StartError::ReadyFile(path.clone(), error))
    };
    let file = config.ready_file.as_ref().map(write).transpose()?;
    bound.log();
    ready::notify("READY=1");
    Ok(file)
}
