//! OpenSSL's DTLS client on a network that is the test itself.

use std::net::{Ipv4Addr, UdpSocket};

use super::{Dtls, PATIENCE, eventually};

/// A client whose datagrams the test carries to the server, one by one.
pub(crate) struct Carried {
    client: Dtls,
    inside: UdpSocket,
    /// What the server sees of it.
    pub(crate) outside: UdpSocket,
}

impl Carried {
    /// It comes to the server from `outside`.
    pub(crate) fn new(outside: UdpSocket) -> Self {
        let inside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let client = Dtls::new(socket_to(&inside));
        let local = client.socket().local_addr().expect("an address");
        inside.connect(local).expect("a route");
        client.socket().set_nonblocking(true).expect("an option");
        Self { client, inside, outside }
    }

    /// What the client sends next.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        self.client.step();
        receive(&self.inside)
    }

    /// Its ClientHello with the cookie.
    pub(crate) fn with_cookie(&mut self) -> Vec<u8> {
        let hello = self.next();
        self.outside.send(&hello).expect("sent");
        let request = loop {
            // What is left of an earlier handshake is passed over.
            let answer = receive(&self.outside);
            if kind(&answer) == 3 {
                break answer;
            }
        };
        self.inside.send(&request).expect("sent");
        loop {
            // On a slow machine OpenSSL may have said the first one again meanwhile; this one is longer.
            let again = self.next();
            if again.len() > hello.len() {
                return again;
            }
        }
    }

    /// Goes as far as proving its address.
    pub(crate) fn half_open(mut self) -> Self {
        let hello = self.with_cookie();
        self.outside.send(&hello).expect("sent");
        self
    }

    /// Goes on to the end.
    pub(crate) fn finish(&mut self) {
        self.inside.set_nonblocking(true).expect("an option");
        self.outside.set_nonblocking(true).expect("an option");
        let mut buffer = [0; 2000];
        eventually("the handshake is complete", || {
            for (from, to) in [(&self.outside, &self.inside), (&self.inside, &self.outside)] {
                while let Ok(length) = from.recv(&mut buffer) {
                    to.send(&buffer[..length]).expect("sent");
                }
            }
            self.client.step().then_some(())
        });
    }
}

fn socket_to(other: &UdpSocket) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.connect(other.local_addr().expect("an address")).expect("a route");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// The next datagram.
pub(crate) fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2000];
    let length = socket.recv(&mut buffer).expect("a datagram");
    buffer.truncate(length);
    buffer
}

/// The type of the first handshake message in a datagram.
pub(crate) fn kind(datagram: &[u8]) -> u8 {
    datagram[13]
}
