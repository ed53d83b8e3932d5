//! A path between clients and a server that spoils every tenth ChannelData message, and counts what it does.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often those who wait look whether it is over.
const STEP: Duration = Duration::from_millis(20);
/// Every so many messages one meets the fault.
const EVERY: u64 = 10;

/// What happens to a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Drop,
    Duplicate,
    /// It goes behind the next of its flow.
    Delay,
    /// One of its bits is turned.
    Damage,
    /// It goes the way of another client.
    Cross,
}

/// A forwarder that is gone with this value.
pub(crate) struct Path {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    fault: Fault,
    front: UdpSocket,
    server: SocketAddr,
    /// Each client with the socket that stands for it at the server.
    lanes: Mutex<Vec<(SocketAddr, Arc<UdpSocket>)>>,
    done: AtomicU64,
    over: AtomicBool,
    followers: Mutex<Vec<JoinHandle<()>>>,
}

/// What one direction of one flow remembers.
#[derive(Default)]
struct Memory {
    seen: u64,
    held: Option<Vec<u8>>,
}

impl Memory {
    /// Lets go of what was held back for a message that does not come: it was not overtaken.
    fn give_up(&mut self, lane: usize, send: impl Fn(&[u8], usize)) {
        if let Some(held) = self.held.take() {
            send(&held, lane);
        }
    }
}

impl Path {
    pub(crate) fn to(server: SocketAddr, fault: Fault) -> Self {
        let front = bound();
        let shared = Arc::new(Shared {
            fault,
            front,
            server,
            lanes: Mutex::default(),
            done: AtomicU64::new(0),
            over: AtomicBool::new(false),
            followers: Mutex::default(),
        });
        let upward = Arc::clone(&shared);
        let threads = vec![thread::spawn(move || go_up(&upward))];
        Self { shared, threads }
    }

    /// Where clients find the server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.front.local_addr().expect("bound")
    }

    /// How many messages have met the fault.
    pub(crate) fn done(&self) -> u64 {
        self.shared.done.load(Ordering::SeqCst)
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let followers = std::mem::take(&mut *self.shared.followers.lock().expect("no panic"));
        for thread in self.threads.drain(..).chain(followers) {
            thread.join().expect("the path holds");
        }
    }
}

fn bound() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(STEP)).expect("a timeout");
    socket
}

/// From clients to the server.
fn go_up(shared: &Arc<Shared>) {
    let mut buffer = [0; 4096];
    let mut memories: Vec<Memory> = Vec::new();
    let send = |packet: &[u8], lane: usize| {
        let socket = Arc::clone(&shared.lanes.lock().expect("no panic")[lane].1);
        socket.send_to(packet, shared.server).expect("a way to the server");
    };
    while !shared.over.load(Ordering::SeqCst) {
        let Ok((length, from)) = shared.front.recv_from(&mut buffer) else {
            memories.iter_mut().enumerate().for_each(|(lane, memory)| memory.give_up(lane, send));
            continue;
        };
        let lane = lane_of(shared, from);
        memories.resize_with(memories.len().max(lane + 1), Memory::default);
        shared.pass(&buffer[..length], lane, &mut memories[lane], send);
    }
}

/// From the server to one client.
fn go_down(shared: &Shared, lane: usize) {
    let socket = Arc::clone(&shared.lanes.lock().expect("no panic")[lane].1);
    let (mut buffer, mut memory) = ([0; 4096], Memory::default());
    let send = |packet: &[u8], lane: usize| {
        let client = shared.lanes.lock().expect("no panic")[lane].0;
        shared.front.send_to(packet, client).expect("a way to the client");
    };
    while !shared.over.load(Ordering::SeqCst) {
        let Ok(length) = socket.recv(&mut buffer) else {
            memory.give_up(lane, send);
            continue;
        };
        shared.pass(&buffer[..length], lane, &mut memory, send);
    }
}

fn lane_of(shared: &Arc<Shared>, client: SocketAddr) -> usize {
    let mut lanes = shared.lanes.lock().expect("no panic");
    if let Some(lane) = lanes.iter().position(|(known, _)| *known == client) {
        return lane;
    }
    lanes.push((client, Arc::new(bound())));
    let lane = lanes.len() - 1;
    drop(lanes);
    let downward = Arc::clone(shared);
    let follower = thread::spawn(move || go_down(&downward, lane));
    shared.followers.lock().expect("no panic").push(follower);
    lane
}

impl Shared {
    fn pass(&self, packet: &[u8], lane: usize, memory: &mut Memory, send: impl Fn(&[u8], usize)) {
        if packet.first() != Some(&0x40) {
            return send(packet, lane);
        }
        memory.seen += 1;
        if !memory.seen.is_multiple_of(EVERY) {
            send(packet, lane);
            if let Some(held) = memory.held.take() {
                self.done.fetch_add(1, Ordering::SeqCst);
                send(&held, lane);
            }
            return;
        }
        if self.fault != Fault::Delay {
            self.done.fetch_add(1, Ordering::SeqCst);
        }
        match self.fault {
            Fault::Drop => {}
            Fault::Duplicate => (0..2).for_each(|_| send(packet, lane)),
            Fault::Delay => memory.held = Some(packet.to_vec()),
            Fault::Damage => {
                let mut damaged = packet.to_vec();
                let place = 4 + memory.seen as usize % (packet.len() - 4);
                damaged[place] ^= 1 << (memory.seen % 8);
                send(&damaged, lane);
            }
            Fault::Cross => {
                let lanes = self.lanes.lock().expect("no panic").len();
                send(packet, (lane + 1) % lanes);
            }
        }
    }
}
