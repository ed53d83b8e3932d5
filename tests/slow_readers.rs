//! Clients over TLS that do not read for a while: what they cost, whom they disturb, and how they go on. Over plain TCP,
//! tests/streams.rs and tests/data_connections.rs tell the same.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    Client, Inbound, Peer, Sealed, Server, Setup, TcpPeer, Trust, eventually, more_than_buffers,
    new_id, plain, seal, small_window,
};
use turnwire::stun::{Kind, Method};

const CHANNEL: u16 = 0x4000;
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A client that will not read, and somebody who talks to it.
struct Deaf {
    client: Client,
    relayed: SocketAddr,
    peer: Peer,
    sent: u32,
}

impl Deaf {
    fn new(server: &Server, trust: &Trust) -> Self {
        let stream = seal(small_window(server.address()), trust.client());
        let (mut client, peer) = (Client::on_tls(stream), Peer::new());
        let relayed = client.allocate();
        client.bind(CHANNEL, peer.address);
        Self { client, relayed, peer, sent: 0 }
    }

    /// Each packet says which it is, in a length that makes the padding vary.
    fn payload(which: u32) -> Vec<u8> {
        let mut payload = which.to_be_bytes().repeat(200 + which as usize % 50);
        payload.truncate(payload.len() - which as usize % 4);
        payload
    }

    fn burst(&mut self) {
        for _ in 0..50 {
            self.peer.send(self.relayed, &Self::payload(self.sent));
            self.sent += 1;
        }
    }

    /// Reads all there is, which must be whole messages in order; tells how many.
    fn listen(&mut self) -> u64 {
        self.client.write(&plain(Kind::request(Method::BINDING), &new_id(), |_| ()));
        let (mut last, mut heard) = (None, 0);
        while let Inbound::Channel(number, payload) = self.client.inbound() {
            let which = u32::from_be_bytes(payload[..4].try_into().expect("four bytes"));
            assert!(number == CHANNEL && payload == Self::payload(which), "{which}");
            assert!(last < Some(which), "{which} after {last:?}");
            (last, heard) = (Some(which), heard + 1);
        }
        heard
    }
}

/// Nobody waits for a client that does not read: what does not fit is dropped in whole messages and counted, as UDP
/// would, the worker has time for others, and who reads again finds everything in order.
#[test]
fn who_does_not_read_harms_only_itself_and_recovers() {
    const DEAF: usize = 4;
    let trust = Trust::new();
    let queue = "[limits.streams]\nqueue = \"64KiB\"";
    let setup = Setup::with_local_peers().flag("--workers", 1).config(queue);
    let server = setup.certificate(&trust).start();
    let mut all: Vec<Deaf> = (0..DEAF).map(|_| Deaf::new(&server, &trust)).collect();
    let (mut other, friend) = (Client::tls(&server, &trust), Peer::new());
    let other_relay = other.allocate();
    other.bind(CHANNEL, friend.address);
    let mut talk = || {
        friend.send(other_relay, &[1; 1200]);
        assert_eq!(other.channel_data(), (CHANNEL, vec![1; 1200]));
        other.channel(CHANNEL, &[2; 1200]);
        assert_eq!(friend.payload(), [2; 1200]);
    };
    let mut round = |all: &mut [Deaf]| {
        all.iter_mut().for_each(|deaf| (0..4).for_each(|_| deaf.burst()));
        talk();
    };
    // The worker's own buffers are in use before memory is looked at.
    round(&mut all);
    let mut heard: u64 = all.iter_mut().map(Deaf::listen).sum();
    let before = server.resident();
    let mut more_dropped = |all: &mut [Deaf]| {
        let enough = server.drops("queue_full") + 4000;
        while server.drops("queue_full") < enough {
            round(all);
            assert!(all[0].sent < 200_000, "the queue never fills");
        }
        server.resident()
    };
    let [full, overfull] = [more_dropped(&mut all), more_dropped(&mut all)];
    // A queue, and what TLS has sealed of it, each in a buffer of 66 KiB; and what the worker's own buffers still grow.
    let grown = full.saturating_sub(before);
    assert!(grown < DEAF as u64 * (800 << 10), "{grown} bytes for what nobody reads");
    // Of the 3.5 MB that were dropped.
    let grown = overfull.saturating_sub(full);
    assert!(grown < 1 << 20, "{grown} bytes for what was dropped");
    for deaf in &mut all {
        heard += deaf.listen();
        deaf.peer.send(deaf.relayed, b"again");
        assert_eq!(deaf.client.channel_data(), (CHANNEL, b"again".to_vec()));
        deaf.client.channel(CHANNEL, b"and back");
        assert_eq!(deaf.peer.payload(), b"and back");
    }
    let sent: u64 = all.iter().map(|deaf| u64::from(deaf.sent)).sum();
    assert!(heard > 0 && heard < sent, "{heard} of {sent}");
    let dropped = server.drops("queue_full") + server.drops("receive_full");
    assert_eq!(heard + dropped, sent, "{heard} heard");
}

