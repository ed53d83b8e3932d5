//! The ways of real clients, old and new, as they have been seen on the wire.

mod common;

use std::net::{Ipv4Addr, SocketAddr};

use common::{Client, Peer, Setup, channel_message, eventually, new_id, plain};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use turnwire::stun::{Kind, Method, TransactionId, attribute, decode_address};

const CHANNEL: u16 = 0x4000;

/// stun-client and pystun3 speak RFC 3489: no magic cookie, CHANGE-REQUEST with no flag set.
#[test]
fn clients_of_rfc_3489_learn_their_address() {
    let server = Setup::new().start();
    for cookie in [0, 0x4242_4242] {
        let mut client = Client::udp(&server);
        let id = TransactionId::classic(cookie, *b"a 128-bit ID");
        let request = plain(Kind::request(Method::BINDING), &id, |writer| {
            writer.attribute(attribute::CHANGE_REQUEST, &[0; 4]);
        });
        let answer = client.exchange(&request);
        assert_eq!(answer.message().transaction_id(), id);
        let mapped = answer.attribute(attribute::MAPPED_ADDRESS).expect("an address");
        assert_eq!(decode_address(mapped), Ok(client.local()));
    }
}

/// TURN without the magic cookie is nobody's: it came with RFC 5389.
#[test]
fn turn_needs_the_magic_cookie() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    let id = TransactionId::classic(1, [1; 12]);
    client.write(&plain(Kind::request(Method::ALLOCATE), &id, |_| ()));
    client.fence();
    assert!(client.has_nothing());
    assert_eq!(server.drops("unserved"), 1);
}

/// PJSIP and turnutils_uclient pad ChannelData over UDP as if it were a stream.
#[test]
fn channel_data_padded_over_udp_is_relayed_without_its_padding() {
    let server = Setup::with_local_peers().start();
    let (mut client, peer) = (Client::udp(&server), Peer::new());
    client.allocate();
    client.bind(CHANNEL, peer.address);
    for length in 0..=171 {
        let mut message = channel_message(CHANNEL, &vec![0x3C; length]);
        message.resize(message.len().next_multiple_of(4), 0);
        client.write(&message);
        assert_eq!(peer.payload(), vec![0x3C; length]);
    }
}

/// libwebrtc, libnice and PJNATH: neither LIFETIME nor FINGERPRINT. Others send both.
#[test]
fn lifetime_and_fingerprint_may_be_left_out() {
    let server = Setup::new().start();
    let mut bare = Client::udp(&server);
    let answer = bare.try_allocate(|_| ());
    assert_eq!((answer.code(), answer.lifetime()), (0, 600));
    assert!(!answer.message().has_fingerprint());

    let mut full = Client::udp(&server);
    let (challenge, credential) = (full.challenge(), full.credential().clone());
    let request = plain(Kind::request(Method::ALLOCATE), &new_id(), |writer| {
        writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        writer.number(attribute::LIFETIME, 777);
        writer.attribute(attribute::SOFTWARE, b"an old client");
        credential.sign(writer, &challenge);
        writer.fingerprint();
    });
    let answer = full.exchange(&request);
    assert_eq!((answer.code(), answer.lifetime()), (0, 777));
    assert!(answer.message().has_fingerprint());
}

/// Every client has an order of its own, and some pad with what was in their memory.
#[test]
fn attributes_may_stand_in_any_order_with_any_padding() {
    let server = Setup::new().start();
    for turn in 0..6 {
        let mut client = Client::udp(&server);
        let challenge = client.challenge();
        let key = Md5::digest(format!("alice:{}:wonderland", challenge.realm));
        let mut attributes: [(u16, Vec<u8>); 6] = [
            (attribute::USERNAME, b"alice".to_vec()),
            (attribute::REQUESTED_TRANSPORT, vec![17, 0, 0, 0]),
            (attribute::NONCE, challenge.nonce),
            (attribute::LIFETIME, 900_u32.to_be_bytes().to_vec()),
            (attribute::REALM, challenge.realm.into_bytes()),
            (attribute::SOFTWARE, b"any".to_vec()),
        ];
        attributes.rotate_left(turn);
        let mut request = plain(Kind::request(Method::ALLOCATE), &new_id(), |writer| {
            attributes.iter().for_each(|(kind, value)| writer.attribute(*kind, value));
        });
        dirty_padding(&mut request);
        sign_by_hand(&mut request, &key);
        let answer = client.exchange(&request);
        assert_eq!((answer.code(), answer.lifetime()), (0, 900), "{turn}");
    }
}

/// RFC 8489 §14: padding may be of any value and is ignored.
fn dirty_padding(message: &mut [u8]) {
    let mut at = 20;
    while at < message.len() {
        let length = usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
        let (end, next) = (at + 4 + length, at + 4 + length.next_multiple_of(4));
        message[end..next].fill(0xEE);
        at = next;
    }
}

