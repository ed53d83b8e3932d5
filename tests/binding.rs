//! Binding requests on the wire: RFC 8489, and RFC 3489 for old clients.

mod common;

use common::{Client, Setup, new_id, plain};
use turnwire::stun::{Class, Kind, Method, TransactionId, attribute, decode_address};

const BINDING: Kind = Kind::request(Method::BINDING);

/// RFC 8489 §7.3.1, §14.2
#[test]
fn xor_mapped_address_is_the_clients_address_over_udp_and_tcp_and_both_families() {
    let server = Setup::new().listen("127.0.0.1:0").listen("[::1]:0").start();
    for listener in server.listeners() {
        for mut client in [Client::udp_to(*listener), Client::tcp_to(*listener)] {
            let id = new_id();
            let answer = client.exchange(&plain(BINDING, &id, |_| ()));
            assert_eq!(answer.message().kind(), Kind::success(Method::BINDING));
            assert_eq!(answer.mapped(), client.local());
            assert_eq!(answer.message().transaction_id(), id);
            // As short as can be: nothing else is asked for.
            assert_eq!(answer.kinds(), [attribute::XOR_MAPPED_ADDRESS]);
        }
    }
    assert_eq!(server.metric("bindings_total"), 4);
}

/// RFC 8489 §12, RFC 3489 §8.1
#[test]
fn a_request_without_the_magic_cookie_gets_mapped_address() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    let id = TransactionId::classic(0x1234_5678, [9; 12]);
    let answer = client.exchange(&plain(BINDING, &id, |_| ()));
    assert_eq!(answer.message().transaction_id(), id);
    let mapped = answer.attribute(attribute::MAPPED_ADDRESS).expect("an address");
    assert_eq!(decode_address(mapped), Ok(client.local()));
    assert_eq!(answer.attribute(attribute::XOR_MAPPED_ADDRESS), None);
}

/// RFC 8489 §14.7
#[test]
fn fingerprint_is_answered_with_fingerprint_and_its_absence_without() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    let with = client.exchange(&plain(BINDING, &new_id(), |writer| writer.fingerprint()));
    assert!(with.message().has_fingerprint());
    let without = client.exchange(&plain(BINDING, &new_id(), |_| ()));
    assert!(!without.message().has_fingerprint());
}

/// RFC 8489 §14.7, §6.3
#[test]
fn a_wrong_fingerprint_is_dropped() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    let mut request = plain(BINDING, &new_id(), |writer| writer.fingerprint());
    *request.last_mut().expect("bytes") ^= 1;
    client.write(&request);
    client.fence();
    assert!(client.has_nothing());
    assert_eq!(server.drops("fingerprint"), 1);
}

/// RFC 8489 §6.3.1, §14.13
#[test]
fn unknown_attributes_are_named_where_they_must_be_understood() {
    let server = Setup::new().start();
    for mut client in Client::both(&server) {
        let answer = client.exchange(&plain(BINDING, &new_id(), |writer| {
            writer.attribute(0x7F01, b"what");
            writer.attribute(0xFF02, b"optional");
            writer.attribute(0x0033, b"");
        }));
        assert_eq!(answer.code(), 420);
        assert_eq!(answer.unknown(), [0x7F01, 0x0033]);
    }
    assert_eq!(server.refusals("unknown_attribute", 420), 2);
    // RFC 8489 §14: below that limit they are ignored.
    let optional = plain(BINDING, &new_id(), |writer| writer.attribute(0xFF02, b"x"));
    assert_eq!(Client::udp(&server).exchange(&optional).code(), 0);
}

/// RFC 5780 §7.2: without a second address, a request to answer from it is not served.
#[test]
fn change_request_is_unknown_unless_it_asks_for_nothing() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    let mut ask = |flags| {
        client.exchange(&plain(BINDING, &new_id(), |writer| {
            writer.attribute(attribute::CHANGE_REQUEST, &[0, 0, 0, flags]);
        }))
    };
    assert_eq!(ask(0).code(), 0);
    assert_eq!(ask(6).unknown(), [attribute::CHANGE_REQUEST]);
}

/// RFC 8489 §6.3.1
#[test]
fn a_retransmission_is_answered_alike() {
    let server = Setup::new().start();
    for mut client in Client::both(&server) {
        let request = plain(BINDING, &new_id(), |writer| writer.fingerprint());
        let first = client.exchange(&request);
        assert_eq!(client.exchange(&request), first);
    }
}

/// RFC 8489 §6.3, §6.3.2, RFC 7983 §7
#[test]
fn what_is_no_request_is_met_with_silence_and_counted() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    let of_class = |class| {
        let kind = Kind { class, method: Method::BINDING };
        plain(kind, &new_id(), |_| ())
    };
    let binding = of_class(Class::Request);
    let mut long = plain(BINDING, &new_id(), |writer| writer.number(attribute::LIFETIME, 1));
    // An attribute that claims more than there is.
    long[23] = 40;
    let noise: [&[u8]; 5] = [b"", b"\x80", b"\x16\xFE\xFD", b"\xFFjunk", &[0x10; 40]];
    let malformed = [
        &binding[..1],
        &binding[..19],
        &[&binding[..], &[0]].concat(),
        &[&binding[..], &[0; 4]].concat(),
        &long,
        // ChannelData that is shorter than it says.
        b"\x40\x00\x00\x09short",
        b"\x40\x00",
    ];
    let unserved = [
        of_class(Class::Success),
        of_class(Class::Error),
        plain(Kind::request(Method(0x0FE)), &new_id(), |_| ()),
        plain(Kind::request(Method::SEND), &new_id(), |_| ()),
        plain(Kind::indication(Method::ALLOCATE), &new_id(), |_| ()),
    ];
    noise.iter().for_each(|packet| client.write(packet));
    malformed.iter().for_each(|packet| client.write(packet));
    unserved.iter().for_each(|packet| client.write(packet));
    client.fence();
    assert!(client.has_nothing());
    assert_eq!(server.drops("noise"), noise.len() as u64);
    assert_eq!(server.drops("malformed"), malformed.len() as u64);
    assert_eq!(server.drops("unserved"), unserved.len() as u64);
}

/// RFC 8489 §6.3.2: it keeps a NAT's binding alive and asks for nothing.
#[test]
fn a_binding_indication_is_not_answered() {
    let server = Setup::new().start();
    for mut client in Client::both(&server) {
        let before = server.metrics();
        client.write(&plain(Kind::indication(Method::BINDING), &new_id(), |_| ()));
        client.fence();
        let dropped = |(series, value): (&String, &u64)| {
            series.contains("drops_total") && before[series] != *value
        };
        assert!(!server.metrics().iter().any(dropped));
        if !client.is_stream() {
            assert!(client.has_nothing());
        }
    }
}
