//! A relayed packet costs no heap allocation: counted in the worker's thread, in steady state.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use common::{Client, Peer, channel_message};
use turnwire::auth::{self, Authority, Realms, Secret, User};
use turnwire::tls::{self, Identities, Identity};
use turnwire::turn::{self, Ledger, PeerPolicy, PeerRule, RelayAddress};
use turnwire::worker::{self, Clock, Events, Sockets, Workers};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The thread whose allocations are counted; 0 for none.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);
/// One server at a time has the counter.
static TURN: Mutex<()> = Mutex::new(());

/// The system's allocator, which counts for one thread.
struct Counting;

fn note() {
    let watched = WATCHED.load(Ordering::Relaxed);
    // SAFETY: asks for a number.
    if watched != 0 && watched == unsafe { libc::gettid() } {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: all is left to the system's allocator, with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(old, layout) }
    }
}

/// One worker in this process.
struct Server {
    workers: Workers,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let identities = identities();
        let tls =
            tls::Server::new(&identities, &tls::Settings::default()).expect("a server of TLS");
        let settings = worker::Settings {
            workers: 1,
            listeners: vec![(ip, 0).into()],
            tls: Some(tls),
            identities: Some(identities),
            ..worker::Settings::default()
        };
        let relays = vec![RelayAddress { local: ip, advertised: ip }];
        let local = PeerRule { prefix: "127.0.0.0/8".parse().expect("a prefix"), allow: true };
        let ports = turn::PortRange::default();
        let turn = Arc::new(turn::Settings {
            peers: PeerPolicy::new(vec![local], relays.clone(), ports, Vec::new()),
            relays,
            ..turn::Settings::default()
        });
        let auth = auth::Settings {
            users: vec![User { name: "alice".to_owned(), password: Secret::new("wonderland") }],
            ..auth::Settings::default()
        };
        let authority =
            Arc::new(Realms::single(Authority::new(auth, [7; 16]).expect("valid settings")));
        let ledger = Arc::new(Ledger::new(&turn));
        let sockets = Sockets::bind(&settings).expect("free ports");
        let address = sockets.listening().addresses()[0];
        let (events, _) = Events::queue(16);
        let clock = Clock::start();
        let workers =
            Workers::start(sockets, &settings, &turn, &authority, &ledger, clock, &events);
        Self { workers: workers.expect("a worker"), address }
    }

    /// The worker's thread, as the kernel numbers it.
    fn thread(&self) -> i32 {
        let tasks = fs::read_dir("/proc/self/task").expect("procfs");
        tasks
            .filter_map(|task| Some(task.ok()?.path()))
            .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|it| it == "worker-0\n"))
            .and_then(|task| task.file_name()?.to_str()?.parse().ok())
            .expect("the worker's thread")
    }
}

/// Who vouches for the server.
static ROOT: LazyLock<common::Authority> = LazyLock::new(|| common::Authority::new("root"));

/// A certificate, for those who want one.
fn identities() -> Arc<Identities> {
    let issued = ROOT.issue("localhost", 80);
    let identity = Identity::from_pem(issued.chain.as_bytes(), issued.key.as_bytes());
    Arc::new(Identities::new(vec![identity.expect("a certificate")]).expect("one"))
}

/// What ten thousand packets, or a few more, have taken.
struct Cost {
    allocations: u64,
    to_peer: u64,
    to_client: u64,
}

fn assert_no_allocation(
    connect: fn(SocketAddr) -> Client,
    packets_each: u64,
    round: impl FnMut(&mut Client, &Peer, SocketAddr),
) {
    let cost = cost(connect, packets_each, round);
    assert_eq!(cost.allocations, 0, "for {} packets", cost.to_peer + cost.to_client);
}

/// Relays by `round` until all is warm, then counts what ten thousand packets more allocate.
fn cost(
    connect: fn(SocketAddr) -> Client,
    packets_each: u64,
    mut round: impl FnMut(&mut Client, &Peer, SocketAddr),
) -> Cost {
    let _mine = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start();
    let (mut client, peer) = (connect(server.address), Peer::new());
    let relayed = client.allocate();
    client.bind(0x4000, peer.address);
    for _ in 0..1000 / packets_each {
        round(&mut client, &peer, relayed);
    }
    COUNT.store(0, Ordering::Relaxed);
    WATCHED.store(server.thread(), Ordering::Relaxed);
    let stats = Arc::clone(&server.workers.stats()[0]);
    let relayed_so_far = || [stats.turn.to_peer_packets.get(), stats.turn.to_client_packets.get()];
    let before = relayed_so_far();
    for _ in 0..10_000 / packets_each {
        round(&mut client, &peer, relayed);
    }
    WATCHED.store(0, Ordering::Relaxed);
    let now = relayed_so_far();
    let [to_peer, to_client] = [0, 1].map(|way| now[way] - before[way]);
    assert!(to_peer + to_client >= 10_000, "{to_peer} {to_client}");
    server.workers.stop();
    Cost { allocations: COUNT.load(Ordering::Relaxed), to_peer, to_client }
}

