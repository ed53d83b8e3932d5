//! RFC 8489 §9: credentials.

use turnwire::stun::{Class, Digest, Method, attribute};

use super::draft::{Draft, Signed};
use super::saboteur::Deed;
use super::stun::{edit, refuse, succeed};
use super::{Broken, broken};

pub(crate) const BROKEN: &[Broken] = &[
    broken(
        "strangers are let in",
        Deed::Response(|request, it, _| {
            if request.signed == Signed::No && request.kind.method == Method::ALLOCATE {
                succeed(it)
            }
        }),
        &["auth.challenge", "allocate.unauthenticated"],
    ),
    broken(
        "challenges name no realm",
        Deed::Response(|_, it, _| it.drop(attribute::REALM)),
        &["auth.challenge-realm"],
    ),
    broken(
        "challenges have no nonce",
        Deed::Response(|_, it, _| it.drop(attribute::NONCE)),
        &["auth.challenge-nonce"],
    ),
    broken(
        "the realm is no text",
        Deed::Response(|_, it, _| edit(it, attribute::REALM, |value| value[0] = 0xFF)),
        &["auth.realm-text"],
    ),
    broken(
        "nonces are long",
        Deed::Response(|_, it, _| edit(it, attribute::NONCE, |value| value.resize(200, b'0'))),
        &["auth.nonce-text"],
    ),
    broken(
        "nonces are as they were in RFC 5389",
        Deed::Response(|_, it, _| edit(it, attribute::NONCE, |value| drop(value.drain(..13)))),
        &["auth.nonce-cookie", "auth.algorithms-announced"],
    ),
    broken(
        "everybody has the same nonce",
        Deed::Response(|_, it, _| {
            edit(it, attribute::NONCE, |value| *value = b"obMatJos2gAAA0123456789".to_vec());
        }),
        &["auth.nonce-own"],
    ),
    broken(
        "PASSWORD-ALGORITHMS is forgotten",
        Deed::Response(|_, it, _| it.drop(attribute::PASSWORD_ALGORITHMS)),
        &["auth.algorithms-kept", "auth.user-unknown-algorithms", "auth.nonce-stale-algorithms"],
    ),
    broken(
        "the list of algorithms ends too early",
        Deed::Response(|_, it, _| {
            edit(it, attribute::PASSWORD_ALGORITHMS, |list| list.truncate(list.len() - 2));
        }),
        &["auth.algorithms-form"],
    ),
    broken(
        "what is missing leads to a challenge",
        Deed::Response(|request, it, _| {
            let whole = [attribute::USERNAME, attribute::REALM, attribute::NONCE]
                .iter()
                .all(|kind| request.has(*kind));
            if !whole {
                it.put_code(401)
            }
        }),
        &["auth.username-missing", "auth.realm-missing", "auth.nonce-missing"],
    ),
    broken(
        "who has no right is forbidden",
        Deed::Response(|request, it, _| {
            if request.signed != Signed::No && it.code() == Some(401) {
                it.put_code(403)
            }
        }),
        &[
            "auth.user-unknown",
            "auth.username-long",
            "auth.password-wrong",
            "auth.changed-on-the-way",
            "auth.integrity-before-nonce",
            "auth.sha256-password-wrong",
        ],
    ),
    broken(
        "only the first refusal is a challenge",
        Deed::Response(|request, it, _| {
            if request.signed != Signed::No {
                it.drop(attribute::REALM);
                it.drop(attribute::NONCE);
            }
        }),
        &[
            "auth.user-unknown-challenge",
            "auth.password-wrong-challenge",
            "auth.nonce-stale-challenge",
        ],
    ),
    broken(
        "a long name is no name",
        Deed::Response(|request, it, _| {
            if request.get(attribute::USERNAME).is_some_and(|name| name.len() > 508) {
                refuse(it, 400)
            }
        }),
        &["auth.username-long"],
    ),
    broken(
        "any password is good",
        Deed::Request(|it, _| {
            if let Signed::Wrong(digest) = it.signed {
                it.signed = Signed::Right(digest)
            }
        }),
        &[
            "auth.password-wrong",
            "auth.password-wrong-challenge",
            "auth.changed-on-the-way",
            "auth.sha256-password-wrong",
        ],
    ),
    broken(
        "any nonce is good",
        Deed::Request(|it, memory| {
            if it.has(attribute::NONCE) {
                let nonce = memory.nonce.clone();
                it.put(attribute::NONCE, &nonce);
            }
        }),
        &["auth.nonce-stale"],
    ),
    broken(
        "a stale nonce's successor is stale",
        Deed::Response(|_, it, _| {
            if it.code() == Some(438) {
                edit(it, attribute::NONCE, |value| value.reverse())
            }
        }),
        &["auth.nonce-stale-new"],
    ),
    broken(
        "responses are not signed",
        Deed::Response(|_, it, _| it.signed = Signed::No),
        &["auth.success-signed", "auth.error-signed", "auth.sha256-signed"],
    ),
    broken(
        "refusals are not signed",
        Deed::Response(|_, it, _| {
            if it.kind.class == Class::Error {
                it.signed = Signed::No
            }
        }),
        &["auth.error-signed"],
    ),
    broken(
        "what stands behind the integrity counts",
        Deed::Request(|it, _| {
            let behind = std::mem::take(&mut it.behind);
            it.attributes.extend(behind);
        }),
        &["auth.behind-integrity-ignored", "auth.behind-integrity-unknown"],
    ),
    broken(
        "nothing may stand behind the integrity",
        Deed::Response(|request, it, _| {
            if request.fingerprint && request.signed != Signed::No {
                refuse(it, 401)
            }
        }),
        &["auth.fingerprint-behind-integrity"],
    ),
    broken(
        "SHA-256 is offered and not known",
        Deed::Response(|request, it, _| {
            if request.signed == Signed::Right(Digest::Sha256) {
                refuse(it, 401)
            }
        }),
        &["auth.sha256"],
    ),
    broken(
        "SHA-256 is answered with SHA-1",
        Deed::Response(|_, it, _| {
            if it.signed == Signed::Right(Digest::Sha256) {
                it.signed = Signed::Right(Digest::Sha1)
            }
        }),
        &["auth.sha256-signed"],
    ),
    broken(
        "a piece of an integrity is enough",
        Deed::Packet(|bytes, _| super::completed(bytes)),
        &["auth.sha256-short"],
    ),
    broken(
        "nobody looks at what algorithm was told",
        Deed::Request(|it, _| {
            if let Signed::Right(_) = it.signed {
                it.drop(attribute::PASSWORD_ALGORITHM);
                it.drop(attribute::PASSWORD_ALGORITHMS);
                it.signed = Signed::Right(Digest::Sha1);
            }
        }),
        &[
            "auth.algorithm-alone",
            "auth.algorithms-alone",
            "auth.algorithms-changed",
            "auth.algorithm-not-offered",
        ],
    ),
];

/// Of somebody whose name is hidden.
pub(crate) const HIDDEN: &[Broken] = &[broken(
    "a hash is no name",
    Deed::Request(|it: &mut Draft, _| {
        it.drop(attribute::USERHASH);
    }),
    &["auth.userhash"],
)];
