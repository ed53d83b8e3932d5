//! A datagram from anybody: reading it never fails in the middle, and what is written again from
//! what was read says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turnwire::stun::{
    ChannelData, Digest, Mac, Message, Writer, attribute, decode_address, decode_xor_address,
};

fuzz_target!(|packet: &[u8]| {
    if let Ok(data) = ChannelData::parse(packet) {
        assert!(data.payload.end <= packet.len());
        assert!((0x4000..0x8000).contains(&data.number.get()));
    }
    let Ok(message) = Message::parse(packet) else {
        return;
    };
    let id = message.transaction_id();
    let mut copy = vec![0; packet.len() + 128];
    let mut writer = Writer::new(&mut copy, message.kind(), &id);
    for (kind, value) in message.attributes() {
        let _ = decode_address(value);
        let _ = decode_xor_address(value, &id);
        writer.attribute(kind, value);
    }
    for digest in [Digest::Sha1, Digest::Sha256] {
        let _ = message.verify(Mac::new(digest, b"key"));
        writer.integrity(Mac::new(digest, b"key"));
    }
    writer.fingerprint();
    let length = writer.finish().expect("room");
    let again = Message::parse(&copy[..length]).expect("what was written is a message");
    assert_eq!(again.kind(), message.kind());
    assert_eq!(again.transaction_id(), id);
    assert!(again.attributes().eq(message.attributes()));
    assert!(again.has_fingerprint() && again.verify(Mac::new(Digest::Sha1, b"key")));
    assert!(again.verify(Mac::new(Digest::Sha256, b"key")));
    assert_eq!(again.attribute(attribute::FINGERPRINT), None);
});
