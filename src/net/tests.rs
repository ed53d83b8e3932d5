//! Datagrams over loopback through the whole room: poller, receive batch, send batch, error queue.

mod classes;
mod histories;
mod mtu;
mod plan;
mod receive;
mod send;
mod trains;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use super::*;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A datagram's traffic class and its payload.
type Classified = (u8, Vec<u8>);

/// A receive batch with its own buffers.
struct Inbox {
    buffers: Buffers,
    batch: RecvBatch,
}

impl Inbox {
    fn new(max: usize) -> Self {
        Self { buffers: Buffers::new(max), batch: RecvBatch::new(max) }
    }

    /// Waits until `socket` is readable and receives what is there.
    fn receive(&mut self, socket: &UdpSocket) -> Vec<(Datagram, Vec<u8>)> {
        assert!(wait(socket, Interest::Read).readable());
        let max = self.buffers.slots();
        let count = self.batch.receive(socket.as_fd(), &mut self.buffers, 0, max).unwrap();
        (0..count).map(|i| self.get(i)).collect()
    }

    /// Receives until `count` datagrams have come.
    fn receive_all(&mut self, socket: &UdpSocket, count: usize) -> Vec<(Datagram, Vec<u8>)> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.receive(socket));
        }
        all
    }

    /// Receives until `count` datagrams have come, and cuts trains into them.
    fn datagrams(&mut self, socket: &UdpSocket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let all = self.classified(socket, count).into_iter();
        all.map(|(from, (_, payload))| (from, payload)).collect()
    }

    /// The same with the traffic class of each.
    fn classified(&mut self, socket: &UdpSocket, count: usize) -> Vec<(SocketAddr, Classified)> {
        let mut all = Vec::new();
        while all.len() < count {
            for (datagram, payload) in self.receive(socket) {
                let Datagram { from, traffic_class, .. } = datagram;
                let segments = datagram.segments();
                all.extend(segments.map(|it| (from, (traffic_class, payload[it].to_vec()))));
            }
        }
        all
    }

    fn get(&self, i: usize) -> (Datagram, Vec<u8>) {
        let datagram = self.batch.datagram(i).unwrap();
        let payload = &self.buffers.slot(datagram.slot)[HEADROOM..HEADROOM + datagram.len];
        (datagram, payload.to_vec())
    }
}

/// A send batch with its own buffers, a slot for each datagram.
struct Outbox {
    buffers: Buffers,
    batch: SendBatch,
    next: u32,
}

impl Outbox {
    fn new(max: usize) -> Self {
        Self { buffers: Buffers::new(max), batch: SendBatch::with_capacity(max), next: 0 }
    }

    fn datagram(&mut self, socket: &UdpSocket, to: SocketAddr, payload: &[u8]) -> Outgoing {
        self.datagram_of(socket.as_raw_fd(), to, payload)
    }

    fn datagram_of(&mut self, socket: RawFd, to: SocketAddr, payload: &[u8]) -> Outgoing {
        let slot = self.next;
        self.next += 1;
        let start = HEADROOM + 3;
        self.buffers.slot_mut(slot as usize)[start..start + payload.len()].copy_from_slice(payload);
        Outgoing {
            socket,
            to,
            from: None,
            slot,
            start: start as u32,
            len: payload.len() as u32,
            dont_fragment: false,
            traffic_class: 0,
        }
    }

    /// With trains, if the kernel has them.
    fn segmentation(mut self, on: bool) -> Self {
        self.batch.set_segmentation(on && Offload::probe().send);
        self
    }

    fn push(&mut self, socket: &UdpSocket, to: SocketAddr, payload: &[u8]) {
        let datagram = self.datagram(socket, to, payload);
        self.batch.push(datagram);
    }

    fn flush(&mut self) -> SendReport {
        self.next = 0;
        self.batch.flush(&self.buffers)
    }
}

/// Waits until `socket` is what the interest asks for.
fn wait(socket: &UdpSocket, interest: Interest) -> Event {
    let poller = Poller::new().unwrap();
    poller.add(socket.as_fd(), 1, interest).unwrap();
    let mut events = Events::with_capacity(1);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        poller.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
        // An error wakes up always, also somebody who waits for a datagram.
        match events.get(0) {
            Some(event) if interest == Interest::Errors || event.readable() => return event,
            _ => assert!(Instant::now() < deadline, "nothing happened in 20 seconds"),
        }
    }
}

/// Without trains, and with them if the kernel has them.
fn switches() -> Vec<bool> {
    if Offload::probe() == (Offload { receive: true, send: true }) {
        return vec![false, true];
    }
    println!("note: no UDP_SEGMENT or UDP_GRO here, trains are skipped");
    vec![false]
}

const fn family(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::V4 } else { Family::V6 }
}

fn relay(ip: IpAddr) -> UdpSocket {
    relay_socket((ip, 0).into(), &UdpOptions { receive_buffer: 1 << 20, send_buffer: 0 }).unwrap()
}

/// The loopback addresses of this machine, one per family that it has.
fn loopbacks() -> Vec<IpAddr> {
    if UdpSocket::bind((V6, 0)).is_ok() {
        return vec![V4, V6];
    }
    println!("note: no IPv6 loopback here, IPv6 is skipped");
    vec![V4]
}

/// An address where nobody listens, and nobody can come to listen while the socket lives: it holds the port, but
/// is connected elsewhere, so the kernel answers everybody else with "port unreachable".
fn closed_port(ip: IpAddr) -> (UdpSocket, SocketAddr) {
    let holder = UdpSocket::bind((ip, 0)).unwrap();
    holder.connect((ip, 9)).unwrap();
    let address = holder.local_addr().unwrap();
    (holder, address)
}

fn sent(count: u64) -> SendReport {
    SendReport { sent: count, ..SendReport::default() }
}
