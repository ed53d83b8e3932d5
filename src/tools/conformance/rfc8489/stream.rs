//! RFC 8489 §6.2.2: messages over a stream.

use std::time::Duration;
use std::time::Instant;

use crate::stun::{Kind, Method, attribute};
use crate::tools::conformance::case::{Case, Outcome, claim};
use crate::tools::conformance::client::Packet;
use crate::tools::conformance::stand::Stand;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "stun.stream-pipelined",
        rfc: 8489,
        section: "6.2.2",
        must: "The client MAY send multiple transactions over a single TCP connection, and it MAY send another request before receiving a response to the previous request.",
        run: pipelined,
    },
    Case {
        name: "stun.stream-split",
        rfc: 8489,
        section: "6.2.2",
        must: "A message on a stream may come in any pieces: the message length delimits it.",
        run: split,
    },
];

fn pipelined(stand: &Stand) -> Outcome {
    stand.needs_binding()?;
    let mut client = stand.stream()?;
    let packets = [Packet::binding()?, Packet::binding()?, Packet::binding()?];
    let all: Vec<u8> = packets.iter().flat_map(|packet| packet.bytes.clone()).collect();
    client.send(&all)?;
    let end = Instant::now() + stand.limit();
    let mut answered = 0;
    // The server is allowed to answer in another order.
    while answered < packets.len() {
        let Some(bytes) = client.next(end)? else { break };
        answered += usize::from(packets.iter().any(|it| bytes.get(8..20) == Some(it.id.bytes())));
    }
    claim(answered == packets.len(), || {
        format!("of {} requests {answered} are answered", packets.len())
    })
}

fn split(stand: &Stand) -> Outcome {
    stand.needs_binding()?;
    let mut client = stand.stream()?;
    let packet = Packet::new(Kind::request(Method::BINDING), |writer| {
        writer.attribute(attribute::SOFTWARE, b"in pieces");
    })?;
    for piece in packet.bytes.chunks(7) {
        client.send(piece)?;
        // Or else the system would put them together again.
        std::thread::sleep(Duration::from_millis(5));
    }
    let reply = client.answer(&packet.id, Instant::now() + stand.limit())?;
    claim(reply.is_some_and(|reply| reply.is_success()), || "there is no answer".to_owned())
}
