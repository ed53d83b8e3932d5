//! The published test vectors: RFC 5769 §2.1-2.4 and RFC 8489 Appendix B.1, byte for byte.

use turnwire::auth::{Algorithm, Key, prepare, userhash};
use turnwire::stun::{
    Digest, Error, Kind, Mac, Message, Method, TransactionId, Writer, attribute, decode_xor_address,
};

/// The password of RFC 5769 §2.1-2.3: a short-term credential, so it is the key as it stands.
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
/// RFC 5769 §2.4 and RFC 8489 B.1: six katakana.
const USERNAME: &str = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
/// Becomes `TheMatrIX` by SASLprep (RFC 5769 §2.4). RFC 8489 B.1 says so of OpaqueString as well,
/// which in truth forbids the soft hyphen (RFC 8264 §9.13).
const RAW_PASSWORD: &str = "The\u{AD}M\u{AA}tr\u{2168}";
const REALM: &str = "example.org";
const NONCE: &[u8] = b"f//499k954d6OL34oL9FSTvy64sA";

/// The transaction ID of RFC 5769 §2.1-2.3.
const ID: [u8; 12] = *b"\xB7\xE7\xA7\x01\xBC\x34\xD6\x86\xFA\x87\xDF\xAE";
/// The transaction ID of RFC 5769 §2.4 and RFC 8489 B.1.
const LONG_TERM_ID: [u8; 12] = *b"\x78\xAD\x34\x33\xC6\xAD\x72\xC0\x29\xDA\x41\x2E";

/// RFC 5769 §2.1
const REQUEST: &str = "
    00 01 00 58 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
    80 22 00 10 53 54 55 4e 20 74 65 73 74 20 63 6c 69 65 6e 74
    00 24 00 04 6e 00 01 ff
    80 29 00 08 93 2f f9 b1 51 26 3b 36
    00 06 00 09 65 76 74 6a 3a 68 36 76 59 20 20 20
    00 08 00 14 9a ea a7 0c bf d8 cb 56 78 1e f2 b5 b2 d3 f2 49 c1 b5 71 a2
    80 28 00 04 e5 7a 3b cf";

/// RFC 5769 §2.2
const IPV4_RESPONSE: &str = "
    01 01 00 3c 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
    80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20
    00 20 00 08 00 01 a1 47 e1 12 a6 43
    00 08 00 14 2b 91 f5 99 fd 9e 90 c3 8c 74 89 f9 2a f9 ba 53 f0 6b e7 d7
    80 28 00 04 c0 7d 4c 96";

/// RFC 5769 §2.3
const IPV6_RESPONSE: &str = "
    01 01 00 48 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
    80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20
    00 20 00 14 00 02 a1 47 01 13 a9 fa a5 d3 f1 79 bc 25 f4 b5 be d2 b9 d9
    00 08 00 14 a3 82 95 4e 4b e6 7b f1 17 84 c9 7c 82 92 c2 75 bf e3 ed 41
    80 28 00 04 c8 fb 0b 4c";

/// RFC 5769 §2.4
const LONG_TERM: &str = "
    00 01 00 60 21 12 a4 42 78 ad 34 33 c6 ad 72 c0 29 da 41 2e
    00 06 00 12 e3 83 9e e3 83 88 e3 83 aa e3 83 83 e3 82 af e3 82 b9 00 00
    00 15 00 1c 66 2f 2f 34 39 39 6b 39 35 34 64 36 4f 4c 33 34 6f 4c 39 46 53 54 76 79 36 34 73 41
    00 14 00 0b 65 78 61 6d 70 6c 65 2e 6f 72 67 00
    00 08 00 14 f6 70 24 65 6d d6 4a 3e 02 b8 e0 71 2e 85 c9 a2 8c a8 96 66";

/// RFC 8489 B.1 as printed. Its length field says 0x9c: that is the whole message, where the
/// header is not to be counted (§5), so no receiver accepts it; the printed HMAC covers that
/// length as well.
const PRINTED_SHA256: &str = "
    00 01 00 9c 21 12 a4 42 78 ad 34 33 c6 ad 72 c0 29 da 41 2e
    00 1e 00 20 4a 3c f3 8f ef 69 92 bd a9 52 c6 78 04 17 da 0f
                24 81 94 15 56 9e 60 b2 05 c4 6e 41 40 7f 17 04
    00 15 00 29 6f 62 4d 61 74 4a 6f 73 32 41 41 41 43 66 2f 2f 34 39 39 6b
                39 35 34 64 36 4f 4c 33 34 6f 4c 39 46 53 54 76 79 36 34 73 41 00 00 00
    00 14 00 0b 65 78 61 6d 70 6c 65 2e 6f 72 67 00
    00 1c 00 20 e4 68 6c 8f 0e de b5 90 13 e0 70 90 01 0a 93 ef
                cc bc cc 54 4c 0a 45 d9 f8 30 aa 6d 6f 73 5a 01";
