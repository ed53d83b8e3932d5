//! A proxy in front of a sound server that breaks one thing. It knows the secret, so that what it has changed is signed
//! again, and tells clients their own addresses: without a deed nobody notices it.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use turnwire::stun::{Class, Frame, Framer, Kind, Method, TransactionId, Writer, attribute};

use super::draft::Draft;

/// What is done wrong.
#[derive(Clone, Copy)]
pub(crate) enum Deed {
    Nothing,
    /// A request or an indication is another when it comes to the server.
    Request(fn(&mut Draft, &mut Memory)),
    /// A response is another when it comes to the client; the request stands beside it.
    Response(fn(&Draft, &mut Draft, &mut Memory)),
    /// Anything that comes from the server, byte by byte.
    Bytes(fn(&mut Vec<u8>, &mut Memory)),
    /// Anything that comes from a client, with what becomes of it.
    Packet(fn(Vec<u8>, &mut Memory) -> Vec<Out>),
    /// The same for what comes from the server.
    Back(fn(Vec<u8>, &mut Memory) -> Vec<Out>),
    /// What one read of a stream has brought.
    Read(fn(&mut Vec<u8>)),
    /// What goes through a data connection of RFC 6062, either way.
    Through(fn(&mut Vec<u8>, bool)),
    /// One end of a data connection stays when the other goes.
    Keep,
}

/// Where something goes.
pub(crate) enum Out {
    Server(Vec<u8>),
    Client(Vec<u8>),
    Peer(SocketAddr, Vec<u8>),
}

/// What the proxy knows of one client, and of all.
#[derive(Default)]
pub(crate) struct Memory {
    requests: HashMap<[u8; 12], Draft>,
    /// The server's last nonce for this client.
    pub(crate) nonce: Vec<u8>,
    /// Who has asked last.
    pub(crate) user: Option<String>,
    /// Whatever a deed wants to know again.
    pub(crate) notes: HashMap<&'static str, Vec<u8>>,
    client: Option<SocketAddr>,
    pub(crate) is_stream: bool,
}

type Shared = Arc<Mutex<Memory>>;

pub(crate) struct Saboteur {
    pub(crate) place: SocketAddr,
    stop: Arc<AtomicBool>,
}

const STEP: Duration = Duration::from_millis(50);
const FRAMER: Framer = Framer { limit: 66_000 };

impl Saboteur {
    pub(crate) fn start(server: SocketAddr, deed: Deed) -> Self {
        let (socket, listener) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()) {
                break (socket, listener);
            }
        };
        let place = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::spawn(move || datagrams(&socket, server, deed, &stopped));
        let stopped = Arc::clone(&stop);
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => connection(stream, server, deed),
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Self { place, stop }
    }
}

impl Drop for Saboteur {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// On a port that no proxy of this test has had: behind it there may be an allocation still, as a deed has kept it from
/// being given up.
fn fresh() -> UdpSocket {
    static HAD: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut others = Vec::new();
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        if HAD.lock().unwrap().insert(socket.local_addr().unwrap().port()) {
            return socket;
        }
        // Held meanwhile, so that the next one is another.
        others.push(socket);
    }
}

fn datagrams(front: &UdpSocket, server: SocketAddr, deed: Deed, stop: &Arc<AtomicBool>) {
    front.set_read_timeout(Some(STEP)).unwrap();
    let mut clients: HashMap<SocketAddr, (Arc<UdpSocket>, Shared)> = HashMap::new();
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = front.recv_from(&mut buffer) else { continue };
        let (socket, memory) = clients.entry(client).or_insert_with(|| {
            let socket = Arc::new(fresh());
            socket.connect(server).unwrap();
            let memory = Memory { client: Some(client), ..Memory::default() };
            let memory: Shared = Arc::new(Mutex::new(memory));
            let (back, front) = (Arc::clone(&socket), front.try_clone().unwrap());
            let (known, stop) = (Arc::clone(&memory), Arc::clone(stop));
            thread::spawn(move || {
                back.set_read_timeout(Some(STEP)).unwrap();
                let mut buffer = vec![0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    let Ok(length) = back.recv(&mut buffer) else { continue };
                    let outs = answered(deed, &known, buffer[..length].to_vec());
                    deliver(
                        outs,
                        |it| back.send(it).map(drop),
                        |it| front.send_to(it, client).map(drop),
                    );
                }
            });
            (socket, memory)
        });
        let outs = asked(deed, memory, buffer[..length].to_vec());
        deliver(outs, |it| socket.send(it).map(drop), |it| front.send_to(it, client).map(drop));
    }
}

