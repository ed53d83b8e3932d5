//! Mobility (RFC 8016) of a running server with several workers: clients move between addresses
//! and transports, and nothing of their calls is lost. The kernel chooses a worker by the client's
//! address, so that of many moves some stay at a worker and others do not.

mod common;

use std::io::{Read, Write};
use std::net::SocketAddr;

use common::{Answer, Client, Peer, Server, Setup, TcpPeer, eventually, new_id};
use turnwire::stun::{Method, Writer, attribute};

const CHANNEL: u16 = 0x4000;
/// Calls of one test: with three moves each, all workers meet.
const CALLS: usize = 24;

fn setup(workers: usize) -> Setup {
    Setup::with_local_peers().config("[turn]\nmobility = true").flag("--workers", workers)
}

/// A mobile allocation with a channel to its peer.
struct Call {
    client: Client,
    peer: Peer,
    relayed: SocketAddr,
    ticket: Vec<u8>,
    /// Payloads told apart.
    count: u32,
}

impl Call {
    #[track_caller]
    fn begin(mut client: Client) -> Self {
        let answer = client.try_allocate(|writer| {
            writer.attribute(attribute::MOBILITY_TICKET, &[]);
        });
        assert_eq!(answer.code(), 0, "{}", answer.phrase());
        let peer = Peer::new();
        client.bind(CHANNEL, peer.address);
        let (relayed, ticket) = (answer.relayed(), ticket_of(&answer));
        Self { client, peer, relayed, ticket, count: 0 }
    }

    /// The client goes to another leg; the old one is returned.
    #[track_caller]
    fn move_to(&mut self, mut new: Client) -> Client {
        let answer = refresh(&mut new, &self.ticket);
        assert_eq!(answer.code(), 0, "{}", answer.phrase());
        let ticket = ticket_of(&answer);
        assert_ne!(ticket, self.ticket);
        self.ticket = ticket;
        std::mem::replace(&mut self.client, new)
    }

    fn payload(&mut self) -> Vec<u8> {
        self.count += 1;
        format!("{} of {}", self.count, self.relayed).into_bytes()
    }

    /// From this leg to the peer.
    #[track_caller]
    fn sends_from(&mut self, client: &mut Client) {
        let payload = self.payload();
        client.channel(CHANNEL, &payload);
        assert_eq!(self.peer.receive(), (payload, self.relayed));
    }

    /// From the peer to this leg.
    #[track_caller]
    fn arrives_at(&mut self, client: &mut Client) {
        let payload = self.payload();
        self.peer.send(self.relayed, &payload);
        assert_eq!(client.channel_data(), (CHANNEL, payload));
    }

    /// Both ways on the leg that it has.
    #[track_caller]
    fn works(&mut self) {
        let (there, back) = (self.payload(), self.payload());
        self.client.channel(CHANNEL, &there);
        assert_eq!(self.peer.receive(), (there, self.relayed));
        self.peer.send(self.relayed, &back);
        assert_eq!(self.client.channel_data(), (CHANNEL, back));
    }
}

#[track_caller]
fn ticket_of(answer: &Answer) -> Vec<u8> {
    answer.attribute(attribute::MOBILITY_TICKET).expect("a ticket").to_vec()
}

fn refresh(client: &mut Client, ticket: &[u8]) -> Answer {
    client.request(Method::REFRESH, with(ticket))
}

fn with(ticket: &[u8]) -> impl FnOnce(&mut Writer<'_>) {
    move |writer| writer.attribute(attribute::MOBILITY_TICKET, ticket)
}

/// Moves of both kinds have happened: within a worker, and from one to another.
#[track_caller]
fn assert_both_kinds(server: &Server, moves: usize) {
    assert_eq!(server.metric("allocations_moved_total"), moves as u64);
    let between = server.metric("allocations_handed_over_total");
    assert!(0 < between && between < moves as u64, "{between} of {moves}");
}

/// RFC 8016 §3.2.2, on any of several workers.
#[test]
fn calls_move_among_workers_and_lose_nothing() {
    for workers in [2, 4] {
        let server = setup(workers).start();
        for _ in 0..CALLS {
            let mut call = Call::begin(Client::udp(&server));
            let other = Peer::new();
            call.client.permit(other.address);
            for _ in 0..3 {
                let mut old = call.move_to(Client::udp(&server));
                // Make before break: the old way works in both directions.
                call.sends_from(&mut old);
                call.arrives_at(&mut old);
                // What is asked for at the new one counts.
                call.client.bind(CHANNEL + 1, other.address);
                call.arrives_at(&mut old);
                call.works();
                call.client.channel(CHANNEL + 1, b"too");
                assert_eq!(other.receive(), (b"too".to_vec(), call.relayed));
                other.send(call.relayed, b"back");
                assert_eq!(call.client.channel_data(), (CHANNEL + 1, b"back".to_vec()));
                // The old one is let go, and may have an allocation of its own.
                assert_eq!(old.refresh(600).code(), 437);
            }
            assert_eq!(call.client.refresh(0).code(), 0);
        }
        assert_both_kinds(&server, 3 * CALLS);
        assert_eq!(server.live(), 0);
        assert_eq!(server.drops("handover_full"), 0);
    }
}

