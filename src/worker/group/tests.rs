//! A worker beside another one that reads no letters.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::super::mailbox::Letter;
use super::super::{Change, Datapath, Listening};
use super::*;
use crate::auth::{Algorithm, Authority, Key, Realms, Secret, User};
use crate::stun::{Digest, Kind, Message, Method, TransactionId, Writer, attribute};
use crate::turn::{Client, FiveTuple, Transport};

/// A connection with a peer that would be worker 1's.
const CONNECTION: u32 = 1;

/// Worker 0 of two, and the mailbox of the other.
struct Scene {
    address: SocketAddr,
    listening: Listening,
    live: Live,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Scene {
    fn new() -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = Settings { workers: 1, listeners: vec![loopback], ..Settings::default() };
        let mut sockets = Sockets::bind(&settings).unwrap();
        let listening = sockets.listening().clone();
        let address = listening.addresses()[0];
        let turn = Arc::new(turn::Settings::default());
        let user = User { name: "alice".into(), password: Secret::new("wonder") };
        let auth = crate::auth::Settings { users: vec![user], ..crate::auth::Settings::default() };
        let clock = Clock::start();
        let realms = Arc::new(Realms::single(Authority::new(auth, [7; 16]).unwrap()));
        let live = Live {
            turn: Arc::clone(&turn),
            realms: Arc::clone(&realms),
            streams: settings.streams.clone(),
            dtls: settings.dtls_limits.clone(),
            proxies: Vec::new(),
            web: settings.web.clone(),
            path: Datapath::of(&settings),
        };
        let server = turn::Server::new(
            Arc::clone(&turn),
            realms,
            Arc::new(Ledger::new(&turn)),
            Box::new(SystemRandom::new()),
            clock.now().mono,
        );
        let wakers = [Waker::new(), Waker::new()].map(|waker| Arc::new(waker.unwrap()));
        let shared = Arc::new(Shared::new(&wakers, Followers::new(Arc::default())));
        let engine = Engine::new(Parts {
            server: server.seated(Seat { number: 0, of: 2 }),
            sockets: sockets.workers.remove(0),
            settings: &settings,
            turn: &turn,
            offload: Offload::NONE,
            number: 0,
            workers: 2,
            shared: Arc::clone(&shared),
            stats: Arc::new(Stats::default()),
            waker: Arc::clone(&wakers[0]),
            clock,
            events: Events::queue(16).0,
        });
        let engine = engine.unwrap();
        let thread = Some(std::thread::spawn(move || engine.run()));
        Self { address, listening, live, shared, waker: Arc::clone(&wakers[0]), thread }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.waker.wake();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the worker panicked");
    }
}

/// What a client knows after a challenge: realm and nonce.
type Challenge = (Vec<u8>, Vec<u8>);

fn request(method: Method, challenge: Option<&Challenge>) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let id = TransactionId::new([3; 12]);
    let mut writer = Writer::new(&mut buffer, Kind::request(method), &id);
    if method == Method::CONNECTION_BIND {
        writer.number(attribute::CONNECTION_ID, CONNECTION);
    }
    if let Some((realm, nonce)) = challenge {
        let key =
            Key::derive(Algorithm::Md5, "alice", std::str::from_utf8(realm).unwrap(), "wonder");
        writer.attribute(attribute::USERNAME, b"alice");
        writer.attribute(attribute::REALM, realm);
        writer.attribute(attribute::NONCE, nonce);
        writer.integrity(key.mac(Digest::Sha1));
    }
    let length = writer.finish().unwrap();
    buffer[..length].to_vec()
}

/// Asks, and waits for the answer.
fn ask(stream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).unwrap();
    let mut answer = vec![0; 20];
    stream.read_exact(&mut answer).unwrap();
    let rest = u16::from_be_bytes([answer[2], answer[3]]);
    answer.resize(20 + usize::from(rest), 0);
    stream.read_exact(&mut answer[20..]).unwrap();
    answer
}

fn code(answer: &[u8]) -> u16 {
    let error = Message::parse(answer).unwrap().attribute(attribute::ERROR_CODE);
    error.map_or(0, |error| u16::from(error[2]) * 100 + u16::from(error[3]))
}

