//! RFC 8489 §9.2.4: who is refused with 400, 401 and 438, and what is signed.

use crate::stun::{Kind, Method, Writer, attribute};
use crate::tools::conformance::case::{Before as _, Case, Outcome, Stop, claim};
use crate::tools::conformance::client::{Client, Packet, UDP, UNKNOWN};
use crate::tools::conformance::proof::Proof;
use crate::tools::conformance::reply::Reply;
use crate::tools::conformance::stand::Stand;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "auth.username-missing",
        rfc: 8489,
        section: "9.2.4",
        must: "If the message contains a MESSAGE-INTEGRITY, but is missing either the USERNAME or USERHASH attribute, the server MUST generate an error response with an error code of 400 (Bad Request).",
        run: |stand| lacking(stand, attribute::USERNAME),
    },
    Case {
        name: "auth.realm-missing",
        rfc: 8489,
        section: "9.2.4",
        must: "If the message contains a MESSAGE-INTEGRITY, but is missing the REALM attribute, the server MUST generate an error response with an error code of 400 (Bad Request).",
        run: |stand| lacking(stand, attribute::REALM),
    },
    Case {
        name: "auth.nonce-missing",
        rfc: 8489,
        section: "9.2.4",
        must: "If the message contains a MESSAGE-INTEGRITY, but is missing the NONCE attribute, the server MUST generate an error response with an error code of 400 (Bad Request).",
        run: |stand| lacking(stand, attribute::NONCE),
    },
    Case {
        name: "auth.user-unknown",
        rfc: 8489,
        section: "9.2.4",
        must: "If the value of the USERNAME attribute is not valid, the server MUST generate an error response with an error code of 401 (Unauthenticated).",
        run: |stand| unknown_user(stand)?.refused(401),
    },
    Case {
        name: "auth.user-unknown-challenge",
        rfc: 8489,
        section: "9.2.4",
        must: "This response MUST include a REALM value. The response MUST include a NONCE, selected by the server.",
        run: |stand| challenged(&unknown_user(stand)?),
    },
    Case {
        name: "auth.user-unknown-algorithms",
        rfc: 8489,
        section: "9.2.4",
        must: "The response (to a USERNAME that is not valid) MUST include a PASSWORD-ALGORITHMS attribute.",
        run: |stand| algorithms(&unknown_user(stand)?),
    },
    Case {
        name: "auth.username-long",
        rfc: 8489,
        section: "14.3",
        must: "A compliant implementation MUST be able to parse a UTF-8-encoded sequence of 763 or fewer octets to be compatible with RFC 5389.",
        run: |stand| as_user(stand, &[b'u'; 763])?.refused(401),
    },
    Case {
        name: "auth.password-wrong",
        rfc: 8489,
        section: "9.2.4",
        must: "If the resulting value does not match the contents of the MESSAGE-INTEGRITY attribute, the server MUST reject the request; this response MUST use an error code of 401 (Unauthenticated).",
        run: |stand| wrong_password(stand)?.refused(401),
    },
    Case {
        name: "auth.password-wrong-challenge",
        rfc: 8489,
        section: "9.2.4",
        must: "It MUST include the REALM and NONCE attributes.",
        run: |stand| challenged(&wrong_password(stand)?),
    },
    Case {
        name: "auth.changed-on-the-way",
        rfc: 8489,
        section: "14.5",
        must: "The text used as input to HMAC is the STUN message, up to and including the attribute preceding the MESSAGE-INTEGRITY attribute: a request that was changed is rejected.",
        run: changed,
    },
    Case {
        name: "auth.nonce-stale",
        rfc: 8489,
        section: "9.2.4",
        must: "If the NONCE is no longer valid, the server MUST generate an error response with an error code of 438 (Stale Nonce).",
        run: |stand| stale(&mut stand.client()?)?.refused(438),
    },
    Case {
        name: "auth.nonce-stale-challenge",
        rfc: 8489,
        section: "9.2.4",
        must: "This response (438) MUST include NONCE and REALM.",
        run: |stand| {
            let reply = stale(&mut stand.client()?)?;
            reply.refused(438).before("a stale nonce")?;
            reply.has(attribute::NONCE, "NONCE")?;
            reply.has(attribute::REALM, "REALM").map(drop)
        },
    },
    Case {
        name: "auth.nonce-stale-algorithms",
        rfc: 8489,
        section: "9.2.4",
        must: "This response (438) MUST include PASSWORD-ALGORITHMS attributes.",
        run: |stand| {
            let reply = stale(&mut stand.client()?)?;
            reply.refused(438).before("a stale nonce")?;
            algorithms(&reply)
        },
    },
    Case {
        name: "auth.nonce-stale-new",
        rfc: 8489,
        section: "9.2.4",
        must: "The NONCE attribute value (of a 438) MUST be valid.",
        run: |stand| {
            let mut client = stand.client()?;
            let reply = stale(&mut client)?;
            reply.refused(438).before("a stale nonce")?;
            let proof = client.proof()?.renewed(&reply);
            let packet = Packet::allocate(|writer| proof.sign(writer))?;
            client.holds_relay();
            client.prove_by(proof);
            client.exchange(&packet)?.success()
        },
    },
    Case {
        name: "auth.integrity-before-nonce",
        rfc: 8489,
        section: "9.2.4",
        must: "The server performs the checks in the order specified: the integrity before the NONCE, so that only who knows the password learns that a nonce is stale.",
        run: |stand| {
            let mut client = stand.client()?;
            let proof = outdated(client.proof()?);
            let packet = Packet::allocate(|writer| {
                proof.introduce(writer);
                writer.integrity(proof.mac_for("not the password"));
            })?;
            client.exchange(&packet)?.refused(401)
        },
    },
    Case {
        name: "auth.success-signed",
        rfc: 8489,
        section: "9.2.4",
        must: "Any response generated by the server MUST include the integrity: MESSAGE-INTEGRITY, where the request was processed as though PASSWORD-ALGORITHM was MD5.",
        run: |stand| {
            let mut client = stand.client()?;
            let reply = client.allocate()?;
            reply.signed(client.proof()?.mac())
        },
    },
    Case {
        name: "auth.error-signed",
        rfc: 8489,
        section: "9.2.4",
        must: "Any response generated by the server (if these checks pass) MUST include the integrity: error responses too.",
        run: |stand| {
            let mut client = stand.client()?;
            // RFC 8656 §5: there is no allocation.
            let reply = client.refresh(600)?;
            reply.refused(437).before("a Refresh without an allocation")?;
            reply.signed(client.proof()?.mac())
        },
    },
    Case {
        name: "auth.behind-integrity-ignored",
        rfc: 8489,
        section: "9",
        must: "Agents MUST ignore all attributes that follow MESSAGE-INTEGRITY: what they say has no effect.",
        run: behind_integrity,
    },
    Case {
        name: "auth.behind-integrity-unknown",
        rfc: 8489,
        section: "9",
        must: "Agents MUST ignore all attributes that follow MESSAGE-INTEGRITY: unknown comprehension-required ones too.",
        run: |stand| {
            let mut client = stand.allocated()?;
            let packet = refresh_with(&mut client, |it| it.attribute(UNKNOWN, b""))?;
            client.exchange(&packet)?.success()
        },
    },
    Case {
        name: "auth.fingerprint-behind-integrity",
        rfc: 8489,
        section: "14.5",
        must: "The Length field used for the integrity points to the end of MESSAGE-INTEGRITY: a FINGERPRINT behind it does no harm.",
        run: |stand| {
            let mut client = stand.allocated()?;
            let packet = refresh_with(&mut client, |it| it.fingerprint())?;
            client.exchange(&packet)?.success()
        },
    },
    Case {
        name: "auth.indication-unauthenticated",
        rfc: 8489,
        section: "9.2",
        must: "Note that the long-term credential mechanism cannot be used to protect indications: no challenge answers one.",
        run: |stand| {
            stand.needs_credentials()?;
            let packet = Packet::new(Kind::indication(Method::ALLOCATE), |writer| {
                writer.number(attribute::REQUESTED_TRANSPORT, UDP);
            })?;
            stand.client()?.unanswered(&packet)
        },
    },
];