/// RFC 6062 §3, over TLS: "if the relay process is no longer able to write data to the destination of the relayed data,
/// the relay process stops reading data from the source."
#[test]
fn a_data_connection_that_is_not_read_slows_its_peer() {
    const CONNECTIONS: usize = 4;
    let length = more_than_buffers();
    let trust = Trust::new();
    let setup = Setup::with_local_peers().flag("--workers", 1);
    let server = setup.certificate(&trust).start();
    let mut control = Client::tls(&server, &trust);
    control.allocate_tcp();
    let mut stuck: Vec<_> = (0..CONNECTIONS).map(|_| pair(&server, &trust, &mut control)).collect();
    let (mut near, mut far) = pair(&server, &trust, &mut control);
    let before = server.resident();
    let bytes: Vec<u8> = (0..length as u32).map(|number| (number % 251) as u8).collect();
    let sent: Vec<usize> = stuck.iter_mut().map(|(_, far)| fill(far, &bytes)).collect();
    assert!(sent.iter().all(|sent| *sent < length), "{sent:?} bytes went somewhere");
    // The others are served as before.
    far.write_all(b"quick").expect("the peer can send");
    let mut got = [0; 5];
    near.read_exact(&mut got).expect("what the peer has sent");
    let grown = server.resident().saturating_sub(before);
    assert!(grown < CONNECTIONS as u64 * (300 << 10), "{grown} bytes for what nobody reads");
    for ((mut near, far), sent) in stuck.into_iter().zip(sent) {
        far.shutdown(Shutdown::Write).expect("the peer can stop");
        let mut got = Vec::new();
        near.read_to_end(&mut got).expect("an orderly end");
        assert!(got == bytes[..sent], "{} of {sent} bytes", got.len());
    }
}

/// The same in the other direction: the client's kernel is told to wait.
#[test]
fn a_peer_that_does_not_read_slows_its_client() {
    let length = more_than_buffers();
    let trust = Trust::new();
    let server = Setup::with_local_peers().flag("--workers", 1).certificate(&trust).start();
    let mut control = Client::tls(&server, &trust);
    control.allocate_tcp();
    let (mut near, mut far) = pair(&server, &trust, &mut control);
    let before = server.resident();
    let bytes: Vec<u8> = (0..length as u32).map(|number| (number % 251) as u8).collect();
    thread::scope(|scope| {
        let writer = scope.spawn(|| near.write_all(&bytes).and_then(|()| near.flush()));
        let moved = || server.metric("relayed_bytes_total{direction=\"to_peer\"}");
        let mut last = (0, Instant::now());
        eventually("nothing moves any more", || {
            let now = moved();
            if now != last.0 {
                last = (now, Instant::now());
            }
            (now > 0 && last.1.elapsed() > Duration::from_millis(150)).then_some(())
        });
        assert!(last.0 < length as u64 && !writer.is_finished());
        let grown = server.resident().saturating_sub(before);
        assert!(grown < 1 << 20, "{grown} bytes for what nobody reads");
        let mut got = vec![0; length];
        far.read_exact(&mut got).expect("all that was sent");
        assert!(got == bytes);
        writer.join().expect("no panic").expect("the client can send");
    });
}

/// A data connection over TLS and the peer at its other end.
fn pair(server: &Server, trust: &Trust, control: &mut Client) -> (Box<Sealed>, TcpStream) {
    let peer = TcpPeer::at(LOCALHOST);
    let connection = control.connect(peer.address);
    let (far, _) = peer.accept();
    let client = Client::on_tls(seal(small_window(server.address()), trust.client()));
    (client.into_sealed_data(connection), far)
}

/// Writes until nothing more goes in for a while, and tells how much went in.
fn fill(writer: &mut TcpStream, bytes: &[u8]) -> usize {
    writer.set_nonblocking(true).expect("an option");
    let (mut sent, mut since) = (0, Instant::now());
    while sent < bytes.len() && since.elapsed() < Duration::from_millis(150) {
        match writer.write(&bytes[sent..]) {
            Ok(more) => (sent, since) = (sent + more, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => panic!("the writer is cut off: {error}"),
        }
    }
    writer.set_nonblocking(false).expect("an option");
    sent
}