/// A client sends as soon as it may, and does not wait for its allocation to come.
#[test]
fn a_burst_on_the_new_way_arrives_whole_and_in_order() {
    const BURST: usize = 60;
    let server = setup(3).start();
    for _ in 0..CALLS {
        let mut call = Call::begin(Client::udp(&server));
        call.move_to(Client::udp(&server));
        let payloads: Vec<_> = (0..BURST).map(|_| call.payload()).collect();
        payloads.iter().for_each(|payload| call.client.channel(CHANNEL, payload));
        for payload in &payloads {
            assert_eq!(call.peer.receive(), (payload.clone(), call.relayed));
        }
        call.works();
    }
    assert_both_kinds(&server, CALLS);
    assert_eq!(server.drops("handover_full"), 0);
}

/// Neither does it wait for that before it asks for more, and it need not ask twice.
#[test]
fn a_request_right_behind_the_first_data_is_answered() {
    let server = setup(3).start();
    for _ in 0..CALLS {
        let mut call = Call::begin(Client::udp(&server));
        let other = Peer::new();
        call.move_to(Client::udp(&server));
        let payload = call.payload();
        call.client.channel(CHANNEL, &payload);
        call.client.bind(CHANNEL + 1, other.address);
        assert_eq!(call.peer.receive(), (payload, call.relayed));
        call.client.channel(CHANNEL + 1, b"too");
        assert_eq!(other.receive(), (b"too".to_vec(), call.relayed));
    }
    assert_both_kinds(&server, CALLS);
}

/// What the peer sends without a pause goes to the old leg, then to the new one: none is lost,
/// while the relay's socket goes from one worker to another.
#[test]
fn a_peer_that_never_pauses_notices_nothing() {
    const BEFORE: u32 = 30;
    const AFTER: u32 = 30;
    // Each moves once: that none of these stays at its worker is one in ten millions.
    const CALLS: usize = 60;
    let server = setup(4).start();
    for _ in 0..CALLS {
        let mut call = Call::begin(Client::udp(&server));
        let mut old = call.move_to(Client::udp(&server));
        let payload = call.payload();
        for number in 0..BEFORE {
            call.peer.send(call.relayed, &number.to_be_bytes());
        }
        call.client.channel(CHANNEL, &payload);
        for number in BEFORE..BEFORE + AFTER {
            call.peer.send(call.relayed, &number.to_be_bytes());
        }
        assert_eq!(call.peer.receive().0, payload);
        // At the latest what is sent now comes by the new leg.
        call.peer.send(call.relayed, &u32::MAX.to_be_bytes());
        let mut got = Vec::new();
        loop {
            let (_, data) = call.client.channel_data();
            let number = u32::from_be_bytes(data.try_into().expect("a number"));
            if number == u32::MAX {
                break;
            }
            got.push(number);
        }
        assert!(got.is_sorted());
        old.fence();
        let first = got.first().copied().unwrap_or(BEFORE + AFTER);
        for number in 0..first {
            assert_eq!(old.channel_data(), (CHANNEL, number.to_be_bytes().to_vec()));
        }
        assert!(old.has_nothing());
        assert_eq!(got, (first..BEFORE + AFTER).collect::<Vec<_>>());
    }
    assert_both_kinds(&server, CALLS);
}

/// UDP to TCP, TCP to TCP and TCP to UDP, with the connection lost before, and after.
#[test]
fn calls_move_between_udp_and_tcp() {
    let server = setup(3).start();
    for round in 0..CALLS {
        let mut call = Call::begin(Client::udp(&server));
        let mut udp = call.move_to(Client::tcp(&server));
        call.sends_from(&mut udp);
        call.arrives_at(&mut udp);
        call.works();
        let mut tcp = call.move_to(Client::tcp(&server));
        call.sends_from(&mut tcp);
        call.arrives_at(&mut tcp);
        if round % 2 == 0 {
            // The client closes the old connection instead of sending on the new one.
            let moved = server.metric("allocations_moved_total");
            drop(tcp);
            eventually("the new way is taken", || {
                (server.metric("allocations_moved_total") > moved).then_some(())
            });
            call.peer.send(call.relayed, b"this way now");
            assert_eq!(call.client.channel_data(), (CHANNEL, b"this way now".to_vec()));
        }
        call.works();
        // Break before make: the connection is gone before the client comes back.
        let before = server.metric("streams_live");
        drop(std::mem::replace(&mut call.client, Client::udp(&server)));
        eventually("the connection is closed", || {
            (server.metric("streams_live") < before).then_some(())
        });
        assert_eq!(server.live(), 1);
        call.peer.send(call.relayed, b"nobody is there");
        eventually("it is dropped", || {
            (server.drops("client_away") == round as u64 + 1).then_some(())
        });
        call.move_to(Client::udp(&server));
        call.peer.send(call.relayed, b"welcome back");
        assert_eq!(call.client.channel_data(), (CHANNEL, b"welcome back".to_vec()));
        call.works();
        assert_eq!(call.client.refresh(0).code(), 0);
    }
    assert_eq!(server.metric("allocations_moved_total"), 3 * CALLS as u64);
    assert_eq!(server.live(), 0);
}

