//! RFC 8489 §5 and §14: how the messages and attributes of a server look.

use crate::stun::{Kind, Method, attribute};
use crate::tools::conformance::case::{Case, Outcome, Stop, claim};
use crate::tools::conformance::client::{Packet, UNKNOWN};
use crate::tools::conformance::reply::Reply;
use crate::tools::conformance::stand::Stand;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "stun.message-length",
        rfc: 8489,
        section: "5",
        must: "The message length MUST contain the size of the message in bytes, not including the 20-byte STUN header.",
        run: |stand| {
            // A datagram tells its length; on a stream the next message would be lost.
            stand.needs_binding()?;
            let mut client = stand.client()?;
            client.binding()?;
            client.binding().map(drop)
        },
    },
    Case {
        name: "stun.attribute-padding-zero",
        rfc: 8489,
        section: "14",
        must: "The padding bits MUST be set to zero on sending.",
        run: |stand| {
            for reply in texts(stand)? {
                for (kind, _, padding) in reply.raw() {
                    claim(padding.iter().all(|byte| *byte == 0), || {
                        format!(
                            "behind the attribute {kind:#06x} of {}: {padding:02x?}",
                            reply.words()
                        )
                    })?;
                }
            }
            Ok(())
        },
    },
    Case {
        name: "stun.padding-ignored",
        rfc: 8489,
        section: "14",
        must: "The padding bits MUST be ignored by the receiver.",
        run: padding_ignored,
    },
    Case {
        name: "stun.error-code-range",
        rfc: 8489,
        section: "14.8",
        must: "The Class MUST be between 3 and 6; the Number's value MUST be between 0 and 99.",
        run: |stand| {
            let reply = refusal(stand)?;
            let value = reply.has(attribute::ERROR_CODE, "ERROR-CODE")?;
            let fits = matches!(value, [_, _, class, number, ..] if (3..=6).contains(&(class & 7)) && *number < 100);
            claim(fits, || format!("ERROR-CODE is {value:02x?}"))
        },
    },
    Case {
        name: "stun.error-reason",
        rfc: 8489,
        section: "14.8",
        must: "The reason phrase MUST be a UTF-8-encoded sequence of fewer than 128 characters.",
        run: |stand| {
            let reply = refusal(stand)?;
            let value = reply.has(attribute::ERROR_CODE, "ERROR-CODE")?;
            is_text(value.get(4..).unwrap_or_default(), "the reason phrase")
        },
    },
    Case {
        name: "stun.software",
        rfc: 8489,
        section: "14.14",
        must: "SOFTWARE MUST be a UTF-8-encoded sequence of fewer than 128 characters.",
        run: |stand| {
            let replies = texts(stand)?;
            let told: Vec<_> =
                replies.iter().filter_map(|it| it.get(attribute::SOFTWARE)).collect();
            if told.is_empty() {
                return Stop::skipped("the server does not name its software");
            }
            told.into_iter().try_for_each(|value| is_text(value, "SOFTWARE"))
        },
    },
    Case {
        name: "stun.fingerprint-last",
        rfc: 8489,
        section: "14.7",
        must: "When present, the FINGERPRINT attribute MUST be the last attribute in the message.",
        run: |stand| {
            stand.needs_binding()?;
            let packet = Packet::new(Kind::request(Method::BINDING), |it| it.fingerprint())?;
            // Its place and its value are looked at when the answer is read.
            let reply = stand.client()?.exchange(&packet)?;
            if reply.message().has_fingerprint() {
                return Ok(());
            }
            Stop::skipped("the server sends no FINGERPRINT, even to those who do")
        },
    },
];

/// Answers of both classes, with as many texts as there may be.
fn texts(stand: &Stand) -> Result<Vec<Reply>, Stop> {
    let mut client = stand.client()?;
    let mut replies = Vec::new();
    if stand.answers_binding {
        replies.push(client.binding()?);
    }
    if stand.needs_credentials().is_ok() {
        replies.push(client.challenge()?);
    }
    Ok(replies)
}

/// Some error response.
fn refusal(stand: &Stand) -> Result<Reply, Stop> {
    if stand.needs_credentials().is_ok() {
        return stand.client()?.challenge();
    }
    stand.needs_binding()?;
    let packet =
        Packet::new(Kind::request(Method::BINDING), |writer| writer.attribute(UNKNOWN, b""))?;
    stand.client()?.exchange(&packet)
}

pub(super) fn is_text(value: &[u8], name: &str) -> Outcome {
    let characters = std::str::from_utf8(value).map(|text| text.chars().count());
    match characters {
        Ok(0..128) => Ok(()),
        Ok(count) => Stop::failed(format!("{name} has {count} characters")),
        Err(_) => Stop::failed(format!("{name} is not UTF-8")),
    }
}

fn padding_ignored(stand: &Stand) -> Outcome {
    stand.needs_binding()?;
    let mut packet = Packet::new(Kind::request(Method::BINDING), |writer| {
        writer.attribute(attribute::SOFTWARE, b"x");
    })?;
    let end = packet.bytes.len();
    packet.bytes[end - 3..].fill(0xFF);
    stand.client()?.exchange(&packet)?.success()
}
