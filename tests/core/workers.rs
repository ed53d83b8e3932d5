//! Servers that work together as the workers of a process do: letters between them carry what one
//! cannot decide, and allocations go where their clients are.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use super::{Response, Setup, TestClient, TestServer};
use turnwire::stun::{Method, Writer};
use turnwire::time::Mono;
use turnwire::turn::{
    Client, Delivery, Dropped, Effect, FiveTuple, Framing, Move, Moved, RelayId, Session, Verdict,
};

/// How often a packet may be sent on: an allocation may have moved meanwhile.
const HOPS: u8 = 4;

/// What goes from one worker to another.
enum Letter {
    Packet { origin: u32, hops: u8, client: Client, bytes: Vec<u8> },
    Answer { holder: u32, client: Client, until: Option<Mono>, bytes: Vec<u8> },
    Arrival { moved: Moved, sockets: Vec<(usize, SocketAddr)> },
    Gone(Client),
    Stays(FiveTuple),
    Renewed(FiveTuple, Mono),
    Parted(Client),
}

/// A payload that has left a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) data: Vec<u8>,
}

/// Several servers with the letters between them.
pub(crate) struct Workers {
    pub(crate) servers: Vec<TestServer>,
    letters: VecDeque<(usize, Letter)>,
    held: Vec<(usize, Client, Vec<u8>)>,
    /// Answers that clients have got.
    pub(crate) answers: Vec<(Client, Response)>,
    /// What has left for peers.
    pub(crate) to_peers: Vec<Relayed>,
    pub(crate) moves: Vec<Move>,
    pub(crate) ended: Vec<Session>,
    /// Legs that have lost their allocation, by this or another worker.
    pub(crate) idle: Vec<(usize, Client)>,
    /// Allocations that found no room in a mailbox.
    unfollowed: Vec<(usize, Move)>,
    /// Connections that have been handed over.
    streams: HashMap<FiveTuple, usize>,
    /// No letter is taken any more.
    pub(crate) deaf: bool,
}

impl Workers {
    pub(crate) fn new(setup: Setup, count: u32) -> Self {
        Self {
            servers: setup.servers(count),
            letters: VecDeque::new(),
            held: Vec::new(),
            answers: Vec::new(),
            to_peers: Vec::new(),
            moves: Vec::new(),
            ended: Vec::new(),
            idle: Vec::new(),
            unfollowed: Vec::new(),
            streams: HashMap::new(),
            deaf: false,
        }
    }

    /// A packet arrives at a worker, and all letters that follow from it are read.
    pub(crate) fn send(&mut self, worker: usize, client: &Client, packet: &[u8]) {
        self.arrive(worker, client, packet);
        self.settle();
    }