fn connection(client: TcpStream, server: SocketAddr, deed: Deed) {
    client.set_nonblocking(false).unwrap();
    let Ok(upstream) = TcpStream::connect(server) else { return };
    let memory = Memory { client: client.peer_addr().ok(), is_stream: true, ..Memory::default() };
    let memory: Shared = Arc::new(Mutex::new(memory));
    // A bound data connection carries what is not STUN.
    let raw = Arc::new(AtomicBool::new(false));
    for downwards in [false, true] {
        let (mut from, to) = match downwards {
            true => (upstream.try_clone().unwrap(), client.try_clone().unwrap()),
            false => (client.try_clone().unwrap(), upstream.try_clone().unwrap()),
        };
        let (mut up, mut down) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
        let (memory, raw) = (Arc::clone(&memory), Arc::clone(&raw));
        thread::spawn(move || {
            let (mut buffer, mut partial) = (vec![0; 65_536], Vec::new());
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let mut read = buffer[..length].to_vec();
                if let (Deed::Read(deed), false) = (deed, downwards) {
                    deed(&mut read);
                }
                partial.extend_from_slice(&read);
                while let Some(message) = cut(&mut partial, raw.load(Ordering::SeqCst)) {
                    if downwards && is_bound(&message) {
                        raw.store(true, Ordering::SeqCst);
                    }
                    let mut message = message;
                    if let (Deed::Through(deed), true) =
                        (deed, raw.load(Ordering::SeqCst) && !is_bound(&message))
                    {
                        deed(&mut message, downwards);
                    }
                    let outs = match (raw.load(Ordering::SeqCst) && !is_bound(&message), downwards)
                    {
                        (true, true) => vec![Out::Client(message)],
                        (true, false) => vec![Out::Server(message)],
                        (false, true) => answered(deed, &memory, message),
                        (false, false) => asked(deed, &memory, message),
                    };
                    deliver(outs, |it| up.write_all(it), |it| down.write_all(it));
                }
            }
            if matches!(deed, Deed::Keep) && raw.load(Ordering::SeqCst) {
                // Until the test is over.
                thread::sleep(Duration::from_secs(30));
            }
            let _ = to.shutdown(std::net::Shutdown::Both);
            let _ = from.shutdown(std::net::Shutdown::Both);
        });
    }
}

fn is_bound(message: &[u8]) -> bool {
    message.starts_with(&Kind::success(Method::CONNECTION_BIND).bits().to_be_bytes())
}

/// The next message, or all there is of what is none.
fn cut(partial: &mut Vec<u8>, raw: bool) -> Option<Vec<u8>> {
    if partial.is_empty() {
        return None;
    }
    let end = match FRAMER.next(partial) {
        _ if raw => partial.len(),
        Ok(Frame::Message { consumed, .. }) => consumed,
        Ok(Frame::Partial { .. }) => return None,
        Err(_) => partial.len(),
    };
    let rest = partial.split_off(end);
    Some(std::mem::replace(partial, rest))
}

fn deliver(
    outs: Vec<Out>,
    mut up: impl FnMut(&[u8]) -> std::io::Result<()>,
    mut down: impl FnMut(&[u8]) -> std::io::Result<()>,
) {
    for out in outs {
        // Whoever has gone does not mind.
        let _ = match out {
            Out::Server(bytes) => up(&bytes),
            Out::Client(bytes) => down(&bytes),
            Out::Peer(peer, bytes) => {
                UdpSocket::bind("127.0.0.1:0").and_then(|it| it.send_to(&bytes, peer)).map(drop)
            }
        };
    }
}

/// What becomes of what a client sends.
fn asked(deed: Deed, memory: &Shared, bytes: Vec<u8>) -> Vec<Out> {
    let mut memory = memory.lock().unwrap();
    let Some(mut draft) = Draft::read(&bytes, None) else {
        return match deed {
            Deed::Packet(deed) => deed(bytes, &mut memory),
            _ => vec![Out::Server(bytes)],
        };
    };
    memory.user = draft.text(attribute::USERNAME).or(memory.user.take());
    memory.requests.insert(*draft.id.bytes(), draft.clone());
    match deed {
        Deed::Packet(deed) => deed(bytes, &mut memory),
        Deed::Request(deed) => {
            deed(&mut draft, &mut memory);
            vec![Out::Server(draft.write(None))]
        }
        _ => vec![Out::Server(bytes)],
    }
}

/// What becomes of what the server sends.
fn answered(deed: Deed, memory: &Shared, bytes: Vec<u8>) -> Vec<Out> {
    let mut memory = memory.lock().unwrap();
    let request = bytes.get(8..20).and_then(|id| memory.requests.get(id)).cloned();
    let user = request.as_ref().and_then(|request| request.text(attribute::USERNAME));
    let mut bytes = bytes;
    if let Some(mut draft) = Draft::read(&bytes, user.as_deref()) {
        if let Some(nonce) = draft.get(attribute::NONCE) {
            memory.nonce = nonce.to_vec();
        }
        if let (Some(_), Some(client)) = (draft.get(attribute::XOR_MAPPED_ADDRESS), memory.client) {
            draft.put(attribute::XOR_MAPPED_ADDRESS, &xor(client, &draft.id));
        }
        if let (Deed::Response(deed), Some(request)) = (deed, &request)
            && matches!(draft.kind.class, Class::Success | Class::Error)
        {
            deed(request, &mut draft, &mut memory);
        }
        bytes = draft.write(user.as_deref());
    }
    match deed {
        Deed::Bytes(deed) => deed(&mut bytes, &mut memory),
        Deed::Back(deed) => return deed(bytes, &mut memory),
        _ => {}
    }
    vec![Out::Client(bytes)]
}

/// The value of an address attribute.
pub(crate) fn xor(address: SocketAddr, id: &TransactionId) -> Vec<u8> {
    let mut room = [0; 64];
    let mut writer = Writer::new(&mut room, Kind::request(Method::BINDING), id);
    writer.xor_address(attribute::XOR_MAPPED_ADDRESS, address);
    let length = writer.finish().unwrap();
    room[24..length].to_vec()
}
