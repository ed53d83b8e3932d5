//! Mobility (RFC 8016) over random histories: allocations of two users that move among 5-tuples of
//! three workers, with used and others' tickets, replays and closed connections, against a model
//! of a few lines; and the same with letters that come late and in any order.

mod core;
#[path = "core/mobile.rs"]
mod mobile;
#[path = "core/moves.rs"]
mod moves;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::core::{RELAYS, TestClient, Workers, channel_data};
use crate::mobile::{allocate, bind, challenge, lifetime, mobile_setup, peer, server_with};
use crate::moves::{PLACES, Step, Whose, steps};
use turnwire::stun::{Method, TransactionId, attribute};
use turnwire::turn::{Dropped, FiveTuple, Transport};

const USERS: [(&str, &str); 2] = [("alice", "wonder"), ("bob", "builder")];

/// An allocation as RFC 8016 has it.
#[derive(Clone, Debug)]
struct Call {
    user: usize,
    relay: SocketAddr,
    mobile: bool,
    /// Where its client is, unless its connection has closed.
    at: Option<usize>,
    /// Where its client is moving to.
    next: Option<usize>,
    /// Every ticket it had; the last one is good.
    tickets: Vec<Vec<u8>>,
    /// Who used the last but one, and the answer.
    used: Option<([u8; 12], Vec<u8>)>,
    /// Where it has been, and is last.
    way: Vec<usize>,
}

struct Sent {
    id: [u8; 12],
    call: usize,
    number: usize,
    user: usize,
    packet: Vec<u8>,
}

struct World {
    workers: Workers,
    calls: BTreeMap<usize, Call>,
    /// All there have been: their tickets are tried on.
    gone: BTreeMap<usize, Call>,
    clients: HashMap<(usize, usize), TestClient>,
    sent: HashMap<usize, Sent>,
    /// The call and the number of the ticket in each request of a hasty history.
    asked: HashMap<[u8; 12], (usize, usize)>,
    ids: u64,
    moves: usize,
}

impl World {
    fn new() -> Self {
        let mut setup = mobile_setup();
        setup.turn.limits.unauthenticated_per_second = 0;
        let workers = server_with(setup);
        let (calls, gone) = (BTreeMap::new(), BTreeMap::new());
        let (clients, sent) = (HashMap::new(), HashMap::new());
        let asked = HashMap::new();
        let mut world = Self { workers, calls, gone, clients, sent, asked, ids: 0, moves: 0 };
        for (place, (address, transport, worker)) in PLACES.into_iter().enumerate() {
            for (user, (name, password)) in USERS.into_iter().enumerate() {
                let mut client = TestClient::over(transport, address, name, password);
                client.client.leg = place as u32;
                challenge(&mut world.workers, worker, &mut client);
                world.clients.insert((place, user), client);
            }
        }
        world
    }

    fn tuple(&self, place: usize) -> FiveTuple {
        self.clients[&(place, 0)].client.tuple
    }

    /// The call that has the place, either way.
    fn call_at(&self, place: usize) -> Option<usize> {
        let here = |call: &Call| call.at == Some(place) || call.next == Some(place);
        self.calls.iter().find(|(_, call)| here(call)).map(|(number, _)| *number)
    }

    fn build(
        &mut self,
        place: usize,
        user: usize,
        method: Method,
        fill: impl Fn(&mut turnwire::stun::Writer<'_>),
    ) -> ([u8; 12], Vec<u8>) {
        self.ids += 1;
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.ids.to_be_bytes());
        let client = self.clients.get_mut(&(place, user)).expect("known");
        (id, client.build_with(&TransactionId::new(id), method, fill))
    }