const BURST: usize = 20;
const PAYLOAD: [u8; 1201] = [9; 1201];

/// A burst to the peer and one back.
fn echo(
    client: &mut Client,
    peer: &Peer,
    relayed: SocketAddr,
    send: impl Fn(&mut Client, SocketAddr),
) {
    (0..BURST).for_each(|_| send(client, peer.address));
    for _ in 0..BURST {
        assert_eq!(peer.payload().len(), PAYLOAD.len());
    }
    (0..BURST).for_each(|_| peer.send(relayed, &PAYLOAD));
    for _ in 0..BURST {
        client.read();
    }
}

fn channels(client: &mut Client, peer: &Peer, relayed: SocketAddr) {
    echo(client, peer, relayed, |client, _| client.channel(0x4000, &PAYLOAD));
}

/// Another port of the peer has no channel: its packets come in Data indications.
fn indications() -> impl FnMut(&mut Client, &Peer, SocketAddr) {
    let neighbour = Peer::new();
    move |client, _, relayed| {
        echo(client, &neighbour, relayed, |client, peer| client.send(peer, &PAYLOAD));
    }
}

#[test]
fn channel_data_over_udp_allocates_nothing() {
    assert_no_allocation(Client::udp_to, 2 * BURST as u64, channels);
}

#[test]
fn indications_over_udp_allocate_nothing() {
    assert_no_allocation(Client::udp_to, 2 * BURST as u64, indications());
}

#[test]
fn channel_data_over_tcp_allocates_nothing() {
    assert_no_allocation(Client::tcp_to, 2 * BURST as u64, channels);
}

#[test]
fn indications_over_tcp_allocate_nothing() {
    assert_no_allocation(Client::tcp_to, 2 * BURST as u64, indications());
}

#[cfg(feature = "dtls")]
#[test]
fn channel_data_over_dtls_allocates_nothing() {
    assert_no_allocation(Client::dtls_to, 2 * BURST as u64, channels);
}

#[cfg(feature = "dtls")]
#[test]
fn indications_over_dtls_allocate_nothing() {
    assert_no_allocation(Client::dtls_to, 2 * BURST as u64, indications());
}

fn over_tls(server: SocketAddr) -> Client {
    let stream = TcpStream::connect(server).expect("a connection");
    Client::on_tls(common::seal(stream, common::trusting(&ROOT)))
}

/// rustls 0.23 has no way around these two: what it opens it puts into a queue as a vector of its own, and a cipher of its
/// (`MessageEncrypter`) gives back a new one. Both are gone before the next record. Nothing else is allocated.
#[test]
fn a_record_of_tls_takes_one_allocation_either_way() {
    for cost in [
        cost(over_tls, 2 * BURST as u64, channels),
        cost(over_tls, 2 * BURST as u64, indications()),
    ] {
        assert_eq!(cost.allocations, cost.to_peer + cost.to_client);
    }
    // What counts is records, not messages.
    let train = channel_message(0x4000, &[9; 100]).repeat(BURST);
    let cost = cost(over_tls, BURST as u64, |client, peer, _| {
        client.write(&train);
        (0..BURST).for_each(|_| assert_eq!(peer.payload(), [9; 100]));
    });
    assert_eq!(cost.allocations, cost.to_peer / BURST as u64);
}

/// A stream cuts messages anywhere: the beginning of one waits for its end without a new place
/// in memory each time.
#[test]
fn messages_cut_in_two_by_tcp_allocate_nothing() {
    let mut message = channel_message(0x4000, &PAYLOAD);
    message.resize(message.len().next_multiple_of(4), 0);
    let (head, tail) = message.split_at(700);
    let train = [tail, head].concat();
    let mut begun = false;
    assert_no_allocation(Client::tcp_to, 1, |client, peer, _| {
        if !begun {
            client.write(head);
            begun = true;
        }
        // The end of one and the beginning of the next.
        client.write(&train);
        assert_eq!(peer.payload().len(), PAYLOAD.len());
    });
}

/// The counter counts: an allocation is one, and it is seen.
#[test]
fn the_counter_sees_an_allocation() {
    let _mine = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    COUNT.store(0, Ordering::Relaxed);
    // SAFETY: asks for a number.
    WATCHED.store(unsafe { libc::gettid() }, Ordering::Relaxed);
    let seen = std::hint::black_box(Box::new(7));
    WATCHED.store(0, Ordering::Relaxed);
    assert_eq!((COUNT.load(Ordering::Relaxed), *seen), (1, 7));
}