/// Over DTLS as well, where a client that says nothing after its move is not taken for idle.
#[cfg(feature = "dtls")]
#[test]
fn calls_move_to_dtls_from_one_association_to_another_and_back() {
    let trust = common::Trust::new();
    let setup = setup(3).certificate(&trust).config("[limits.dtls]\nidle = \"3s\"");
    let server = setup.start();
    let dtls = || Client::dtls_to(server.address());
    let mut calls: Vec<_> = (0..CALLS).map(|_| Call::begin(Client::udp(&server))).collect();
    let moved: Vec<_> = calls.iter_mut().map(|call| call.move_to(dtls())).collect();
    let mut idle = dtls();
    idle.fence();
    idle.dtls().is_closed_by_server();
    for (call, mut udp) in calls.iter_mut().zip(moved) {
        call.sends_from(&mut udp);
        call.arrives_at(&mut udp);
        call.works();
        let mut first = call.move_to(dtls());
        call.sends_from(&mut first);
        call.arrives_at(&mut first);
        // The client closes its old association instead of sending on the new one.
        first.dtls().close();
        first.dtls().is_closed_by_server();
        call.peer.send(call.relayed, b"this way now");
        assert_eq!(call.client.channel_data(), (CHANNEL, b"this way now".to_vec()));
        call.works();
        call.move_to(Client::udp(&server));
        call.works();
    }
    assert_both_kinds(&server, 3 * CALLS);
    // What they have left is idle now.
    eventually("all are closed", || (server.metric("dtls_associations_live") == 0).then_some(()));
    calls.iter_mut().for_each(Call::works);
}