/// A signed request that lacks one of the three attributes.
fn lacking(stand: &Stand, kind: u16) -> Outcome {
    let mut client = stand.client()?;
    let proof = client.proof()?;
    let packet = Packet::allocate(|writer| {
        let parts = [
            (attribute::USERNAME, proof.username()),
            (attribute::REALM, &*proof.realm),
            (attribute::NONCE, &*proof.nonce),
        ];
        for (part, value) in parts.into_iter().filter(|(part, _)| *part != kind) {
            writer.attribute(part, value);
        }
        writer.integrity(proof.mac());
    })?;
    client.exchange(&packet)?.refused(400)
}

fn unknown_user(stand: &Stand) -> Result<Reply, Stop> {
    as_user(stand, b"nobody-by-this-name")
}

/// A request by somebody else, whoever that is.
fn as_user(stand: &Stand, name: &[u8]) -> Result<Reply, Stop> {
    let mut client = stand.client()?;
    let proof = client.proof()?;
    let packet = Packet::allocate(|writer| {
        writer.attribute(attribute::USERNAME, name);
        proof.repeat(writer);
        writer.integrity(proof.mac());
    })?;
    client.exchange(&packet)
}

fn wrong_password(stand: &Stand) -> Result<Reply, Stop> {
    let mut client = stand.client()?;
    let proof = client.proof()?;
    let packet = Packet::allocate(|writer| {
        proof.introduce(writer);
        writer.integrity(proof.mac_for("not the password"));
    })?;
    client.exchange(&packet)
}