    fn ask(&mut self, place: usize, user: usize, packet: &[u8]) -> crate::core::Response {
        let client = &self.clients[&(place, user)];
        let answer = self.workers.ask(PLACES[place].2, client, packet);
        assert!(answer.code() != 401 && answer.code() != 438);
        answer
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Allocate { place, user, mobile } => self.allocate(place, user, mobile),
            Step::Move { call, back, place, user } => self.send_ticket(call, back, place, user),
            Step::Again { place } => self.send_again(place),
            Step::Data { place } => self.data(place),
            Step::Refresh { place, user, delete } => self.refresh(place, user, delete),
            Step::Close { place } => self.close(place),
            Step::Wait { millis } => self.workers.advance(Duration::from_millis(millis)),
            Step::Read { .. } => {}
        }
        self.compare();
    }

    fn allocate(&mut self, place: usize, user: usize, mobile: bool) {
        let ticket = mobile.then_some(&b""[..]);
        let (_, packet) = self.build(place, user, Method::ALLOCATE, allocate(ticket));
        let answer = self.ask(place, user, &packet);
        if self.call_at(place).is_some() {
            assert_eq!(answer.code(), 437);
            return;
        }
        assert_eq!(answer.code(), 0);
        assert_eq!(answer.has(attribute::MOBILITY_TICKET), mobile);
        let ticket = answer.get(attribute::MOBILITY_TICKET).unwrap_or_default().to_vec();
        let port = answer.relayed()[0].port();
        let call = Call {
            user,
            relay: SocketAddr::new(RELAYS[0].local, port),
            mobile,
            at: Some(place),
            next: None,
            tickets: vec![ticket],
            used: None,
            way: vec![place],
        };
        self.calls.insert(self.calls.len() + self.gone.len(), call);
        let (_, packet) = self.build(place, user, Method::CHANNEL_BIND, bind(0x4000, 0));
        assert_eq!(self.ask(place, user, &packet).code(), 0);
    }

    /// A Refresh with a ticket of some call, living or not.
    fn send_ticket(&mut self, choice: usize, back: usize, place: usize, whose: Whose) {
        let all = self.calls.iter().chain(&self.gone).filter(|(_, call)| call.mobile);
        let all: Vec<_> = all.map(|(number, call)| (*number, call.clone())).collect();
        let Some((number, call)) = all.get(choice % all.len().max(1)) else { return };
        let at = call.tickets.len().saturating_sub(1 + back);
        let user = if whose == Whose::Own { call.user } else { 1 - call.user };
        let ticket = call.tickets[at].clone();
        let fill = mobile::with_ticket(&ticket);
        let (id, packet) = self.build(place, user, Method::REFRESH, fill);
        self.sent.insert(place, Sent { id, call: *number, number: at, user, packet });
        self.send_again(place);
    }

    fn send_again(&mut self, place: usize) {
        let Some(sent) = self.sent.remove(&place) else { return };
        let answer = self.ask(place, sent.user, &sent.packet);
        let expected = self.judge(place, &sent);
        assert_eq!(answer.code(), expected.as_ref().err().copied().unwrap_or(0), "{sent:?}");
        if let Ok(Some(before)) = expected {
            assert_eq!(answer.bytes, before, "not the same answer");
        } else if expected.is_ok() {
            let ticket = answer.get(attribute::MOBILITY_TICKET).expect("a new one").to_vec();
            let call = self.calls.get_mut(&sent.call).expect("it lives");
            assert!(!call.tickets.contains(&ticket));
            call.tickets.push(ticket);
            call.used = Some((sent.id, answer.bytes));
            call.next = Some(place);
            if call.at.is_none() {
                self.arrive(sent.call);
            }
        }
        self.sent.insert(place, sent);
    }

    /// RFC 8016 §3.2.2; the same answer for a retransmission.
    fn judge(&self, place: usize, sent: &Sent) -> Result<Option<Vec<u8>>, u16> {
        let call = self.calls.get(&sent.call).ok_or(437_u16)?;
        let last = call.tickets.len() - 1;
        match self.call_at(place) {
            Some(here) if here == sent.call => match &call.used {
                Some((id, answer))
                    if *id == sent.id && sent.number + 1 == last && sent.user == call.user =>
                {
                    Ok(Some(answer.clone()))
                }
                _ => Err(400),
            },
            Some(_) => Err(437),
            None if sent.number != last => Err(400),
            None if sent.user != call.user => Err(441),
            None => Ok(None),
        }
    }

    fn arrive(&mut self, number: usize) {
        let call = self.calls.get_mut(&number).expect("it lives");
        call.at = call.next.take();
        call.way.extend(call.at);
        self.moves += 1;
    }

    fn data(&mut self, place: usize) {
        let number = self.call_at(place);
        let client = self.clients[&(place, 0)].client;
        self.workers.send(PLACES[place].2, &client, &channel_data(0x4000, b"data"));
        let relayed = std::mem::take(&mut self.workers.to_peers);
        let Some(number) = number else {
            assert!(relayed.is_empty());
            return;
        };
        let call = &self.calls[&number];
        let [one] = &relayed[..] else { panic!("{relayed:?}") };
        assert_eq!((one.from, one.to), (call.relay, peer(0)));
        if call.next == Some(place) {
            self.arrive(number);
        }
    }

    fn refresh(&mut self, place: usize, whose: Whose, delete: bool) {
        let number = self.call_at(place);
        let owner = number.map_or(0, |number| self.calls[&number].user);
        let user = if whose == Whose::Own { owner } else { 1 - owner };
        let fill = lifetime(if delete { 0 } else { 600 });
        let (_, packet) = self.build(place, user, Method::REFRESH, fill);
        let answer = self.ask(place, user, &packet);
        let Some(number) = number else {
            assert_eq!(answer.code(), 437);
            return;
        };
        assert_eq!(answer.code(), if whose == Whose::Own { 0 } else { 441 });
        if whose == Whose::Own && delete {
            self.end(number);
        } else if whose == Whose::Own {
            let call = &self.calls[&number];
            let ticket = call.mobile.then(|| call.tickets.last().expect("one")).map(|it| &it[..]);
            assert_eq!(answer.get(attribute::MOBILITY_TICKET), ticket);
        }
    }

    fn close(&mut self, place: usize) {
        if PLACES[place].1 == Transport::Udp {
            return;
        }
        let client = self.clients[&(place, 0)].client;
        self.workers.disconnected(PLACES[place].2, &client);
        self.workers.settle();
        let Some(number) = self.call_at(place) else { return };
        let call = self.calls.get_mut(&number).expect("it lives");
        if call.next == Some(place) {
            call.next = None;
        } else if call.next.is_some() {
            self.arrive(number);
        } else if call.mobile {
            call.at = None;
        } else {
            self.end(number);
        }
    }

    fn end(&mut self, number: usize) {
        let call = self.calls.remove(&number).expect("it lives");
        let session = self.workers.ended.pop().expect("it has ended");
        let (last, earlier) = call.way.split_last().expect("it was somewhere");
        assert_eq!(session.client, self.tuple(*last));
        let kept = earlier.len().min(8);
        let latest = &earlier[earlier.len() - kept.saturating_sub(1)..];
        let expected = earlier.first().into_iter().chain(latest).take(kept);
        let expected = expected.map(|place| self.tuple(*place)).collect::<Vec<_>>();
        assert_eq!(session.earlier, expected);
        self.gone.insert(number, call);
    }

    /// Everything that can be seen.
    fn compare(&mut self) {
        let live = self.calls.len();
        assert_eq!(self.workers.allocations(), live);
        assert_eq!(self.workers.servers[0].ledger.allocations() as usize, live);
        assert_eq!(self.workers.servers[0].sockets.host.open(), live);
        assert_eq!(self.workers.moves.len(), self.moves);
        assert!(self.workers.ended.is_empty());
        assert_eq!(self.workers.letters(), 0);
        for call in self.calls.values() {
            let found = self.workers.peer_sends(call.relay, peer(0), 1);
            match call.at {
                Some(place) => {
                    let (worker, delivery) = found.expect("it is delivered");
                    assert_eq!(delivery.client.tuple, self.tuple(place));
                    assert_eq!(delivery.client.leg, place as u32);
                    // A datagram's 5-tuple is served where its packets arrive.
                    assert!(PLACES[place].1.is_stream() || worker == PLACES[place].2);
                }
                None => assert_eq!(found, Err(Dropped::Away)),
            }
        }
    }

    /// The same without waiting for letters, as far as that can be told.
    fn hasty_step(&mut self, step: Step) {
        match step {
            Step::Read { choice } => {
                self.workers.read_one(choice);
            }
            Step::Move { call, back, place, user } => {
                let calls: Vec<_> = self.calls.iter().map(|(n, call)| (*n, call.clone())).collect();
                let Some((number, call)) = calls.get(call % calls.len().max(1)) else { return };
                // To places of its own: what two calls do at one is another test's.
                let place = (place / 3 * 3 + number) % PLACES.len();
                let at = call.tickets.len().saturating_sub(1 + back);
                let user = if user == Whose::Own { call.user } else { 1 - call.user };
                let fill = mobile::with_ticket(&call.tickets[at].clone());
                let (id, packet) = self.build(place, user, Method::REFRESH, fill);
                self.asked.insert(id, (*number, at));
                self.sent.insert(place, Sent { id, call: *number, number: at, user, packet });
                self.hasty_step(Step::Again { place });
            }
            Step::Again { place } => {
                if let Some(Sent { packet, .. }) = self.sent.get(&place) {
                    let client = self.clients[&(place, 0)].client;
                    self.workers.arrive(PLACES[place].2, &client, packet);
                }
            }
            Step::Data { place } => {
                let client = self.clients[&(place, 0)].client;
                self.workers.arrive(PLACES[place].2, &client, &channel_data(0x4000, b"data"));
            }
            Step::Close { place } if PLACES[place].1 != Transport::Udp => {
                let client = self.clients[&(place, 0)].client;
                self.workers.disconnected(PLACES[place].2, &client);
            }
            Step::Refresh { place, delete, .. } => {
                let fill = lifetime(if delete { 0 } else { 600 });
                let (_, packet) = self.build(place, 0, Method::REFRESH, fill);
                let client = self.clients[&(place, 0)].client;
                self.workers.arrive(PLACES[place].2, &client, &packet);
            }
            Step::Wait { millis } => {
                for server in &mut self.workers.servers {
                    server.advance(Duration::from_millis(millis));
                }
            }
            Step::Close { .. } | Step::Allocate { .. } => {}
        }
        self.read_answers();
        // On their way, or with a worker: none is lost or there twice.
        let there = self.workers.allocations() + self.workers.arrivals();
        assert_eq!(self.workers.servers[0].ledger.allocations() as usize, there);
        assert_eq!(self.workers.servers[0].sockets.host.open(), there);
    }

    /// Clients take the tickets that have come.
    fn read_answers(&mut self) {
        for (_, answer) in std::mem::take(&mut self.workers.answers) {
            let id = *answer.id().bytes();
            let ticket = answer.get(attribute::MOBILITY_TICKET);
            let (Some((call, used)), Some(ticket)) = (self.asked.get(&id), ticket) else {
                continue;
            };
            let call = self.calls.get_mut(call).expect("it was asked about");
            // RFC 8016 §3.2.2: a ticket moves an allocation once.
            if !call.tickets.iter().any(|it| it == ticket) {
                assert_eq!(used + 1, call.tickets.len(), "a used ticket was good again");
                call.tickets.push(ticket.to_vec());
            }
        }
    }
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ticket {} of call {} as user {}", self.number, self.call, self.user)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn calls_move_as_the_model_says(history in vec(steps(), 1..120)) {
        let mut world = World::new();
        for step in &history {
            world.step(*step);
        }
        world.workers.advance(Duration::from_secs(700));
        prop_assert_eq!(world.workers.ended.len(), world.calls.len());
        world.workers.servers.iter().for_each(|server| server.assert_empty());
    }

    /// Letters are read late, and those for different workers in any order.
    #[test]
    fn late_letters_lose_no_allocation_and_spend_no_ticket_twice(
        history in vec(steps(), 1..150),
        places in vec(0..PLACES.len() / 3, 1..4),
    ) {
        let mut world = World::new();
        for (number, place) in places.into_iter().enumerate() {
            world.allocate(place * 3 + number, number % 2, true);
        }
        world.workers.answers.clear();
        for step in &history {
            world.hasty_step(*step);
        }
        world.workers.settle();
        world.read_answers();
        // Whoever has the ticket finds the allocation, wherever it is by now.
        world.workers.to_peers.clear();
        let numbers: Vec<_> = world.calls.keys().copied().collect();
        for number in numbers {
            let call = world.calls[&number].clone();
            let (name, password) = USERS[call.user];
            let ended = world.workers.servers.iter().all(|s| s.sockets.relay_at(call.relay).is_none());
            for worker in 0..3 {
                let from = format!("198.51.100.9:{}", 2000 + 10 * number + worker);
                let mut client = TestClient::new(&from, name, password);
                let ticket = world.calls[&number].tickets.last().expect("one").clone();
                let fill = mobile::with_ticket(&ticket);
                let answer = world.workers.request(worker, &mut client, Method::REFRESH, fill);
                if ended {
                    prop_assert_eq!(answer.code(), 437);
                    continue;
                }
                prop_assert_eq!(answer.code(), 0);
                let ticket = answer.get(attribute::MOBILITY_TICKET).expect("it").to_vec();
                world.calls.get_mut(&number).expect("it lives").tickets.push(ticket);
                world.workers.send(worker, &client.client, &channel_data(0x4000, b"here"));
                let [one] = &world.workers.to_peers[..] else { panic!("not relayed") };
                prop_assert_eq!(one.from, call.relay);
                world.workers.to_peers.clear();
                let (at, delivery) = world.workers.peer_sends(call.relay, peer(0), 1).expect("it");
                prop_assert_eq!((at, delivery.client.tuple), (worker, client.client.tuple));
            }
        }
        world.workers.advance(Duration::from_secs(700));
        world.workers.servers.iter().for_each(|server| server.assert_empty());
    }
}
