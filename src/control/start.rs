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
use super::health::{Echoes, Health, Itself, Readiness};
use super::metrics::Sources;
use super::places::{self, Listened, Places};
use super::ready::{self, Bound, ReadyFile};
use super::sandbox::Sandbox;
use super::secret::state_directories;
use super::stores::Stores;
use super::uris;
use super::watch::Lost;
use super::web::{self, Doors, WebServer};
use super::wishes::Wisher;
use super::{invitation, listen, log, privileges};
use crate::auth::Realms;
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

/// What is open before anybody is served there.
struct Open {
    sockets: Sockets,
    endpoint: Option<std::net::TcpListener>,
    admin_socket: Option<(Socket, UnixListener)>,
    doors: Doors,
    echoes: Echoes,
}

/// The datapath at work, and those who hear of it.
struct Working {
    workers: Workers,
    ledger: Arc<Ledger>,
    accounts: Accounts,
    lost: Lost,
    log_thread: JoinHandle<()>,
}

/// Starts everything in an order in which nobody is let in before all of it works.
pub(super) fn start(mut config: Config, wisher: Wisher) -> Result<(Running, Base), StartError> {
    let clock = Clock::start();
    if let Some(path) = &config.ready_file {
        ReadyFile::clear(path).map_err(|error| StartError::ReadyFile(path.clone(), error))?;
    }
    let told_nothing = !config.has_credentials();
    privileges::make_state_directory(&config)?;
    let (mut base, open) = open(&mut config, clock)?;
    let Open { sockets, endpoint, admin_socket, doors, echoes } = open;
    let bound = base.listened.bound();
    let realms = Arc::new(base.realms(&config, &bound)?);
    privileges::drop(&config)?;
    base.sandbox = Sandbox::enter(&config, state_directories(&config));
    // As the user who will read them again.
    base.stores.open(&config)?;
    base.certificates.read_again();
    let working = work(&config, &mut base, sockets, &realms, clock)?;
    let readiness = Readiness::watch(&base.itself, echoes, &bound.udp, clock)?;
    let Working { workers, ledger, accounts, lost, log_thread } = working;
    let sources = Arc::new(Sources {
        stats: workers.stats().to_vec(),
        ledger,
        alternates: base.alternates.shown(),
        lost,
        clock,
        certificates: Arc::clone(&base.certificates.report),
        health: Health::new(workers.stats().len()),
        readiness,
        records: accounts.stats(),
        stores: Arc::clone(&base.stores),
        web: base.web.app(),
    });
    let admin = Admin::new(Arc::clone(&sources), wisher, &workers, &config);
    let admin_socket = serve_admin(&admin, endpoint, admin_socket)?;
    base.web.serve(doors, &admin)?;
    if told_nothing {
        invite(&config, &base, clock);
    }
    base.ready_file = announce(&config, &bound)?;
    let running = Running { workers, accounts, admin, admin_socket, sources, log_thread };
    Ok((running, base))
}