/// RFC 8489 §14.5: the length counts MESSAGE-INTEGRITY, the HMAC does not.
fn sign_by_hand(message: &mut Vec<u8>, key: &[u8]) {
    let length = (message.len() + 24 - 20) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("any length");
    mac.update(message);
    message.extend([0, 8, 0, 20]);
    message.extend(mac.finalize().into_bytes());
}

/// libwebrtc sends Send indications before and around CreatePermission.
#[test]
fn what_is_sent_before_the_permission_is_lost_and_what_follows_is_not() {
    let server = Setup::with_local_peers().start();
    for mut client in Client::both(&server) {
        let (relayed, peer) = (client.allocate(), Peer::new());
        client.send(peer.address, b"too early");
        let permission = client.signed(Method::CREATE_PERMISSION, &new_id(), |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer.address);
        });
        // Right behind the request, before its answer.
        client.write(&permission);
        client.send(peer.address, b"in time");
        assert_eq!(peer.receive(), (b"in time".to_vec(), relayed));
        client.fence();
    }
    assert_eq!(server.drops("no_permission"), 2);
}

/// turnutils_uclient puts 14 peers into one request and names several ports of one host.
#[test]
fn fourteen_peers_on_one_host_take_one_permission() {
    let bound = "[limits]\npermissions = 1";
    let server = Setup::with_local_peers().config(bound).start();
    let mut client = Client::udp(&server);
    client.allocate();
    let peers: Vec<_> =
        (1..=14).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).collect();
    assert_eq!(client.try_permit(&peers).code(), 0);
}

/// turnutils_uclient asks about 60 times without credentials before it gives up, and werift goes
/// over to TCP after a 401: each is challenged each time.
#[test]
fn a_client_may_ask_without_credentials_again_and_again() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    for _ in 0..60 {
        let request = plain(Kind::request(Method::ALLOCATE), &new_id(), |writer| {
            writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        });
        assert_eq!(client.exchange(&request).code(), 401);
    }
    client.allocate();
    Client::tcp(&server).allocate();
    assert_eq!(server.refusals("challenge", 401), 62);
}

/// turnutils_uclient wants an even port unless told otherwise; Debian's version 4.6.1 binds
/// channels of RFC 5766's range.
#[test]
fn uclients_even_ports_and_high_channels_work() {
    let setting = "[turn]\nrfc5766_channels = true";
    let server = Setup::with_local_peers().config(setting).start();
    let (mut client, peer) = (Client::udp(&server), Peer::new());
    let answer = client.try_allocate(|writer| writer.attribute(attribute::EVEN_PORT, &[0]));
    assert_eq!(answer.relayed().port() % 2, 0);
    client.bind(0x7A12, peer.address);
    client.channel(0x7A12, b"hello");
    assert_eq!(peer.payload(), b"hello");
}

/// libnice and Chromium make 8-12 allocations for a call and drop most of them again, over UDP
/// by a Refresh, over TCP by a reset. A quota of that size must hold for call after call.
#[test]
fn calls_that_drop_most_of_their_allocations_stay_within_the_quota() {
    let quota = "[limits]\nallocations_per_user = 12\nallocations_per_address = 12\nexempt = []";
    let server = Setup::new().config(quota).start();
    for _ in 0..10 {
        let mut over_udp: Vec<_> = (0..6).map(|_| Client::udp(&server)).collect();
        let mut over_tcp: Vec<_> = (0..6).map(|_| Client::tcp(&server)).collect();
        for client in over_udp.iter_mut().chain(&mut over_tcp) {
            client.allocate();
        }
        assert_eq!(Client::udp(&server).try_allocate(|_| ()).code(), 486);
        for client in &mut over_udp {
            assert_eq!(client.refresh(0).code(), 0);
        }
        over_tcp.into_iter().for_each(Client::reset);
        eventually("the call is over", || (server.live() == 0).then_some(()));
    }
}

/// Browsers ask for permissions to their peer's private addresses in every call. That is refused
/// and is nothing that an operator has to read about more than once.
#[test]
fn private_candidates_cost_one_line_in_the_log() {
    let server = Setup::new().start();
    let mut client = Client::udp(&server);
    client.allocate();
    for last in 1..=20 {
        let private = SocketAddr::from(([192, 168, 1, last], 54_321));
        let refused = client.try_permit(&[private]);
        assert_eq!(refused.code(), 403);
        let told = "private address of RFC 1918, 192.168.0.0/16; normal if another pair works";
        assert_eq!(refused.phrase(), format!("peer {} denied: {told}", private.ip()));
    }
    assert_eq!(client.refresh(0).code(), 0);
    eventually("the session is logged", || server.log().contains("deleted").then_some(()));
    // The first of them, and the end of the session.
    let log = server.log();
    let [refused, ended] = ["request refused", "session ended"].map(|of| log.matches(of).count());
    assert_eq!((refused, ended), (1, 1), "{log}");
    assert_eq!(server.refusals("peer_denied", 403), 20);
}
