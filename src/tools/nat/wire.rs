use std::io::{self, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::discover::{Answer, Change, Socket, Wire};
use crate::stun::{
    Class, Kind, Message, Method, TransactionId, Writer, attribute, decode_address,
    decode_xor_address,
};

/// When a question is repeated, and how often, as datagrams get lost: 1.5 s in all. That nothing comes is an answer
/// here, so it is to be waited for a while.
const WAITS: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(300),
    Duration::from_millis(400),
    Duration::from_millis(600),
];
/// CHANGE-REQUEST (RFC 5780 §7.2).
const CHANGE_IP: u32 = 4;
const CHANGE_PORT: u32 = 2;

/// The questions on real sockets.
pub(super) struct Sockets {
    first: UdpSocket,
    second: UdpSocket,
    last: UdpSocket,
    any: SocketAddr,
    local: SocketAddr,
}

impl Sockets {
    /// Sockets of the server's family.
    pub(super) fn open(server: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr =
            if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        let (first, second, last) =
            (UdpSocket::bind(any)?, UdpSocket::bind(any)?, UdpSocket::bind(any)?);
        // Which of this host's addresses it goes out from; nothing is sent for that.
        let probe = UdpSocket::bind(any)?;
        probe.connect(server)?;
        let local = SocketAddr::new(probe.local_addr()?.ip(), first.local_addr()?.port());
        Ok(Self { first, second, last, any, local })
    }

    fn socket(&mut self, which: Socket) -> io::Result<&UdpSocket> {
        if which == Socket::Fresh {
            self.last = UdpSocket::bind(self.any)?;
        }
        Ok(match which {
            Socket::First => &self.first,
            Socket::Second => &self.second,
            Socket::Fresh | Socket::Last => &self.last,
        })
    }
}

impl Wire for Sockets {
    fn ask(&mut self, from: Socket, server: SocketAddr, change: Change) -> Option<Answer> {
        let socket = self.socket(from).ok()?;
        let (id, request) = question(|writer| match change {
            Change::Nothing => {}
            Change::Port => writer.number(attribute::CHANGE_REQUEST, CHANGE_PORT),
            Change::Both => writer.number(attribute::CHANGE_REQUEST, CHANGE_IP | CHANGE_PORT),
        })?;
        WAITS.iter().find_map(|wait| {
            socket.send_to(&request, server).ok()?;
            // A server that cannot answer from elsewhere may answer from here: that tells nothing.
            let fits = |from: SocketAddr| (from == server) == (change == Change::Nothing);
            await_answer(socket, &id, *wait, fits)
        })
    }

    fn comes_back(&mut self, to: SocketAddr) -> bool {
        let Some((_, request)) = question(|_| ()) else { return false };
        WAITS.iter().any(|wait| {
            self.second.send_to(&request, to).is_ok()
                && await_datagram(&self.first, *wait, |datagram, _| datagram == request)
        })
    }

    fn survives(&mut self, server: SocketAddr, pause: Duration) -> Option<bool> {
        let seen = self.ask(Socket::Last, server, Change::Nothing)?.mapped;
        if !pause.is_zero() {
            // It may be the last that is heard for an hour; nobody may be reading.
            let _ = writeln!(io::stderr(), "silent for {} s ...", pause.as_secs());
            std::thread::sleep(pause);
        }
        let port = u32::from(seen.port()) << 16;
        let (id, request) = question(|writer| writer.number(attribute::RESPONSE_PORT, port))?;
        let heard = WAITS.iter().any(|wait| {
            self.second.send_to(&request, server).is_ok()
                && await_answer(&self.last, &id, *wait, |_| true).is_some()
        });
        if heard {
            return Some(true);
        }
        // The server must still be there for silence to mean something.
        self.ask(Socket::Second, server, Change::Nothing).map(|_| false)
    }

    fn local(&self) -> SocketAddr {
        self.local
    }
}

fn question(attributes: impl FnOnce(&mut Writer<'_>)) -> Option<(TransactionId, Vec<u8>)> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).ok()?;
    let (id, mut room) = (TransactionId::new(bytes), [0; 64]);
    let mut writer = Writer::new(&mut room, Kind::request(Method::BINDING), &id);
    attributes(&mut writer);
    let length = writer.finish().ok()?;
    Some((id, room[..length].to_vec()))
}

fn await_answer(
    socket: &UdpSocket,
    id: &TransactionId,
    wait: Duration,
    from: impl Fn(SocketAddr) -> bool,
) -> Option<Answer> {
    let mut found = None;
    await_datagram(socket, wait, |datagram, sender| {
        found = read(datagram, id).filter(|_| from(sender));
        found.is_some()
    });
    found
}

/// Waits for a datagram that is the one.
fn await_datagram(
    socket: &UdpSocket,
    wait: Duration,
    mut is_it: impl FnMut(&[u8], SocketAddr) -> bool,
) -> bool {
    let end = Instant::now() + wait;
    let mut buffer = [0; 1500];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
            return false;
        }
        // An error is that nobody listens there, which a datagram of before has met.
        if let Ok((length, sender)) = socket.recv_from(&mut buffer)
            && is_it(&buffer[..length], sender)
        {
            return true;
        }
    }
}

fn read(datagram: &[u8], id: &TransactionId) -> Option<Answer> {
    let message = Message::parse(datagram).ok()?;
    if message.transaction_id() != *id || message.kind().class != Class::Success {
        return None;
    }
    let plain = |kind| decode_address(message.attribute(kind)?).ok();
    let xor = message.attribute(attribute::XOR_MAPPED_ADDRESS);
    let xor = xor.and_then(|value| decode_xor_address(value, id).ok());
    let mapped = xor.or_else(|| plain(attribute::MAPPED_ADDRESS))?;
    Some(Answer { mapped, other: plain(attribute::OTHER_ADDRESS) })
}