/// Finds out what has to be known of this host, and opens what may need its rights. The configuration gets what was
/// found.
fn open(config: &mut Config, clock: Clock) -> Result<(Base, Open), StartError> {
    let facts = Facts::gather();
    let chosen = places::choose(config, &facts, &[])?;
    let relays: Vec<_> = chosen.iter().map(|chosen| chosen.relay).collect();
    places::lay_out(config, &relays, &facts)?;
    config.web.page = web::has_page(config);
    let (web, doors) = WebServer::bind(config, clock)?;
    let generated = generated_secret(config)?;
    let mut master = [0; 16];
    getrandom::fill(&mut master).map_err(StartError::Random)?;
    let (itself, echoes) = Itself::new()?;
    let stores = Stores::new(config);
    config.auth.directory = stores.directory_for(config);
    let sockets = Sockets::bind(&config.worker)?;
    places::try_relays(&chosen)?;
    let endpoint = config.admin.map(bind_admin).transpose()?;
    let (endpoint, admin) = endpoint.unzip();
    let admin_socket = bind_socket(config)?;
    let own = doors.own().map_err(|error| StartError::System("an address for the web", error))?;
    let listened = Listened { listening: sockets.listening().clone(), admin, web: own };
    config.worker.web = web.passed(config);
    cap_limits(config, &relays, true);
    let certificates = Certificates::watch(clock);
    let fresh = certificates.prepare(&config.tls.certificates)?;
    let identities = fresh.identities.clone();
    config.worker.identities = identities.clone();
    config.worker.tls = base::tls_server(None, identities.as_ref(), &config.tls)?;
    certificates.commit(fresh);
    let tls = config.worker.tls.clone();
    let places = Places::complete(chosen, config, &listened, &[], &facts)?;
    places.report(config);
    warn_of_exposed(config);
    places.check_backend(config)?;
    let site = (&places, &listened);
    let settings = web::settings(config, site, identities.as_ref(), generated.as_ref());
    web.replace(settings, &config.worker.proxies);
    let alternates = Others::new(&config.redirect, clock);
    let (ready_file, sandbox) = (None, Sandbox::default());
    let base = Base {
        places,
        listened,
        certificates,
        tls,
        alternates,
        master,
        itself,
        stores,
        generated,
        ready_file,
        sandbox,
        web,
    };
    Ok((base, Open { sockets, endpoint, admin_socket, doors, echoes }))
}

/// Starts the workers, and before them whoever hears of what they do.
fn work(
    config: &Config,
    base: &mut Base,
    sockets: Sockets,
    realms: &Arc<Realms>,
    clock: Clock,
) -> Result<Working, StartError> {
    let settings = Arc::new(base.turn_settings(config, &base.places, Vec::new()));
    let ledger = Arc::new(Ledger::new(&settings));
    let (accounts, records) = Accounts::start(config, clock)?;
    let (events, queue) = Events::queue(QUEUE);
    let events = events.with(records);
    let log_thread =
        log::spawn(queue).map_err(|error| StartError::System("a thread for the log", error))?;
    let workers =
        Workers::start(sockets, &config.worker, &settings, realms, &ledger, clock, &events)
            .map_err(|error| StartError::System("what a worker needs", error))?;
    base.stores.serve(&workers, clock);
    log_datapath(config.worker.trains, workers.offload());
    workers.set_verbose(config.log.level >= Level::Debug);
    base.alternates.commit(Arc::clone(&settings.alternates), &config.redirect, &config.auth);
    Ok(Working { workers, ledger, accounts, lost: Lost::of(events), log_thread })
}

/// Answers on the admin endpoint and on the admin socket from now on.
fn serve_admin(
    admin: &Arc<Admin>,
    endpoint: Option<std::net::TcpListener>,
    socket: Option<(Socket, UnixListener)>,
) -> Result<Option<Socket>, StartError> {
    if let Some(listener) = endpoint {
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|error| StartError::System("the admin endpoint", error))?;
        tokio::spawn(Arc::clone(admin).serve(listener));
    }
    let Some((socket, listener)) = socket else { return Ok(None) };
    let listener = tokio::net::UnixListener::from_std(listener)
        .map_err(|error| StartError::System("the admin socket", error))?;
    tokio::spawn(Arc::clone(admin).serve_socket(listener));
    Ok(Some(socket))
}

/// Tells the owner of a server that was told nothing how to come in.
fn invite(config: &Config, base: &Base, clock: Clock) {
    let Some(secret) = &base.generated else { return };
    // What NAT discovery adds is not where clients are to begin.
    let listeners = base.listened.listening.configured(&config.worker.listeners);
    let urls = uris::over(&listeners, &base.places.relays());
    let key = web::own_secret(config, Some(secret));
    let links = key.map(|key| invitation::links(&listeners, &urls, &key)).unwrap_or_default();
    let json = invitation::ice_servers(secret, &config.auth, &urls, clock.now().unix);
    invitation::print(&json, &links);
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
