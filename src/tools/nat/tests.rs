//! NATs of every kind, simulated: which questions go out, and what is made of what comes back.

use super::discover::{Answer, Behaviour, Change, Found, Socket, Wire, discover};
use super::words;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use Behaviour::{Address, AddressAndPort, Anybody};

/// A NAT in front of a server with two addresses and two ports.
struct Nat {
    /// Without one, a host is seen as it is.
    mapping: Option<Behaviour>,
    filtering: Behaviour,
    hairpin: bool,
    remembers: Duration,
    second_address: bool,
    /// Outer ports, by the inner socket and what the mapping heeds.
    outer: HashMap<(u16, String), u16>,
    fresh: u16,
}

fn server(n: u8, port: u16) -> SocketAddr {
    ([192, 0, 2, n], port).into()
}

impl Nat {
    fn new(mapping: Option<Behaviour>, filtering: Behaviour) -> Self {
        let remembers = Duration::from_secs(65);
        let (outer, fresh) = (HashMap::new(), 3000);
        Self { mapping, filtering, hairpin: false, remembers, second_address: true, outer, fresh }
    }

    fn heeds(behaviour: Behaviour, place: SocketAddr) -> String {
        match behaviour {
            Anybody => String::new(),
            Address => place.ip().to_string(),
            AddressAndPort => place.to_string(),
        }
    }

    fn inner(&self, socket: Socket) -> u16 {
        match socket {
            Socket::First => 1000,
            Socket::Second => 2000,
            Socket::Fresh | Socket::Last => self.fresh,
        }
    }

    fn outer(&mut self, inner: u16, place: SocketAddr) -> SocketAddr {
        let Some(mapping) = self.mapping else {
            return ([10, 0, 0, 1], inner).into();
        };
        let next = 40_000 + self.outer.len() as u16;
        let port = *self.outer.entry((inner, Self::heeds(mapping, place))).or_insert(next);
        ([203, 0, 113, 5], port).into()
    }
}

impl Wire for Nat {
    fn ask(&mut self, from: Socket, place: SocketAddr, change: Change) -> Option<Answer> {
        if from == Socket::Fresh {
            self.fresh += 1;
        }
        let inner = self.inner(from);
        let mapped = self.outer(inner, place);
        let (ip, port) = (place.ip(), place.port());
        let answerer = match change {
            Change::Nothing => place,
            Change::Port => SocketAddr::new(ip, 6957 - port),
            Change::Both => server(if ip == server(1, 0).ip() { 2 } else { 1 }, 6957 - port),
        };
        // The socket has sent to `place` alone, or what it has sent elsewhere does not matter here.
        let heeded = Self::heeds(self.filtering, place) == Self::heeds(self.filtering, answerer);
        let other = self.second_address.then(|| server(2, 6957 - 3478));
        heeded.then_some(Answer { mapped, other })
    }

    fn comes_back(&mut self, _: SocketAddr) -> bool {
        self.hairpin
    }

    fn survives(&mut self, _: SocketAddr, pause: Duration) -> Option<bool> {
        Some(pause < self.remembers)
    }

    fn local(&self) -> SocketAddr {
        ([10, 0, 0, 1], 1000).into()
    }
}

fn look(mut nat: Nat, lifetime: Option<u64>) -> Found {
    discover(&mut nat, server(1, 3478), lifetime.map(Duration::from_secs)).unwrap()
}

#[test]
fn every_kind_of_nat_is_recognised() {
    for mapping in [Anybody, Address, AddressAndPort] {
        for filtering in [Anybody, Address, AddressAndPort] {
            let found = look(Nat::new(Some(mapping), filtering), None);
            assert!(found.nat);
            assert_eq!((found.mapping, found.filtering), (Some(mapping), Some(filtering)));
        }
    }
    let found = look(Nat::new(None, AddressAndPort), None);
    assert_eq!((found.nat, found.filtering), (false, Some(AddressAndPort)));
    assert_eq!(found.hairpin, None);
}

#[test]
fn the_words_say_what_it_means_for_a_call() {
    for (mapping, filtering, kind, meaning) in [
        (Some(Anybody), Anybody, "a full cone NAT", "without TURN"),
        (Some(Anybody), Address, "a restricted cone NAT", "without TURN"),
        (Some(Anybody), AddressAndPort, "a port restricted cone NAT", "without TURN"),
        (Some(AddressAndPort), AddressAndPort, "a symmetric NAT", "they need TURN"),
        (Some(Address), AddressAndPort, "a symmetric NAT", "they need TURN"),
        (None, Anybody, "no NAT and no firewall", "go direct"),
        (None, AddressAndPort, "no NAT, and a firewall", "go direct"),
    ] {
        let page = words::page(&look(Nat::new(mapping, filtering), None));
        assert!(page.contains(kind) && page.contains(meaning), "{page}");
    }
    let mut plain = Nat::new(Some(Anybody), Anybody);
    plain.second_address = false;
    let found = look(plain, None);
    assert_eq!((found.mapping, found.filtering, found.discovery), (None, None, false));
    assert!(words::page(&found).contains("a server with a second address"));
}

#[test]
fn how_long_a_silent_socket_is_remembered_is_found_by_halves() {
    let nat = || Nat::new(Some(Anybody), Anybody);
    let seconds = Duration::from_secs;
    let (known, forgotten) = look(nat(), Some(300)).lifetime.unwrap();
    assert!(known < seconds(65) && forgotten.unwrap() >= seconds(65), "{known:?} {forgotten:?}");
    assert!(forgotten.unwrap() - known <= seconds(10));
    assert_eq!(look(nat(), Some(40)).lifetime, Some((seconds(40), None)));
    // A server without RESPONSE-PORT: even at once nothing comes.
    let mut deaf = nat();
    deaf.remembers = Duration::ZERO;
    assert_eq!(look(deaf, Some(300)).lifetime, None);
    let json: serde_json::Value =
        serde_json::from_str(&words::json(&look(nat(), Some(40)))).unwrap();
    assert_eq!(json["lifetime_seconds"], serde_json::json!([40, null]));
    assert_eq!(json["two_such_need_turn"], false);
}