/// An allocation that relays TCP (RFC 6062) moves from stream to stream, which come to its worker;
/// the connections with its peers stay.
#[test]
fn tcp_allocations_move_from_stream_to_stream() {
    let server = setup(3).start();
    for _ in 0..CALLS {
        let mut old = Client::tcp(&server);
        let answer = old.request(Method::ALLOCATE, |writer| {
            writer.attribute(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
            writer.attribute(attribute::MOBILITY_TICKET, &[]);
        });
        assert_eq!(answer.code(), 0, "{}", answer.phrase());
        let (relayed, ticket) = (answer.relayed(), ticket_of(&answer));
        let first = TcpPeer::at(relayed.ip());
        let connection = old.connect(first.address);
        let (mut peer, _) = first.accept();
        let mut data = Client::tcp(&server).into_data(connection);
        // RFC 6062 §4.1: its client is on a stream.
        assert_eq!(refresh(&mut Client::udp(&server), &ticket).code(), 400);
        let mut new = Client::tcp(&server);
        assert_eq!(refresh(&mut new, &ticket).code(), 0);
        // There are no data on a control connection: what is asked for there tells as much.
        let second = TcpPeer::at(relayed.ip());
        new.connect(second.address);
        assert_eq!(second.accept().1, relayed);
        assert_eq!(old.refresh(600).code(), 437);
        data.write_all(b"goes on").expect("it is open");
        let mut bytes = [0; 7];
        peer.read_exact(&mut bytes).expect("it is open");
        assert_eq!(&bytes, b"goes on");
        assert_eq!(new.refresh(0).code(), 0);
    }
    assert_eq!(server.refusals("needs_stream", 400), CALLS as u64);
    assert_eq!(server.metric("allocations_moved_total"), CALLS as u64);
}

/// RFC 8016 §3.2.2: whoever refuses it, and on whichever worker.
#[test]
fn tickets_of_others_and_used_ones_are_refused() {
    let server = setup(3).start();
    for _ in 0..CALLS {
        let mut call = Call::begin(Client::udp(&server));
        let first = call.ticket.clone();
        assert_eq!(refresh(&mut Client::udp(&server).bob(), &first).code(), 441);
        assert_eq!(refresh(&mut Client::tcp(&server).bob(), &first).code(), 441);
        assert_eq!(refresh(&mut Client::udp(&server), &first[1..]).code(), 400);
        assert_eq!(refresh(&mut call.client, &first).code(), 400);
        let mut taken = Client::udp(&server);
        taken.allocate();
        assert_eq!(refresh(&mut taken, &first).code(), 437);
        assert_eq!(taken.refresh(0).code(), 0);
        call.works();
        // A retransmission gets the same answer, also when the allocation has come meanwhile.
        let mut new = Client::udp(&server);
        let request = new.signed(Method::REFRESH, &new_id(), with(&first));
        let answer = new.exchange(&request);
        assert_eq!(answer.code(), 0);
        assert_eq!(new.exchange(&request), answer);
        call.ticket = ticket_of(&answer);
        let mut old = std::mem::replace(&mut call.client, new);
        call.works();
        assert_eq!(call.client.exchange(&request), answer);
        // Anything else with the used ticket does not.
        assert_eq!(refresh(&mut old, &first).code(), 400);
        assert_eq!(refresh(&mut Client::udp(&server), &first).code(), 400);
        assert_eq!(refresh(&mut Client::tcp(&server), &first).code(), 400);
        call.works();
        assert_eq!(call.client.refresh(0).code(), 0);
        assert_eq!(refresh(&mut Client::udp(&server), &call.ticket).code(), 437);
    }
    let calls = CALLS as u64;
    assert_eq!(server.refusals("wrong_user", 441), 2 * calls);
    assert_eq!(server.refusals("bad_ticket", 400), calls);
    assert_eq!(server.refusals("used_ticket", 400), 3 * calls);
    assert_eq!(server.refusals("same_address", 400), calls);
    assert_eq!(server.refusals("allocation_exists", 437), calls);
    assert_eq!(server.refusals("lost_allocation", 437), calls);
    assert_both_kinds(&server, CALLS);
}

/// RFC 8016 §3.1.2
#[test]
fn without_the_setting_there_is_no_mobility() {
    let server = Setup::with_local_peers().start();
    let mut client = Client::udp(&server);
    let answer = client.try_allocate(|writer| writer.attribute(attribute::MOBILITY_TICKET, &[]));
    assert_eq!(answer.code(), 405);
    assert_eq!(server.refusals("mobility_forbidden", 405), 1);
    client.allocate();
    assert_eq!(refresh(&mut Client::udp(&server), &[b'A'; 32]).code(), 405);
}

/// The log tells of each move, and the session's last line where it has been.
#[test]
fn the_log_tells_of_a_move() {
    let server = setup(2).start();
    let mut call = Call::begin(Client::udp(&server));
    let first = call.client.local();
    call.move_to(Client::udp(&server));
    call.works();
    let second = call.client.local();
    assert_eq!(call.client.refresh(0).code(), 0);
    let line = |what: &str| {
        eventually(what, || {
            server.log().lines().find(|line| line.contains(what)).map(ToOwned::to_owned)
        })
    };
    let moved = line("session moved");
    assert!(moved.contains(&format!("from={first}")), "{moved}");
    assert!(moved.contains(&format!("client={second}")), "{moved}");
    let ended = line("session ended");
    assert!(ended.contains(&format!("client={second}")), "{ended}");
    assert!(ended.contains(&format!("earlier={first}")), "{ended}");
}

/// A worker that stops in the middle of it all ends what it has got.
#[test]
fn allocations_under_way_end_with_the_server() {
    let server = setup(4).start();
    let mut calls: Vec<_> = (0..CALLS).map(|_| Call::begin(Client::udp(&server))).collect();
    for call in &mut calls {
        call.move_to(Client::udp(&server));
        let payload = call.payload();
        call.client.channel(CHANNEL, &payload);
    }
    let log = server.stop();
    let ended = log.lines().filter(|line| line.contains("session ended")).count();
    assert_eq!(ended, CALLS);
}

/// Before it has sent data, its allocation is elsewhere.
#[test]
fn a_guest_is_served_like_any_client() {
    let server = setup(4).start();
    for _ in 0..CALLS {
        let mut call = Call::begin(Client::udp(&server));
        let mut old = call.move_to(Client::udp(&server));
        // Nothing but requests on the new way, for as long as it likes.
        call.client.fence();
        let answer = call.client.refresh(900);
        assert_eq!((answer.code(), answer.lifetime()), (0, 900));
        assert_eq!(ticket_of(&answer), call.ticket);
        assert_eq!(call.client.try_allocate(|_| ()).code(), 437);
        assert_eq!(call.client.refresh(0).code(), 0);
        // It was the last of the allocation, on both legs.
        assert_eq!(old.refresh(600).code(), 437);
        assert_eq!(call.client.refresh(600).code(), 437);
        call.client.allocate();
    }
}
