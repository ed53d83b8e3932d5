//! Properties of the wire: nothing that arrives makes the decoders panic, what is written is what
//! is read, and a stream cut anywhere yields the same messages.

use std::net::{IpAddr, SocketAddr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use turnwire::auth::{Algorithm, Key};
use turnwire::stun::{
    CHANNEL_HEADER, ChannelData, ChannelNumber, Class, DATA_INDICATION_MAX, Digest, Error, Family,
    Frame, Framer, HEADER, Hopeless, Kind, MAGIC_COOKIE, Mac, Message, Method, TransactionId,
    Writer, attribute, decode_address, decode_xor_address, write_channel_header,
    write_data_indication_header,
};

const CLASSES: [Class; 4] = [Class::Request, Class::Indication, Class::Success, Class::Error];
/// Attributes that the parser itself looks at.
const SPECIAL: [u16; 3] =
    [attribute::MESSAGE_INTEGRITY, attribute::MESSAGE_INTEGRITY_SHA256, attribute::FINGERPRINT];

/// The parts of a message that a writer is given.
#[derive(Clone, Debug)]
struct Parts {
    kind: Kind,
    id: TransactionId,
    attributes: Vec<(u16, Vec<u8>)>,
    sha1: Option<Vec<u8>>,
    /// The key and the length that the tag is cut to.
    sha256: Option<(Vec<u8>, usize)>,
    fingerprint: bool,
}

impl Parts {
    fn write(&self) -> Vec<u8> {
        let mut buffer = vec![0xA5; 4096];
        let mut writer = Writer::new(&mut buffer, self.kind, &self.id);
        for (kind, value) in &self.attributes {
            writer.attribute(*kind, value);
        }
        if let Some(key) = &self.sha1 {
            writer.integrity(Mac::new(Digest::Sha1, key));
        }
        if let Some((key, keep)) = &self.sha256 {
            writer.integrity_truncated(Mac::new(Digest::Sha256, key), *keep);
        }
        if self.fingerprint {
            writer.fingerprint();
        }
        let length = writer.finish().expect("4096 bytes are enough");
        buffer.truncate(length);
        buffer
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    (0_usize..4, 0_u16..0x1000)
        .prop_map(|(class, method)| Kind { class: CLASSES[class], method: Method(method) })
}

fn ids() -> impl Strategy<Value = TransactionId> {
    prop_oneof![
        4 => any::<[u8; 12]>().prop_map(TransactionId::new),
        1 => (any::<u32>(), any::<[u8; 12]>()).prop_map(|(c, id)| TransactionId::classic(c, id)),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let kind = any::<u16>().prop_filter("the parser's own", |kind| !SPECIAL.contains(kind));
    vec((kind, vec(any::<u8>(), 0..120)), 0..12)
}

fn parts() -> impl Strategy<Value = Parts> {
    let key = || vec(any::<u8>(), 0..80);
    let keep = (4_usize..=8).prop_map(|words| words * 4);
    let integrity = (proptest::option::of(key()), proptest::option::of((key(), keep)));
    (kinds(), ids(), attributes(), integrity, any::<bool>()).prop_map(
        |(kind, id, attributes, (sha1, sha256), fingerprint)| Parts {
            kind,
            id,
            attributes,
            sha1,
            sha256,
            fingerprint,
        },
    )
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

/// Reads everything there is to read; that it returns is the property.
fn read_all(packet: &[u8]) -> Option<usize> {
    let message = Message::parse(packet).ok()?;
    let id = message.transaction_id();
    let mut total = 0;
    for (kind, value) in message.attributes() {
        assert!(message.attribute(kind).is_some());
        let _ = decode_address(value);
        let _ = decode_xor_address(value, &id);
        total += 4 + value.len().next_multiple_of(4);
    }
    assert!(HEADER + total <= packet.len());
    for digest in [Digest::Sha1, Digest::Sha256] {
        message.verify(Mac::new(digest, b"key"));
    }
    assert_eq!(message.has_integrity(), message.integrity().is_some());
    let _ = (message.kind(), message.is_classic());
    Some(total)
}

/// Bytes that look like a message to the first checks, so that the later ones are reached.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let start = (0_u8..4, any::<u8>());
    (start, vec(any::<u32>(), 0..60)).prop_map(|((high, low), words)| {
        let length = (words.len() * 4) as u16;
        let mut packet = vec![high, low];
        packet.extend(length.to_be_bytes());
        packet.extend(MAGIC_COOKIE.to_be_bytes());
        packet.extend([5; 12]);
        // Small lengths in the second half of a word let an attribute fit.
        for word in words {
            let word = if word % 3 == 0 { word & 0xFFFF_001F } else { word };
            packet.extend(word.to_be_bytes());
        }
        packet
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(packet in vec(any::<u8>(), 0..200), limit in 0_usize..300) {
        read_all(&packet);
        let _ = ChannelData::parse(&packet);
        let _ = Framer { limit }.next(&packet);
        let _ = decode_address(&packet);
        let _ = decode_xor_address(&packet, &TransactionId::new([1; 12]));
    }

    #[test]
    fn plausible_bytes_never_panic(packet in plausible()) {
        read_all(&packet);
    }

    #[test]
    fn a_mutated_message_never_panics(
        parts in parts(), cut: Index, edits in vec((any::<Index>(), any::<u8>()), 0..8),
        fix_length: bool,
    ) {
        let mut packet = parts.write();
        packet.truncate(cut.index(packet.len() + 1));
        for (at, value) in edits {
            if !packet.is_empty() {
                let at = at.index(packet.len());
                packet[at] = value;
            }
        }
        if fix_length && packet.len() >= HEADER {
            packet.truncate(packet.len() / 4 * 4);
            let length = (packet.len() - HEADER) as u16;
            packet[2..4].copy_from_slice(&length.to_be_bytes());
        }
        read_all(&packet);
    }

    #[test]
    fn what_is_written_is_what_is_read(parts in parts()) {
        let packet = parts.write();
        prop_assert_eq!(packet.len() % 4, 0);
        let message = Message::parse(&packet).expect("our own message");
        prop_assert_eq!(message.kind(), parts.kind);
        prop_assert_eq!(message.transaction_id(), parts.id);
        prop_assert_eq!(message.is_classic(), parts.id.cookie() != MAGIC_COOKIE);
        prop_assert_eq!(message.has_fingerprint(), parts.fingerprint);
        let read: Vec<_> = message.attributes().map(|(kind, v)| (kind, v.to_vec())).collect();
        prop_assert_eq!(&read, &parts.attributes);
        for (kind, _) in &parts.attributes {
            let first = parts.attributes.iter().find(|(other, _)| other == kind);
            prop_assert_eq!(message.attribute(*kind), first.map(|(_, value)| &value[..]));
        }
        let strongest = match (&parts.sha256, &parts.sha1) {
            (Some(_), _) => Some(Digest::Sha256),
            (None, Some(_)) => Some(Digest::Sha1),
            (None, None) => None,
        };
        prop_assert_eq!(message.integrity(), strongest);
        let good = |digest, key: &[u8]| message.verify(Mac::new(digest, key));
        match &parts.sha1 {
            Some(key) => {
                prop_assert!(good(Digest::Sha1, key));
                prop_assert!(!good(Digest::Sha1, &[&key[..], b"1"].concat()));
            }
            None => prop_assert!(!good(Digest::Sha1, b"")),
        }
        match &parts.sha256 {
            Some((key, _)) => {
                prop_assert!(good(Digest::Sha256, key));
                prop_assert!(!good(Digest::Sha256, &[&key[..], b"1"].concat()));
            }
            None => prop_assert!(!good(Digest::Sha256, b"")),
        }
    }

    #[test]
    fn a_buffer_that_is_too_small_is_an_error_and_never_overrun(parts in parts(), size: Index) {
        let whole = parts.write();
        let size = size.index(whole.len());
        let mut buffer = vec![0; size];
        let mut writer = Writer::new(&mut buffer, parts.kind, &parts.id);
        for (kind, value) in &parts.attributes {
            writer.attribute(*kind, value);
        }
        if let Some(key) = &parts.sha1 {
            writer.integrity(Mac::new(Digest::Sha1, key));
        }
        if let Some((key, keep)) = &parts.sha256 {
            writer.integrity_truncated(Mac::new(Digest::Sha256, key), *keep);
        }
        if parts.fingerprint {
            writer.fingerprint();
        }
        prop_assert_eq!(writer.finish(), Err(Error::Space));
    }

    #[test]
    fn addresses_survive_in_clear_and_xored(address in addresses(), id in ids()) {
        let mut buffer = [0; 128];
        let mut writer = Writer::new(&mut buffer, Kind::success(Method::BINDING), &id);
        writer.address(attribute::MAPPED_ADDRESS, address);
        writer.xor_address(attribute::XOR_MAPPED_ADDRESS, address);
        let length = writer.finish().unwrap();
        let message = Message::parse(&buffer[..length]).unwrap();
        let clear = message.attribute(attribute::MAPPED_ADDRESS).unwrap();
        let xored = message.attribute(attribute::XOR_MAPPED_ADDRESS).unwrap();
        prop_assert_eq!(decode_address(clear), Ok(address));
        if !message.is_classic() {
            prop_assert_eq!(decode_xor_address(xored, &id), Ok(address));
        }
        prop_assert_eq!(clear[1], Family::of(&address.ip()).code());
    }

    #[test]
    fn error_codes_and_phrases_survive(code in 300_u16..700, phrase in "\\PC{0,200}") {
        let mut buffer = vec![0; 2048];
        let id = TransactionId::new([3; 12]);
        let mut writer = Writer::new(&mut buffer, Kind::error(Method::ALLOCATE), &id);
        writer.error_code(code, &phrase);
        let length = writer.finish().unwrap();
        let message = Message::parse(&buffer[..length]).unwrap();
        let value = message.attribute(attribute::ERROR_CODE).unwrap();
        prop_assert_eq!(u16::from(value[2]) * 100 + u16::from(value[3]), code);
        // RFC 8489 §14.8: UTF-8 of fewer than 128 characters.
        let short: String = phrase.chars().take(127).collect();
        prop_assert_eq!(std::str::from_utf8(&value[4..]), Ok(&short[..]));
    }

    #[test]
    fn channel_data_survives_with_any_padding(
        number in 0x4000_u16..0x8000, data in vec(any::<u8>(), 0..300), padding in 0_usize..9
    ) {
        let number = ChannelNumber::new(number).unwrap();
        let mut header = [0; CHANNEL_HEADER];
        write_channel_header(&mut header, number, data.len() as u16);
        let mut packet = [&header[..], &data].concat();
        packet.resize(packet.len() + padding, 0);
        let parsed = ChannelData::parse(&packet).unwrap();
        prop_assert_eq!(parsed.number, number);
        prop_assert_eq!(&packet[parsed.payload], &data[..]);
        // RFC 8656 §12.6: shorter than it claims
        let short = &packet[..CHANNEL_HEADER + data.len().saturating_sub(1)];
        if !data.is_empty() {
            prop_assert_eq!(ChannelData::parse(short), Err(Error::Length));
        }
    }

    #[test]
    fn data_indications_made_in_place_survive(
        peer in addresses(), id: [u8; 12], data in vec(any::<u8>(), 0..300)
    ) {
        // RFC 8656 §11.3
        let mut room = [0; DATA_INDICATION_MAX];
        let header = write_data_indication_header(&mut room, id, peer, data.len()).unwrap();
        let mut packet = [&room[DATA_INDICATION_MAX - header..], &data].concat();
        packet.resize(header + data.len().next_multiple_of(4), 0);
        let message = Message::parse(&packet).unwrap();
        prop_assert_eq!(message.kind(), Kind::indication(Method::DATA));
        prop_assert_eq!(message.transaction_id(), TransactionId::new(id));
        let address = message.attribute(attribute::XOR_PEER_ADDRESS).unwrap();
        prop_assert_eq!(decode_xor_address(address, &message.transaction_id()), Ok(peer));
        prop_assert_eq!(message.attribute(attribute::DATA), Some(&data[..]));
        prop_assert_eq!(message.attributes().count(), 2);
    }

    #[test]
    fn whatever_stands_on_a_stream_there_is_progress_within_the_limit(
        stream in vec(any::<u8>(), 0..64), limit in 4_usize..200
    ) {
        let framer = Framer { limit };
        let mut at = 0;
        loop {
            let rest = &stream[at..];
            match framer.next(rest) {
                Ok(Frame::Message { length, consumed }) => {
                    prop_assert!(0 < length && length <= consumed && consumed < length + 4);
                    prop_assert!(consumed <= limit && consumed <= rest.len());
                    prop_assert_eq!(consumed % 4, 0);
                    at += consumed;
                }
                Ok(Frame::Partial { need }) => {
                    prop_assert!(rest.len() < need && need <= limit);
                    break;
                }
                Err(_) => break,
            }
        }
    }
}

proptest! {
    // Each case goes through every bit of a message.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_flipped_bit_spoils_the_fingerprint(parts in parts()) {
        // RFC 8489 §14.7
        let mut packet = Parts { fingerprint: true, ..parts }.write();
        for bit in 0..packet.len() * 8 {
            packet[bit / 8] ^= 1 << (bit % 8);
            // A flip in a type or a length can make another attribute of it: then it is not there.
            if let Ok(message) = Message::parse(&packet) {
                prop_assert!(!message.has_fingerprint(), "bit {} goes unnoticed", bit);
            }
            packet[bit / 8] ^= 1 << (bit % 8);
        }
        prop_assert!(Message::parse(&packet).is_ok());
    }

    #[test]
    fn every_flipped_bit_spoils_the_integrity(
        parts in parts(), text in "[ -~]{1,20}", sha256: bool, keep in 4_usize..=8
    ) {
        // RFC 8489 §14.5, §14.6
        let (algorithm, digest) = if sha256 {
            (Algorithm::Sha256, Digest::Sha256)
        } else {
            (Algorithm::Md5, Digest::Sha1)
        };
        let key = Key::derive(algorithm, &text, "realm", "password");
        let mut buffer = vec![0; 4096];
        let mut writer = Writer::new(&mut buffer, parts.kind, &parts.id);
        parts.attributes.iter().take(3).for_each(|(kind, v)| writer.attribute(*kind, v));
        writer.integrity_truncated(key.mac(digest), if sha256 { keep * 4 } else { 20 });
        let length = writer.finish().unwrap();
        buffer.truncate(length);
        prop_assert!(Message::parse(&buffer).unwrap().verify(key.mac(digest)));
        for bit in 0..length * 8 {
            buffer[bit / 8] ^= 1 << (bit % 8);
            if let Ok(message) = Message::parse(&buffer) {
                prop_assert!(!message.verify(key.mac(digest)), "bit {} goes unnoticed", bit);
            }
            buffer[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// One message on a stream, as its sender pads it.
fn framed() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    // RFC 7983 §7: only methods below 0x100 begin with a byte that a stream may hold.
    let stun = (parts(), 0_u16..0x100).prop_map(|(mut parts, method)| {
        parts.kind.method = Method(method);
        parts.id = TransactionId::new(*parts.id.bytes());
        let packet = parts.write();
        (packet.clone(), packet)
    });
    let channel = (0x4000_u16..0x8000, vec(any::<u8>(), 0..90)).prop_map(|(number, data)| {
        let mut header = [0; CHANNEL_HEADER];
        let number = ChannelNumber::new(number).expect("in the range");
        write_channel_header(&mut header, number, data.len() as u16);
        let packet = [&header[..], &data].concat();
        let mut padded = packet.clone();
        padded.resize(packet.len().next_multiple_of(4), 0xEE);
        (packet, padded)
    });
    prop_oneof![stun, channel]
}

proptest! {
    #[test]
    fn a_stream_cut_anywhere_yields_the_same_messages(
        messages in vec(framed(), 1..12), cuts in vec(1_usize..80, 1..60)
    ) {
        let framer = Framer { limit: 4096 };
        let stream: Vec<u8> = messages.iter().flat_map(|(_, padded)| padded.clone()).collect();
        let (mut buffer, mut found, mut sent) = (Vec::new(), Vec::new(), 0);
        let mut cuts = cuts.into_iter().cycle();
        let mut needed = 0;
        while sent < stream.len() {
            let piece = cuts.next().unwrap_or(1).min(stream.len() - sent);
            buffer.extend_from_slice(&stream[sent..sent + piece]);
            sent += piece;
            loop {
                match framer.next(&buffer) {
                    Ok(Frame::Message { length, consumed }) => {
                        // Past the header, what was needed is known exactly.
                        prop_assert!(needed <= CHANNEL_HEADER || needed == consumed);
                        found.push(buffer[..length].to_vec());
                        buffer.drain(..consumed);
                        needed = 0;
                    }
                    Ok(Frame::Partial { need }) => {
                        prop_assert!(need > buffer.len() && need >= needed);
                        needed = need;
                        break;
                    }
                    Err(hopeless) => prop_assert!(false, "{:?}", hopeless),
                }
            }
        }
        prop_assert!(buffer.is_empty());
        let expected: Vec<_> = messages.into_iter().map(|(packet, _)| packet).collect();
        prop_assert_eq!(found, expected);
    }
}

proptest! {
    #[test]
    fn the_limit_counts_padding(length in 0_u16..300, limit in 4_usize..400) {
        let mut stream = [&[0x40, 0][..], &length.to_be_bytes()].concat();
        stream.resize(400, 0);
        let whole = CHANNEL_HEADER + usize::from(length);
        let consumed = whole.next_multiple_of(4);
        let expected = if consumed <= limit {
            Ok(Frame::Message { length: whole, consumed })
        } else {
            Err(Hopeless::TooLong)
        };
        prop_assert_eq!(Framer { limit }.next(&stream), expected);
        let partial = Framer { limit }.next(&stream[..consumed - 1]);
        let expected = if consumed == CHANNEL_HEADER {
            Ok(Frame::Partial { need: CHANNEL_HEADER })
        } else {
            expected.map(|_| Frame::Partial { need: consumed })
        };
        prop_assert_eq!(partial, expected);
    }
}

#[test]
fn sha256_before_sha1_hides_it_and_after_sha1_counts() {
    // RFC 8489 §14.5: after MESSAGE-INTEGRITY, only MESSAGE-INTEGRITY-SHA256 and FINGERPRINT
    // count; §14.6: after MESSAGE-INTEGRITY-SHA256, only FINGERPRINT.
    let id = TransactionId::new([1; 12]);
    for digests in [[Digest::Sha1, Digest::Sha256], [Digest::Sha256, Digest::Sha1]] {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer, Kind::request(Method::REFRESH), &id);
        for digest in digests {
            writer.integrity(Mac::new(digest, b"key"));
            writer.attribute(attribute::REALM, b"hidden");
        }
        writer.fingerprint();
        let length = writer.finish().unwrap();
        let message = Message::parse(&buffer[..length]).unwrap();
        assert!(message.has_fingerprint());
        assert_eq!(message.attributes().count(), 0);
        assert_eq!(message.integrity(), Some(Digest::Sha256));
        assert!(message.verify(Mac::new(Digest::Sha256, b"key")));
        let sha1 = message.verify(Mac::new(Digest::Sha1, b"key"));
        assert_eq!(sha1, digests[0] == Digest::Sha1);
    }
}

#[test]
fn only_the_lengths_of_rfc8489_14_6_are_integrity() {
    let key = Key::derive(Algorithm::Sha256, "u", "r", "p");
    let id = TransactionId::new([1; 12]);
    for keep in (0..=32).step_by(4) {
        let mut buffer = [0; 128];
        let mut writer = Writer::new(&mut buffer, Kind::request(Method::REFRESH), &id);
        writer.integrity_truncated(key.mac(Digest::Sha256), keep);
        let length = writer.finish().unwrap();
        let good = Message::parse(&buffer[..length])
            .is_ok_and(|message| message.verify(key.mac(Digest::Sha256)));
        assert_eq!(good, keep >= 16, "{keep} bytes");
    }
}