    /// Asks with a request as its owner would, and again when challenged.
    pub(crate) fn request(
        &mut self,
        worker: usize,
        client: &mut TestClient,
        method: Method,
        fill: impl Fn(&mut Writer<'_>),
    ) -> Response {
        let knew = client.nonce.is_some();
        let packet = client.build(method, &fill);
        let mut answer = self.ask(worker, client, &packet);
        if answer.code() == 438 || (answer.code() == 401 && !knew) {
            client.learn(&answer);
            let packet = client.build(method, &fill);
            answer = self.ask(worker, client, &packet);
        }
        if answer.success() {
            let key = client.key();
            assert!(answer.signed(&key).is_some(), "an unsigned success response");
        }
        answer
    }

    /// Sends a request that must be answered, once and to its sender.
    pub(crate) fn ask(&mut self, worker: usize, client: &TestClient, packet: &[u8]) -> Response {
        self.send(worker, &client.client, packet);
        let (to, answer) = self.answers.pop().expect("an answer");
        assert_eq!(to.tuple, client.client.tuple);
        assert!(self.answers.is_empty(), "one answer is enough");
        answer
    }

    /// The worker that a client's packets come to: a connection may have been handed over.
    fn worker_of(&self, worker: usize, client: &Client) -> usize {
        self.streams.get(&client.tuple).copied().unwrap_or(worker)
    }

    /// A packet arrives at a worker.
    pub(crate) fn arrive(&mut self, worker: usize, client: &Client, packet: &[u8]) {
        let worker = self.worker_of(worker, client);
        let verdict = self.servers[worker].receive(client, packet);
        match verdict {
            Verdict::Elsewhere(to) if client.tuple.transport.is_stream() && !self.deaf => {
                assert_ne!(to as usize, worker);
                self.streams.insert(client.tuple, to as usize);
                self.arrive(worker, client, packet);
            }
            Verdict::Elsewhere(to) => {
                let letter = Letter::Packet {
                    origin: worker as u32,
                    hops: 0,
                    client: *client,
                    bytes: packet.to_vec(),
                };
                if !self.post(to as usize, letter) {
                    self.turned_away(worker, client, packet);
                }
            }
            Verdict::Hold => self.held.push((worker, *client, packet.to_vec())),
            verdict => {
                if let Some(answer) = self.act(worker, &verdict, packet) {
                    self.answers.push((*client, answer));
                }
            }
        }
        self.effects(worker);
    }

    fn turned_away(&mut self, worker: usize, client: &Client, packet: &[u8]) {
        let server = &mut self.servers[worker];
        let (now, mut out) = (server.now, vec![0; turnwire::turn::RESPONSE_MAX]);
        let (sockets, stats) = (&mut server.sockets, &server.stats);
        match server.server.receive_here(now, client, packet, &mut out, sockets, stats) {
            Verdict::Reply(reply) => {
                self.answers.push((*client, Response::new(&out[..reply.length])));
            }
            Verdict::Drop(_) => {}
            other => panic!("{other:?} for what nobody takes"),
        }
    }

    /// Does what a verdict says; an answer is returned.
    fn act(&mut self, worker: usize, verdict: &Verdict, packet: &[u8]) -> Option<Response> {
        match verdict {
            Verdict::Reply(reply) => Some(self.servers[worker].reply(reply.length)),
            Verdict::ToPeer(to_peer) => {
                let from = self.servers[worker].sockets.open[&to_peer.relay.index()];
                let data = packet[to_peer.payload.clone()].to_vec();
                self.to_peers.push(Relayed { from, to: to_peer.peer, data });
                None
            }
            _ => None,
        }
    }

    fn post(&mut self, to: usize, letter: Letter) -> bool {
        if self.deaf {
            return false;
        }
        self.letters.push_back((to, letter));
        true
    }

    /// How many allocations are under way.
    pub(crate) fn arrivals(&self) -> usize {
        self.letters.iter().filter(|(_, letter)| matches!(letter, Letter::Arrival { .. })).count()
    }

    /// How many letters are under way.
    pub(crate) fn letters(&self) -> usize {
        self.letters.len()
    }

    /// Reads all letters.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1000 {
            if !self.read_one(0) {
                return;
            }
        }
        panic!("letters without end");
    }

    /// Reads the oldest letter of a worker: of the one that the `choice`th letter is for.
    pub(crate) fn read_one(&mut self, choice: usize) -> bool {
        if self.letters.is_empty() {
            return false;
        }
        let (to, _) = self.letters[choice % self.letters.len()];
        // unwrap: there is that one at least.
        let place = self.letters.iter().position(|(other, _)| *other == to).unwrap();
        let (_, letter) = self.letters.remove(place).unwrap();
        self.read(to, letter);
        self.effects(to);
        true
    }

    fn read(&mut self, worker: usize, letter: Letter) {
        match letter {
            Letter::Packet { origin, hops, client, bytes } => {
                self.read_packet(worker, origin, hops, &client, bytes);
            }
            Letter::Answer { holder, client, until, bytes } => {
                let server = &mut self.servers[worker];
                if let Some(until) = until
                    && !server.server.host(server.now, &client, holder, until)
                {
                    self.post(holder as usize, Letter::Parted(client));
                    return;
                }
                self.answers.push((client, Response::new(&bytes)));
            }
            Letter::Arrival { moved, sockets } => {
                let tuple = moved.client().tuple;
                let server = &mut self.servers[worker];
                let relays = server.server.adopt(moved, &server.stats);
                server.sockets.take_in(&relays, &sockets);
                server.end_revoked(&relays);
                self.take_held(worker, &tuple);
            }
            Letter::Stays(tuple) => {
                self.servers[worker].server.ask_again(&tuple);
                self.take_held(worker, &tuple);
            }
            Letter::Gone(client) => {
                if !self.servers[worker].server.forget_guest(&client.tuple) {
                    return;
                }
                self.idle.push((worker, client));
                self.held.retain(|(_, held, _)| held.tuple != client.tuple);
            }
            Letter::Renewed(tuple, until) => {
                let server = &mut self.servers[worker];
                server.server.prolong_guest(server.now, &tuple, until);
            }
            Letter::Parted(client) => self.disconnected(worker, &client),
        }
    }

    fn take_held(&mut self, worker: usize, tuple: &FiveTuple) {
        let held = std::mem::take(&mut self.held).into_iter();
        let (come, held): (Vec<_>, _) =
            held.partition(|(at, client, _)| *at == worker && client.tuple == *tuple);
        self.held = held;
        come.iter().for_each(|(worker, client, packet)| self.arrive(*worker, client, packet));
    }

    fn read_packet(
        &mut self,
        worker: usize,
        origin: u32,
        hops: u8,
        client: &Client,
        bytes: Vec<u8>,
    ) {
        if origin as usize == worker {
            return self.arrive(worker, client, &bytes);
        }
        let verdict = self.servers[worker].receive_from(Some(origin), client, &bytes);
        match verdict {
            Verdict::Elsewhere(to) if hops < HOPS => {
                let letter = Letter::Packet { origin, hops: hops + 1, client: *client, bytes };
                self.post(to as usize, letter);
            }
            Verdict::Drop(Dropped::NoAllocation) => {
                self.post(origin as usize, Letter::Gone(*client));
            }
            Verdict::Drop(reason) if reason != Dropped::RateLimited => {
                self.post(origin as usize, Letter::Stays(client.tuple));
            }
            verdict => {
                if let Some(answer) = self.act(worker, &verdict, &bytes) {
                    let until = self.servers[worker].server.ends(&client.tuple);
                    let bytes = answer.bytes;
                    let holder = worker as u32;
                    let letter = Letter::Answer { holder, client: *client, until, bytes };
                    self.post(origin as usize, letter);
                }
            }
        }
    }

    /// The client's connection at a worker is gone.
    pub(crate) fn disconnected(&mut self, worker: usize, client: &Client) {
        let worker = self.worker_of(worker, client);
        self.streams.remove(&client.tuple);
        let server = &mut self.servers[worker];
        server.server.disconnected(server.now, client, &mut server.sockets, &server.stats);
        self.effects(worker);
    }

    fn effects(&mut self, worker: usize) {
        while let Some(effect) = self.servers[worker].server.poll_effect() {
            match effect {
                Effect::Ended { session, .. } => self.ended.push(*session),
                Effect::Began(_) | Effect::Usage(_) => {}
                Effect::Case { .. } | Effect::Drops { .. } => {}
                Effect::Moved(moved) => {
                    if moved.worker as usize != worker {
                        self.hand_over(worker, &moved);
                    }
                    self.moves.push(*moved);
                }
                Effect::Released { client, worker: at } => {
                    if at as usize == worker {
                        self.idle.push((worker, client));
                    } else {
                        self.post(at as usize, Letter::Gone(client));
                    }
                }
                Effect::Renewed { client, worker: at, until } => {
                    self.post(at as usize, Letter::Renewed(client.tuple, until));
                }
                Effect::Parted { client, holder } => {
                    self.post(holder as usize, Letter::Parted(client));
                }
                // Nobody is looked for where all are configured.
                Effect::LookUp { .. } => {}
                // TCP allocations have tests of their own.
                Effect::Connect { .. } | Effect::ConnectTimedOut(_) | Effect::Disconnect(_) => {}
            }
        }
    }

    /// Tries again what a full mailbox did not take.
    pub(crate) fn follow_again(&mut self) {
        for (worker, to) in std::mem::take(&mut self.unfollowed) {
            self.hand_over(worker, &to);
        }
        self.settle();
    }

    fn hand_over(&mut self, worker: usize, to: &Move) {
        let server = &mut self.servers[worker];
        let released = server.server.release(&to.to, &server.stats);
        let Some((moved, relays)) = released else { return };
        let sockets = server.sockets.take_out(&relays);
        if self.deaf {
            let server = &mut self.servers[worker];
            let relays = server.server.adopt(moved, &server.stats);
            server.sockets.take_in(&relays, &sockets);
            server.end_revoked(&relays);
            self.unfollowed.push((worker, to.clone()));
            return;
        }
        self.post(to.worker as usize, Letter::Arrival { moved, sockets });
    }

    /// A peer's datagram comes to a relayed transport address: what becomes of it.
    pub(crate) fn peer_sends(
        &mut self,
        relay: SocketAddr,
        peer: SocketAddr,
        length: usize,
    ) -> Result<(usize, Delivery), Dropped> {
        let found = self.servers.iter_mut().enumerate().find_map(|(worker, server)| {
            server.sockets.relay_at(relay).map(|id: RelayId| (worker, server, id))
        });
        let (worker, server, id) = found.expect("its socket is open somewhere");
        let delivery = server.server.from_peer(server.now, id, peer, length, &server.stats)?;
        assert!(!matches!(delivery.framing, Framing::Channel(number) if number.get() < 0x4000));
        Ok((worker, delivery))
    }

    /// Lets time pass at all workers.
    pub(crate) fn advance(&mut self, duration: std::time::Duration) {
        for worker in 0..self.servers.len() {
            self.servers[worker].advance(duration);
            self.effects(worker);
        }
        self.settle();
    }

    /// Allocations on all workers.
    pub(crate) fn allocations(&self) -> usize {
        self.servers.iter().map(|server| server.server.allocations()).sum()
    }
}