/// The HMAC over the same with the length put right, by another implementation (Python's hmac).
const CORRECTED_TAG: &str = "
    23 41 12 fb d4 e2 7f 98 3e b4 03 28 36 f9 98 21 6f 5b 23 f8 d9 27 75 3f bc 4f 88 2b fb df 0d ec";

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

fn assert_signed(packet: &[u8], key: &[u8]) {
    let message = Message::parse(packet).expect("it parses");
    assert_eq!(message.integrity(), Some(Digest::Sha1));
    assert!(message.verify(Mac::new(Digest::Sha1, key)));
    assert!(!message.verify(Mac::new(Digest::Sha1, b"another key")));
    assert!(!message.verify(Mac::new(Digest::Sha256, key)));
}

/// The last byte of a padded attribute may be anything: the vectors have spaces there.
fn with_padding_cleared(packet: &[u8], at: &[usize]) -> Vec<u8> {
    let mut clean = packet.to_vec();
    at.iter().for_each(|place| clean[*place] = 0);
    clean
}

#[test]
fn rfc5769_2_1_request() {
    let packet = bytes(REQUEST);
    assert_signed(&packet, PASSWORD);
    let message = Message::parse(&packet).unwrap();
    assert_eq!(message.kind(), Kind::request(Method::BINDING));
    assert_eq!(message.transaction_id(), TransactionId::new(ID));
    assert!(message.has_fingerprint() && !message.is_classic());
    let attributes: Vec<_> = message.attributes().collect();
    let expected: [(u16, &[u8]); 4] = [
        (attribute::SOFTWARE, b"STUN test client"),
        (0x0024, &[0x6E, 0x00, 0x01, 0xFF]),
        (0x8029, &[0x93, 0x2F, 0xF9, 0xB1, 0x51, 0x26, 0x3B, 0x36]),
        (attribute::USERNAME, b"evtj:h6vY"),
    ];
    assert_eq!(attributes, expected);
}

#[test]
fn rfc5769_2_2_ipv4_response() {
    let packet = bytes(IPV4_RESPONSE);
    assert_signed(&packet, PASSWORD);
    let message = Message::parse(&packet).unwrap();
    assert_eq!(message.kind(), Kind::success(Method::BINDING));
    assert!(message.has_fingerprint());
    assert_eq!(message.attribute(attribute::SOFTWARE), Some(&b"test vector"[..]));
    let mapped = message.attribute(attribute::XOR_MAPPED_ADDRESS).unwrap();
    let mapped = decode_xor_address(mapped, &message.transaction_id());
    assert_eq!(mapped, Ok("192.0.2.1:32853".parse().unwrap()));
}

#[test]
fn rfc5769_2_3_ipv6_response() {
    let packet = bytes(IPV6_RESPONSE);
    assert_signed(&packet, PASSWORD);
    let message = Message::parse(&packet).unwrap();
    assert!(message.has_fingerprint());
    let mapped = message.attribute(attribute::XOR_MAPPED_ADDRESS).unwrap();
    let mapped = decode_xor_address(mapped, &message.transaction_id());
    let expected = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
    assert_eq!(mapped, Ok(expected.parse().unwrap()));
}

#[test]
fn rfc5769_2_4_long_term_authentication() {
    let packet = bytes(LONG_TERM);
    let message = Message::parse(&packet).unwrap();
    assert_eq!(message.transaction_id(), TransactionId::new(LONG_TERM_ID));
    assert!(!message.has_fingerprint());
    let expected: [(u16, &[u8]); 3] = [
        (attribute::USERNAME, USERNAME.as_bytes()),
        (attribute::NONCE, NONCE),
        (attribute::REALM, REALM.as_bytes()),
    ];
    assert_eq!(message.attributes().collect::<Vec<_>>(), expected);

    assert_eq!(prepare(USERNAME).as_deref(), Some(USERNAME));
    assert_eq!(prepare(RAW_PASSWORD), None);
    let derive = |password| Key::derive(Algorithm::Md5, USERNAME, REALM, password);
    assert!(message.verify(derive("TheMatrIX").mac(Digest::Sha1)));
    assert!(!message.verify(derive("TheMatrix").mac(Digest::Sha1)));
}

