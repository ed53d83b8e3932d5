//! Data that are lost; and what happens on a machine with much to do, and is no fault.

use std::time::{SystemTime, UNIX_EPOCH};

use turnwire::stun::{Class, Kind, Method};

use super::draft::Draft;
use super::saboteur::{Deed, Memory, Out};

/// Every answer comes twice, as when a request was repeated before the first copy was answered.
pub(crate) const TWICE: Deed = Deed::Back(|bytes, _| {
    let is_answer = |it: Draft| matches!(it.kind.class, Class::Success | Class::Error);
    let copies = 1 + usize::from(Draft::read(&bytes, None).is_some_and(is_answer));
    (0..copies).map(|_| Out::Client(bytes.clone())).collect()
});

/// No data come to a client in the second after the first.
pub(crate) const RECEIVED_LATE: Deed = Deed::Back(|bytes, memory| {
    let lost = is_data(&bytes, Method::DATA) && is_early(memory);
    if lost { Vec::new() } else { vec![Out::Client(bytes)] }
});

/// No data of a client's go out in the second after the first.
pub(crate) const SENT_LATE: Deed = Deed::Packet(|bytes, memory| {
    let lost = is_data(&bytes, Method::SEND) && is_early(memory);
    if lost { Vec::new() } else { vec![Out::Server(bytes)] }
});

/// No data of a client's go out.
pub(crate) const NOTHING_SENT: Deed =
    Deed::Packet(
        |bytes, _| {
            if is_data(&bytes, Method::SEND) { Vec::new() } else { vec![Out::Server(bytes)] }
        },
    );

fn is_data(bytes: &[u8], method: Method) -> bool {
    bytes.starts_with(&Kind::indication(method).bits().to_be_bytes())
        || bytes.first().is_some_and(|first| first & 0xC0 == 0x40)
}

fn is_early(memory: &mut Memory) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let first = memory.notes.entry("first").or_insert(now.to_be_bytes().to_vec());
    now < u128::from_be_bytes(first.as_slice().try_into().unwrap()) + 1000
}
