//! SRV records (RFC 2782): where a name says that its TURN or STUN server is (RFC 5928 §3, RFC 8489 §8.1).

use crate::net;

/// The type of the records.
const SRV: u16 = 33;
/// Places of one service that are walked to.
const MOST: usize = 8;
/// A name never has more labels, nor a chain of pointers (RFC 1035 §3.1).
const LABELS: usize = 128;
/// Bytes of a header, and of what stands around a record's name and data.
const HEADER: usize = 12;
const QUESTION: usize = 4;

/// One place of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) priority: u16,
    weight: u16,
    pub(super) port: u16,
    /// A name; nothing but the root, that is none, says that there is no such service.
    pub(super) target: String,
}

/// The places of a service like `_turn._udp.example.org`, those that are to be tried first in front.
pub(super) fn places(service: &str) -> Vec<Place> {
    let answer = net::name_records(service, SRV);
    let mut places = answer.and_then(|answer| read(&answer)).unwrap_or_default();
    places.sort_by_key(|place| (place.priority, std::cmp::Reverse(place.weight)));
    places.truncate(MOST);
    places
}

/// The SRV records of an answer. `None` for what is no answer.
fn read(message: &[u8]) -> Option<Vec<Place>> {
    let (questions, answers) = (number(message, 4)?, number(message, 6)?);
    let mut at = HEADER;
    for _ in 0..questions {
        at = behind_name(message, at)? + QUESTION;
    }
    let mut places = Vec::new();
    for _ in 0..answers {
        let record = behind_name(message, at)?;
        // Type, class, lifetime, length of the data.
        let (kind, length) = (number(message, record)?, number(message, record + 8)?);
        let data = record + 10;
        at = data + usize::from(length);
        if kind == SRV {
            let [priority, weight, port] = [0, 2, 4].map(|offset| number(message, data + offset));
            let (priority, weight, port) = (priority?, weight?, port?);
            places.push(Place { priority, weight, port, target: name(message, data + 6)? });
        }
    }
    Some(places)
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

/// Where the name ends that begins here (RFC 1035 §4.1.4).
fn behind_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xC0 == 0xC0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

/// The name that begins here, wherever its parts stand.
fn name(message: &[u8], mut at: usize) -> Option<String> {
    let mut labels = Vec::new();
    for _ in 0..LABELS {
        let length = *message.get(at)?;
        if length == 0 {
            return Some(labels.join("."));
        }
        if length & 0xC0 == 0xC0 {
            at = usize::from(number(message, at)? & 0x3FFF);
            continue;
        }
        let label = message.get(at + 1..at + 1 + usize::from(length))?;
        labels.push(
            std::str::from_utf8(label)
                .ok()
                .filter(|text| text.bytes().all(|it| it.is_ascii_graphic()))?,
        );
        at += 1 + usize::from(length);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a name server writes it: the question is pointed to, and so is the end of a target.
    fn answer() -> Vec<u8> {
        let mut message = b"\x00\x07\x81\x80\x00\x01\x00\x03\x00\x00\x00\x00".to_vec();
        message.extend(b"\x05_turn\x04_udp\x07example\x03org\x00\x00\x21\x00\x01");
        message.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x0c");
        message.extend(b"\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x3c\x00\x0a\x00\x0a\x00\x05\x0d\x96\x01a\xc0\x17");
        message.extend(
            b"\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x3c\x00\x07\x00\x14\x00\x00\x00\x00\x00",
        );
        message
    }

    #[test]
    fn the_places_of_a_service_are_read_and_other_records_passed_over() {
        let place = |priority, weight, port, target: &str| Place {
            priority,
            weight,
            port,
            target: target.to_owned(),
        };
        let expected = vec![place(10, 5, 3478, "a.example.org"), place(20, 0, 0, "")];
        assert_eq!(read(&answer()), Some(expected));
    }

    #[test]
    fn a_name_that_points_at_itself_comes_to_an_end() {
        let mut message = answer();
        let last = message.len() - 23;
        message[last..last + 2].copy_from_slice(&[0xC0, last as u8]);
        assert_eq!(read(&message), None);
    }

    #[test]
    fn a_target_that_would_steer_a_terminal_is_none() {
        for byte in [b'\x1B', b'\n', b' ', 0x7F, 0xC3] {
            let mut message = answer();
            let label = message.iter().rposition(|it| *it == b'a').unwrap();
            message[label] = byte;
            assert_eq!(read(&message), None, "{byte:#x}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange(mut message in Just(answer()), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), length in 0..120_usize) {
            for (at, byte) in changes {
                let at = at.index(message.len());
                message[at] = byte;
            }
            message.truncate(length);
            let _ = read(&message);
        }
    }
}
