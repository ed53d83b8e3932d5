//! A call of a mobile client, for the tests of RFC 8016.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::net::SocketAddr;

use crate::core::{RELAYS, Response, Setup, TestClient, Workers, channel_data};
use turnwire::stun::{Method, Writer, attribute};
use turnwire::turn::{Client, Dropped, FiveTuple};

/// The peer of every call.
pub(crate) const PEER: &str = "9.9.9.9:7000";

pub(crate) fn mobile_setup() -> Setup {
    let mut setup = Setup::default();
    setup.turn.mobility = true;
    setup
}

/// Three workers.
pub(crate) fn server_with(setup: Setup) -> Workers {
    Workers::new(setup, 3)
}

/// The peer itself, or another port of it.
pub(crate) fn peer(place: u16) -> SocketAddr {
    let mut peer: SocketAddr = PEER.parse().expect("an address");
    peer.set_port(peer.port() + place);
    peer
}

/// The attributes of an Allocate, with this MOBILITY-TICKET.
pub(crate) fn allocate(ticket: Option<&'static [u8]>) -> impl Fn(&mut Writer<'_>) {
    move |writer| {
        writer.number(attribute::REQUESTED_TRANSPORT, 17 << 24);
        if let Some(ticket) = ticket {
            writer.attribute(attribute::MOBILITY_TICKET, ticket);
        }
    }
}

/// Those of a Refresh.
pub(crate) fn with_ticket(ticket: &[u8]) -> impl Fn(&mut Writer<'_>) + use<> {
    let ticket = ticket.to_vec();
    move |writer| writer.attribute(attribute::MOBILITY_TICKET, &ticket)
}

pub(crate) fn lifetime(seconds: u32) -> impl Fn(&mut Writer<'_>) {
    move |writer| writer.number(attribute::LIFETIME, seconds)
}

/// Those of a ChannelBind.
pub(crate) fn bind(number: u16, place: u16) -> impl Fn(&mut Writer<'_>) {
    move |writer| {
        writer.number(attribute::CHANNEL_NUMBER, u32::from(number) << 16);
        writer.xor_address(attribute::XOR_PEER_ADDRESS, peer(place));
    }
}

/// The client gets a nonce.
pub(crate) fn challenge(workers: &mut Workers, worker: usize, client: &mut TestClient) {
    let nonce = client.nonce.take();
    let packet = client.build(Method::REFRESH, |_| ());
    client.nonce = nonce;
    let answer = workers.ask(worker, client, &packet);
    assert_eq!(answer.code(), 401);
    client.learn(&answer);
}

/// A mobile allocation with channel 0x4000 to the peer.
pub(crate) struct Call {
    /// Who began it.
    pub(crate) client: TestClient,
    pub(crate) answer: Response,
    /// Where its packets leave from.
    pub(crate) relay: SocketAddr,
    /// The ticket that is good.
    pub(crate) ticket: Vec<u8>,
}

impl Call {
    /// A call of alice's at worker 0.
    pub(crate) fn begin(workers: &mut Workers, from: &str) -> Self {
        Self::begin_at(workers, 0, from)
    }

    pub(crate) fn begin_at(workers: &mut Workers, worker: usize, from: &str) -> Self {
        Self::begin_as(workers, worker, TestClient::new(from, "alice", "wonder"))
    }

    pub(crate) fn begin_as(workers: &mut Workers, worker: usize, client: TestClient) -> Self {
        Self::begin_with(workers, worker, client, |_| ())
    }

    /// With more attributes in its Allocate.
    pub(crate) fn begin_with(
        workers: &mut Workers,
        worker: usize,
        mut client: TestClient,
        more: impl Fn(&mut Writer<'_>),
    ) -> Self {
        let answer = workers.request(worker, &mut client, Method::ALLOCATE, |writer| {
            allocate(Some(b""))(writer);
            more(writer);
        });
        assert_eq!(answer.code(), 0);
        let advertised = answer.relayed()[0];
        let relay = RELAYS.iter().find(|relay| relay.advertised == advertised.ip());
        let relay = SocketAddr::new(relay.expect("known").local, advertised.port());
        let bound = workers.request(worker, &mut client, Method::CHANNEL_BIND, bind(0x4000, 0));
        assert_eq!(bound.code(), 0);
        let mut call = Self { client, relay, ticket: Vec::new(), answer: answer.clone() };
        call.take_ticket(&answer);
        call
    }

    /// Moves it to where the other client is, which must work.
    pub(crate) fn move_to(&mut self, workers: &mut Workers, worker: usize, new: &mut TestClient) {
        let answer = workers.request(worker, new, Method::REFRESH, with_ticket(&self.ticket));
        assert_eq!(answer.code(), 0, "{}", answer.reason());
        self.take_ticket(&answer);
    }

    /// RFC 8016 §3.2.2: each response has a new one.
    pub(crate) fn take_ticket(&mut self, answer: &Response) {
        if let Some(ticket) = answer.get(attribute::MOBILITY_TICKET) {
            assert_ne!(self.ticket, ticket, "the same ticket again");
            self.ticket = ticket.to_vec();
        }
    }

    /// Whether what is sent on the channel from there gets to the peer.
    pub(crate) fn relays(&self, workers: &mut Workers, worker: usize, client: &Client) -> bool {
        let before = workers.to_peers.len();
        workers.send(worker, client, &channel_data(0x4000, b"data"));
        match &workers.to_peers[before..] {
            [] => false,
            [one] => {
                assert_eq!((one.from, one.to, &one.data[..]), (self.relay, peer(0), &b"data"[..]));
                true
            }
            more => panic!("relayed {} times", more.len()),
        }
    }

    /// To which client, by which worker, the peer's data goes.
    pub(crate) fn delivered(&self, workers: &mut Workers) -> Result<(usize, FiveTuple), Dropped> {
        let (worker, delivery) = workers.peer_sends(self.relay, peer(0), 10)?;
        Ok((worker, delivery.client.tuple))
    }
}
