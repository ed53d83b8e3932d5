//! From a checked configuration to a server that is ready.

use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::accounts::Accounts;
use super::addresses::Facts;
use super::admin::{Admin, Socket};
use super::alternates::Others;
use super::base::{self, Base, cap_limits, generated_secret};
use super::certificates::Certificates;
use super::error::StartError;
use super::health::{Health, Itself, Readiness};
use super::metrics::Sources;
use super::places::{self, Listened, Places};
use super::ready::{self, Bound, ReadyFile};
use super::sandbox::Sandbox;
use super::secret::state_directories;
use super::stores::Stores;
use super::uris;
use super::watch::Lost;
use super::web::{self, WebServer};
use super::wishes::Wisher;
use super::{invitation, listen, log, privileges};
use crate::config::{AdminSocket, Config, Level};
use crate::net::Offload;
use crate::turn::Ledger;
use crate::worker::{Clock, Events, Sockets, Workers};

/// Events that may wait for the log: a burst of ended sessions, not a backlog of minutes.
const QUEUE: usize = 16 << 10;

/// A server that runs, with everything that its end has to take back.
pub(super) struct Running {
    pub(super) workers: Workers,
    pub(super) accounts: Accounts,
    pub(super) admin: Arc<Admin>,
    pub(super) admin_socket: Option<Socket>,
    pub(super) sources: Arc<Sources>,
    pub(super) log_thread: JoinHandle<()>,
}

/// Nobody sees the rights of a file who does not look for them.
fn warn_of_exposed(config: &Config) {
    for path in &config.exposed {
        tracing::warn!(
            event = "secrets_exposed",
            "everybody on this host may read {}, in which secrets are: chmod o-r it",
            path.display(),
        );
    }
}