fn challenged(reply: &Reply) -> Outcome {
    reply.refused(401)?;
    reply.has(attribute::REALM, "REALM")?;
    reply.has(attribute::NONCE, "NONCE").map(drop)
}

fn algorithms(reply: &Reply) -> Outcome {
    reply.has(attribute::PASSWORD_ALGORITHMS, "PASSWORD-ALGORITHMS").map(drop)
}

/// With a nonce of the same form that the server has never given.
fn outdated(mut proof: Proof) -> Proof {
    if let Some(last) = proof.nonce.last_mut() {
        *last = if *last == b'0' { b'1' } else { b'0' };
    }
    proof
}

/// The answer to a sound request with such a nonce.
fn stale(client: &mut Client<'_>) -> Result<Reply, Stop> {
    let proof = outdated(client.proof()?);
    let packet = Packet::allocate(|writer| proof.sign(writer))?;
    client.exchange(&packet)
}

/// One attribute is another than what was signed.
fn changed(stand: &Stand) -> Outcome {
    let mut client = stand.client()?;
    let proof = client.proof()?;
    let mut packet = Packet::new(Kind::request(Method::ALLOCATE), |writer| {
        writer.number(attribute::LIFETIME, 700);
        writer.number(attribute::REQUESTED_TRANSPORT, UDP);
        proof.sign(writer);
    })?;
    packet.bytes[27] ^= 1;
    client.exchange(&packet)?.refused(401)
}

/// A signed Refresh with something behind its integrity.
fn refresh_with(
    client: &mut Client<'_>,
    behind: impl FnOnce(&mut Writer<'_>),
) -> Result<Packet, Stop> {
    let proof = client.proof()?;
    Packet::new(Kind::request(Method::REFRESH), |writer| {
        writer.number(attribute::LIFETIME, 700);
        proof.sign(writer);
        behind(writer);
    })
}

/// Somebody on the way adds "and now end it".
fn behind_integrity(stand: &Stand) -> Outcome {
    let mut client = stand.allocated()?;
    let proof = client.proof()?;
    let packet = Packet::new(Kind::request(Method::REFRESH), |writer| {
        proof.sign(writer);
        writer.number(attribute::LIFETIME, 0);
    })?;
    let reply = client.exchange(&packet)?;
    reply.success()?;
    claim(reply.lifetime()? > 0, || "LIFETIME behind it has ended the allocation".to_owned())
}