#[test]
fn rfc8489_b1_as_printed_is_no_message() {
    let packet = bytes(PRINTED_SHA256);
    assert_eq!(Message::parse(&packet).map(|_| ()), Err(Error::Length));
}

#[test]
fn rfc8489_b1_userhash() {
    let packet = bytes(PRINTED_SHA256);
    assert_eq!(userhash(USERNAME, REALM), packet[24..56]);
}

#[test]
fn rfc8489_b1_with_its_length_put_right() {
    let mut packet = bytes(PRINTED_SHA256);
    let tag = packet.len() - 32;
    packet[3] = 0x88;
    packet[tag..].copy_from_slice(&bytes(CORRECTED_TAG));
    let message = Message::parse(&packet).unwrap();
    assert_eq!(message.integrity(), Some(Digest::Sha256));
    let nonce = [b"obMatJos2AAAC", NONCE].concat();
    let expected: [(u16, &[u8]); 3] = [
        (attribute::USERHASH, &userhash(USERNAME, REALM)),
        (attribute::NONCE, &nonce),
        (attribute::REALM, REALM.as_bytes()),
    ];
    assert_eq!(message.attributes().collect::<Vec<_>>(), expected);
    let derive = |algorithm| Key::derive(algorithm, USERNAME, REALM, "TheMatrIX");
    assert!(message.verify(derive(Algorithm::Sha256).mac(Digest::Sha256)));
    assert!(!message.verify(derive(Algorithm::Md5).mac(Digest::Sha256)));
    assert!(!message.verify(derive(Algorithm::Sha256).mac(Digest::Sha1)));
}

#[test]
fn rfc8489_9_2_2_key() {
    // §9.2.2 gives the MD5 of "user:realm:pass"; the key shows itself only in what it signs.
    let digest = bytes("84 93 fb c5 3b a5 82 fb 4c 04 4c 45 6b dc 40 eb");
    let id = TransactionId::new(ID);
    let sign = |mac| {
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer, Kind::request(Method::ALLOCATE), &id);
        writer.integrity(mac);
        let length = writer.finish().unwrap();
        buffer[..length].to_vec()
    };
    let key = Key::derive(Algorithm::Md5, "user", "realm", "pass");
    assert_eq!(sign(key.mac(Digest::Sha1)), sign(Mac::new(Digest::Sha1, &digest)));
}

#[test]
fn the_writer_makes_the_vectors() {
    let mut buffer = [0; 256];
    let id = TransactionId::new(ID);
    for (hex, mapped) in [
        (IPV4_RESPONSE, "192.0.2.1:32853"),
        (IPV6_RESPONSE, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let mut writer = Writer::new(&mut buffer, Kind::success(Method::BINDING), &id);
        writer.attribute(attribute::SOFTWARE, b"test vector");
        writer.xor_address(attribute::XOR_MAPPED_ADDRESS, mapped.parse().unwrap());
        writer.integrity(Mac::new(Digest::Sha1, PASSWORD));
        writer.fingerprint();
        let length = writer.finish().unwrap();
        // We pad with zero, the vectors with a space: all before the integrity must agree.
        let expected = with_padding_cleared(&bytes(hex), &[35]);
        assert_eq!(length, expected.len());
        let integrity = length - 32;
        assert_eq!(buffer[..integrity], expected[..integrity]);
        assert_signed(&buffer[..length], PASSWORD);
    }

    let mut writer =
        Writer::new(&mut buffer, Kind::request(Method::BINDING), &TransactionId::new(LONG_TERM_ID));
    writer.attribute(attribute::USERNAME, USERNAME.as_bytes());
    writer.attribute(attribute::NONCE, NONCE);
    writer.attribute(attribute::REALM, REALM.as_bytes());
    writer.integrity(Key::derive(Algorithm::Md5, USERNAME, REALM, "TheMatrIX").mac(Digest::Sha1));
    let length = writer.finish().unwrap();
    assert_eq!(buffer[..length], bytes(LONG_TERM));
}