/// Starts everything in an order in which nobody is let in before all of it works.
pub(super) fn start(mut config: Config, wisher: Wisher) -> Result<(Running, Base), StartError> {
    let clock = Clock::start();
    if let Some(path) = &config.ready_file {
        ReadyFile::clear(path).map_err(|error| StartError::ReadyFile(path.clone(), error))?;
    }
    let facts = Facts::gather();
    let chosen = places::choose(&config, &facts, &[])?;
    let relays: Vec<_> = chosen.iter().map(|chosen| chosen.relay).collect();
    places::lay_out(&mut config, &relays, &facts)?;
    let told_nothing = !config.has_credentials();
    config.web.page = web::has_page(&config);
    let (server, doors) = WebServer::bind(&config, clock)?;
    let generated = generated_secret(&mut config)?;
    let mut master = [0; 16];
    getrandom::fill(&mut master).map_err(StartError::Random)?;
    let (itself, echoes) = Itself::new()?;
    let stores = Stores::new(&config);
    config.auth.directory = stores.directory_for(&config);
    let sockets = Sockets::bind(&config.worker)?;
    places::try_relays(&chosen)?;
    let endpoint = config.admin.map(bind_admin).transpose()?;
    let admin_socket = bind_socket(&config)?;
    let admin = endpoint.as_ref().map(|(_, address)| *address);
    let own = doors.own().map_err(|error| StartError::System("an address for the web", error))?;
    let listened = Listened { listening: sockets.listening().clone(), admin, web: own };
    let bound = listened.bound();
    config.worker.web = server.passed(&config);
    cap_limits(&mut config, &relays, true);
    let certificates = Certificates::watch(clock);
    let fresh = certificates.prepare(&config.tls.certificates)?;
    config.worker.identities = fresh.identities.clone();
    config.worker.tls = base::tls_server(None, fresh.identities.as_ref(), &config.tls)?;
    let identities = fresh.identities.clone();
    certificates.commit(fresh);
    let tls = config.worker.tls.clone();
    let places = Places::complete(chosen, &config, &listened, &[], &facts)?;
    places.report(&config);
    warn_of_exposed(&config);
    places.check_backend(&config)?;
    let site = (&places, &listened);
    let settings = web::settings(&config, site, identities.as_ref(), generated.as_ref());
    server.replace(settings, &config.worker.proxies);
    let others = Others::new(&config.redirect, clock);
    let report = Arc::clone(&certificates.report);
    let mut base = Base {
        places,
        listened,
        certificates,
        tls,
        alternates: others,
        master,
        itself,
        stores,
        generated,
        ready_file: None,
        sandbox: Sandbox::default(),
        web: server,
    };
    let realms = Arc::new(base.realms(&config, &bound)?);
    privileges::drop(config.user.as_deref(), config.group.as_deref())?;
    base.sandbox = Sandbox::enter(&config, state_directories(&config));
    // As the user who will read them again.
    base.stores.open(&config)?;
    let settings = Arc::new(base.turn_settings(&config, &base.places, Vec::new()));
    let ledger = Arc::new(Ledger::new(&settings));
    let (accounts, records) = Accounts::start(&config, clock)?;
    let (events, queue) = Events::queue(QUEUE);
    let events = events.with(records);
    let log_thread =
        log::spawn(queue).map_err(|error| StartError::System("a thread for the log", error))?;
    let workers =
        Workers::start(sockets, &config.worker, &settings, &realms, &ledger, clock, &events)
            .map_err(|error| StartError::System("what a worker needs", error))?;
    base.stores.serve(&workers, clock);
    log_datapath(config.worker.trains, workers.offload());
    workers.set_verbose(config.log.level >= Level::Debug);
    let lost = Lost::of(events);
    let alternates = Arc::clone(&settings.alternates);
    base.alternates.commit(alternates, &config.redirect, &config.auth);
    let readiness = Readiness::watch(&base.itself, echoes, &bound.udp, clock)?;
    let sources = Sources {
        stats: workers.stats().to_vec(),
        ledger,
        alternates: base.alternates.shown(),
        lost,
        clock,
        certificates: report,
        health: Health::new(workers.stats().len()),
        readiness,
        records: accounts.stats(),
        stores: Arc::clone(&base.stores),
        web: base.web.app(),
    };
    let sources = Arc::new(sources);
    let admin = Admin::new(Arc::clone(&sources), wisher, &workers, &config);
    if let Some((listener, _)) = endpoint {
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|error| StartError::System("the admin endpoint", error))?;
        tokio::spawn(Arc::clone(&admin).serve(listener));
    }
    let admin_socket = match admin_socket {
        None => None,
        Some((socket, listener)) => {
            let listener = tokio::net::UnixListener::from_std(listener)
                .map_err(|error| StartError::System("the admin socket", error))?;
            tokio::spawn(Arc::clone(&admin).serve_socket(listener));
            Some(socket)
        }
    };
    base.web.serve(doors, &admin)?;
    if let Some(secret) = base.generated.as_ref().filter(|_| told_nothing) {
        // What NAT discovery adds is not where clients are to begin.
        let listeners = base.listened.listening.configured(&config.worker.listeners);
        let urls = uris::over(&listeners, &relays);
        let key = web::own_secret(&config, Some(secret));
        let links = key.map(|key| invitation::links(&listeners, &urls, &key)).unwrap_or_default();
        let json = invitation::ice_servers(secret, &config.auth, &urls, clock.now().unix);
        invitation::print(&json, &links);
    }
    base.ready_file = announce(&config, &bound)?;
    let running = Running { workers, accounts, admin, admin_socket, sources, log_thread };
    Ok((running, base))
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
            "datagrams that come together go through the kernel together (UDP_GRO, UDP_SEGMENT)"
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
    let listener = listen::bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The admin socket. Where nobody has said where it is to be, the server does without it rather than not start.
fn bind_socket(config: &Config) -> Result<Option<(Socket, UnixListener)>, StartError> {
    let bound = match &config.admin_socket {
        AdminSocket::Off => return Ok(None),
        AdminSocket::At(path) => Socket::bind(path)?,
        AdminSocket::Auto => match Socket::bind_in(&state_directories(config)) {
            Ok(bound) => bound,
            Err(error) => {
                tracing::warn!(event = "no_admin_socket", "there is no admin socket: {error}");
                return Ok(None);
            }
        },
    };
    let path = bound.0.path();
    tracing::info!(event = "admin_socket", "`turnwire status` and the like reach it at {path:?}");
    Ok(Some(bound))
}

/// Says that the server is ready, everywhere where somebody may wait for it.
fn announce(config: &Config, bound: &Bound) -> Result<Option<ReadyFile>, StartError> {
    let file = ReadyFile::renew(config.ready_file.as_deref(), bound)?;
    bound.log("ready");
    ready::notify("READY=1");
    Ok(file)
}