fn challenge(stream: &mut TcpStream) -> Challenge {
    let answer = ask(stream, &request(Method::CONNECTION_BIND, None));
    assert_eq!(code(&answer), 401);
    let message = Message::parse(&answer).unwrap();
    let value = |kind| message.attribute(kind).unwrap().to_vec();
    (value(attribute::REALM), value(attribute::NONCE))
}

/// A letter that says nothing.
fn filler() -> Letter {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let tuple = FiveTuple { transport: Transport::Udp, client: nowhere, server: nowhere };
    Letter::Gone(Client { tuple, leg: 0 })
}

#[test]
fn a_connection_for_a_worker_without_room_is_answered_where_it_is_and_goes_on() {
    let scene = Scene::new();
    let mailbox = &scene.shared.mailboxes[1];
    let (mut refused, mut taken) = (scene.connect(), scene.connect());
    let (first, second) = (challenge(&mut refused), challenge(&mut taken));
    while mailbox.post(filler()).is_ok() {}
    let bind = request(Method::CONNECTION_BIND, Some(&first));
    for _ in 0..3 {
        assert_eq!(code(&ask(&mut refused, &bind)), 508);
    }
    assert_eq!(code(&ask(&mut refused, &request(Method::BINDING, None))), 0);

    // With room again, it goes there with what it has said, and whoever reads it has the answer.
    let letters = mailbox.take();
    assert!(letters.iter().all(|letter| matches!(letter, Letter::Gone(_))));
    let mut bytes = request(Method::CONNECTION_BIND, Some(&second));
    taken.write_all(&bytes).unwrap();
    bytes.extend_from_slice(b"and more");
    taken.write_all(b"and more").unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let stream = loop {
        match mailbox.take().pop_front() {
            Some(Letter::Stream(stream)) => break stream,
            Some(_) => panic!("nothing else was posted"),
            None => assert!(Instant::now() < deadline, "no letter"),
        }
        std::thread::yield_now();
    };
    assert_eq!(stream.tuple.client, taken.local_addr().unwrap());
    assert!(bytes.starts_with(&stream.input) && stream.input.len() >= bytes.len() - 8);
    // The first one is still this worker's.
    assert_eq!(code(&ask(&mut refused, &request(Method::BINDING, None))), 0);
}

fn wait_for(change: &Change) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !change.is_done() {
        assert!(Instant::now() < deadline, "the worker does not go by it");
        std::thread::yield_now();
    }
}

/// What its group has lost with it would be lost in silence.
#[test]
fn a_listener_that_cannot_be_served_is_told_of_and_the_others_are_served() {
    let scene = Scene::new();
    let second = SocketAddr::from(([127, 0, 0, 2], 0));
    let listeners = vec![scene.address, second];
    let settings = Settings { workers: 1, listeners, ..Settings::default() };
    let mut sockets = Sockets::rebind(&scene.listening, &settings, false).unwrap();
    let second = sockets.listening().addresses()[1];
    // A file is nothing that can be watched.
    let file: OwnedFd = std::fs::File::open(std::env::current_exe().unwrap()).unwrap().into();
    sockets.workers[0].tcp[0].1 = TcpListener::from(file);
    let change = scene.shared.orders.give(scene.live.clone(), Some(sockets), 1);
    scene.waker.wake();
    wait_for(&change);
    let trouble = change.trouble().expect("some trouble");
    assert!(trouble.starts_with("worker 0: "), "{trouble}");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.send_to(&request(Method::BINDING, None), second).unwrap();
    client.recv(&mut [0; 500]).unwrap();
}

/// A worker that has not seen a change when the next one comes would never open the sockets of the first.
#[test]
fn a_change_is_under_way_until_the_last_worker_goes_by_it() {
    let scene = Scene::new();
    assert!(!scene.shared.orders.is_under_way());
    let change = scene.shared.orders.give(scene.live.clone(), None, 2);
    scene.waker.wake();
    let last = Instant::now() + Duration::from_millis(300);
    while Instant::now() < last {
        assert!(scene.shared.orders.is_under_way() && !change.is_done());
        scene.waker.wake();
    }
    let change = scene.shared.orders.give(scene.live.clone(), None, 1);
    scene.waker.wake();
    wait_for(&change);
    assert!(!scene.shared.orders.is_under_way());
}
