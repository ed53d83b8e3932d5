//! NATs of every kind, simulated: which questions go out, and what is made of what comes back.

use super::discover::{Answer, Behaviour, Change, Found, Memory, Socket, Wire, discover};
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
    /// Nothing comes from the second address, whoever is asked.
    second_dead: bool,
    /// Pauses after which the server is still there.
    patience: usize,
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
        let (second_address, second_dead, patience) = (true, false, usize::MAX);
        let hairpin = false;
        Self {
            mapping,
            filtering,
            hairpin,
            remembers,
            second_address,
            second_dead,
            patience,
            outer,
            fresh,
        }
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
        if self.second_dead && answerer.ip() == server(2, 0).ip() {
            return None;
        }
        let other = self.second_address.then(|| server(2, 6957 - 3478));
        heeded.then_some(Answer { mapped, other })
    }

    fn comes_back(&mut self, _: SocketAddr) -> bool {
        self.hairpin
    }

    fn survives(&mut self, _: SocketAddr, pause: Duration) -> Option<bool> {
        self.patience = self.patience.checked_sub(1)?;
        Some(pause < self.remembers)
    }

    fn local(&self) -> SocketAddr {
        ([10, 0, 0, 1], 1000).into()
    }
}

fn look(mut nat: Nat, lifetime: Option<u64>) -> Found {
    discover(&mut nat, server(1, 3478), lifetime.map(Duration::from_secs)).unwrap()
}

fn json(found: &Found) -> serde_json::Value {
    serde_json::from_str(&words::json(found)).unwrap()
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
    assert_eq!((found.mapping, found.filtering, found.other), (None, None, None));
    assert!(words::page(&found).contains("a server with a second address"));
}

#[test]
fn how_long_a_silent_socket_is_remembered_is_found_by_halves() {
    let nat = || Nat::new(Some(Anybody), Anybody);
    let seconds = Duration::from_secs;
    let Memory::Looked(known, forgotten) = look(nat(), Some(300)).memory else { panic!() };
    assert!(known < seconds(65) && forgotten.unwrap() >= seconds(65), "{known:?} {forgotten:?}");
    assert!(forgotten.unwrap() - known <= seconds(10));
    assert_eq!(look(nat(), Some(40)).memory, Memory::Looked(seconds(40), None));
    assert_eq!(look(nat(), None).memory, Memory::Unasked);
    // A server without RESPONSE-PORT: even at once nothing comes.
    let mut deaf = nat();
    deaf.remembers = Duration::ZERO;
    let page = words::page(&look(deaf, Some(300)));
    assert!(
        page.contains("memory      not to be told: the server answers to no other port"),
        "{page}"
    );
    // One that is gone after the pauses of 0, 15, 30, 60 and 120 s: what was found till then is good.
    let mut gone = nat();
    gone.patience = 5;
    assert_eq!(look(gone, Some(300)).memory, Memory::Looked(seconds(60), Some(seconds(120))));
    let page = words::page(&look(Nat::new(None, Anybody), Some(300)));
    assert!(page.contains("not to be told: there is no NAT"), "{page}");
    let untold = json(&look(Nat::new(None, Anybody), Some(300)));
    assert_eq!(untold["lifetime_unknown"], "there is no NAT");
    let json = json(&look(nat(), Some(40)));
    assert_eq!(json["lifetime_seconds"], serde_json::json!([40, null]));
    assert_eq!(json["lifetime_unknown"], serde_json::Value::Null);
    assert_eq!(
        (&json["two_such_need_turn"], &json["second_address_answers"]),
        (&false.into(), &true.into())
    );
}

#[test]
fn a_second_address_that_is_dead_is_no_strict_filter() {
    let found = |mapping, filtering| {
        let mut nat = Nat::new(mapping, filtering);
        nat.second_dead = true;
        look(nat, None)
    };
    for mapping in [None, Some(Anybody), Some(AddressAndPort)] {
        for filtering in [Anybody, Address, AddressAndPort] {
            let found = found(mapping, filtering);
            assert_eq!((found.mapping, found.filtering), (None, None));
            let page = words::page(&found);
            assert!(page.contains("192.0.2.2:3479 does not answer"), "{page}");
            assert!(!page.contains("--nat-alternate"), "{page}");
            let json = json(&found);
            let told = (&json["second_address"], &json["second_address_answers"]);
            assert_eq!(told, (&true.into(), &false.into()));
        }
    }
}
