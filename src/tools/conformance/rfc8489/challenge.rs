//! RFC 8489 §9.2: what a request without credentials is told.

use super::format::is_text;
use crate::stun::attribute;
use crate::tools::conformance::case::{Before as _, Case, Outcome, Stop, claim};
use crate::tools::conformance::proof::COOKIE;
use crate::tools::conformance::stand::Stand;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "auth.challenge",
        rfc: 8489,
        section: "9.2.4",
        must: "If the message does not contain a MESSAGE-INTEGRITY attribute, the server MUST generate an error response with an error code of 401 (Unauthenticated).",
        run: |stand| stand.client()?.challenge()?.refused(401),
    },
    Case {
        name: "auth.challenge-realm",
        rfc: 8489,
        section: "9.2.4",
        must: "This response MUST include a REALM value.",
        run: |stand| stand.client()?.challenge()?.has(attribute::REALM, "REALM").map(drop),
    },
    Case {
        name: "auth.challenge-nonce",
        rfc: 8489,
        section: "9.2.4",
        must: "The response MUST include a NONCE, selected by the server.",
        run: |stand| {
            let reply = stand.client()?.challenge()?;
            let nonce = reply.has(attribute::NONCE, "NONCE")?;
            claim(!nonce.is_empty(), || "NONCE is empty".to_owned())
        },
    },
    Case {
        name: "auth.realm-text",
        rfc: 8489,
        section: "14.9",
        must: "REALM MUST be a UTF-8-encoded sequence of fewer than 128 characters.",
        run: |stand| {
            let reply = stand.client()?.challenge()?;
            is_text(reply.has(attribute::REALM, "REALM").before("a challenge")?, "REALM")
        },
    },
    Case {
        name: "auth.nonce-text",
        rfc: 8489,
        section: "14.10",
        must: "The NONCE attribute MUST be fewer than 128 characters.",
        run: |stand| {
            let reply = stand.client()?.challenge()?;
            is_text(reply.has(attribute::NONCE, "NONCE").before("a challenge")?, "NONCE")
        },
    },
    Case {
        name: "auth.nonce-cookie",
        rfc: 8489,
        section: "9.2",
        must: "A server MUST prepend the NONCE attribute value with \"obMatJos2\" and the base64 encoding of the 24-bit STUN Security Features.",
        run: |stand| {
            let proof = stand.client()?.proof()?;
            claim(proof.nonce.starts_with(COOKIE), || {
                let nonce = proof.nonce.escape_ascii();
                format!("the nonce is \"{nonce}\"")
            })?;
            claim(proof.features().is_some(), || "the features are no base64".to_owned())
        },
    },
    Case {
        name: "auth.nonce-own",
        rfc: 8489,
        section: "9.2.4",
        must: "The server MUST NOT choose the same NONCE for two requests unless they have the same source IP address and port.",
        run: |stand| {
            let (mut one, mut other) = (stand.client()?, stand.client()?);
            let nonces = [one.proof()?.nonce, other.proof()?.nonce];
            claim(nonces[0] != nonces[1], || "two clients have the same nonce".to_owned())
        },
    },
    Case {
        name: "auth.algorithms-announced",
        rfc: 8489,
        section: "9.2.4",
        must: "If the server adds a PASSWORD-ALGORITHMS attribute, it MUST set the STUN Security Feature \"Password algorithms\" bit to 1.",
        run: |stand| {
            let proof = stand.client()?.proof()?;
            if proof.algorithms.is_none() {
                return Stop::skipped("the server sends no PASSWORD-ALGORITHMS");
            }
            let bit = proof.features().is_some_and(|bits| bits[0] & 0x80 != 0);
            claim(bit, || "the bit is not set".to_owned())
        },
    },
    Case {
        name: "auth.algorithms-kept",
        rfc: 8489,
        section: "9.2.5",
        must: "If the bit is set and PASSWORD-ALGORITHMS is not present, the client MUST NOT retry: the server sends both or neither.",
        run: |stand| {
            let proof = stand.client()?.proof()?;
            match proof.features() {
                Some(bits) if bits[0] & 0x80 != 0 => claim(proof.algorithms.is_some(), || {
                    "there is no PASSWORD-ALGORITHMS".to_owned()
                }),
                _ => Stop::skipped("the server does not set the bit"),
            }
        },
    },
    Case {
        name: "auth.algorithms-form",
        rfc: 8489,
        section: "14.11",
        must: "The attribute contains a list of algorithm numbers and variable length parameters, padded to a 32-bit boundary.",
        run: algorithms_form,
    },
];

fn algorithms_form(stand: &Stand) -> Outcome {
    let Some(list) = stand.client()?.proof()?.algorithms else {
        return Stop::skipped("the server sends no PASSWORD-ALGORITHMS");
    };
    let (mut rest, mut known) = (&*list, 0);
    while !rest.is_empty() {
        let [n1, n2, l1, l2, behind @ ..] = rest else {
            return Stop::failed(format!("the list ends in an entry: {list:02x?}"));
        };
        known += usize::from(matches!(u16::from_be_bytes([*n1, *n2]), 1 | 2));
        let length = usize::from(u16::from_be_bytes([*l1, *l2])).next_multiple_of(4);
        let Some(next) = behind.get(length..) else {
            return Stop::failed(format!("an entry is longer than the list: {list:02x?}"));
        };
        rest = next;
    }
    claim(known > 0, || format!("no algorithm of IANA's is in it: {list:02x?}"))
}
