//! RFC 8016: mobility.

use turnwire::stun::{Digest, Kind, Method, attribute};

use super::draft::{Draft, Signed};
use super::saboteur::{Deed, Out};
use super::stun::{edit, refuse, succeed};
use super::{Broken, broken, silent};

pub(crate) const BROKEN: &[Broken] = &[
    broken(
        "tickets are empty",
        Deed::Response(|_, it, _| edit(it, attribute::MOBILITY_TICKET, Vec::clear)),
        &["mobility.ticket"],
    ),
    broken(
        "a ticket in an Allocate request is a wish for one",
        Deed::Request(|it, _| {
            if it.kind.method == Method::ALLOCATE {
                edit(it, attribute::MOBILITY_TICKET, Vec::clear)
            }
        }),
        &["mobility.allocate-ticket"],
    ),
    broken(
        "tickets are all the same",
        Deed::Response(|_, it, _| {
            edit(it, attribute::MOBILITY_TICKET, |ticket| {
                *ticket = b"the one and only ticket".to_vec()
            })
        }),
        &["mobility.ticket-entropy"],
    ),
    broken(
        "nobody moves",
        Deed::Response(|request, it, _| {
            if moves(request) {
                refuse(it, 403)
            }
        }),
        &[
            "mobility.moved",
            "mobility.ticket-invalid",
            "mobility.ticket-changed",
            "mobility.same-place",
            "mobility.other-user",
            "mobility.deleted",
        ],
    ),
    broken(
        "a move brings no new ticket",
        Deed::Response(|request, it, _| {
            if moves(request) {
                it.drop(attribute::MOBILITY_TICKET)
            }
        }),
        &["mobility.moved"],
    ),
    broken(
        "a ticket stays as it was",
        Deed::Response(|request, it, _| {
            if moves(request) && it.has(attribute::MOBILITY_TICKET) {
                it.put(
                    attribute::MOBILITY_TICKET,
                    request.get(attribute::MOBILITY_TICKET).unwrap(),
                );
            }
        }),
        &["mobility.ticket-new"],
    ),
    broken(
        "the new ticket is good for nothing",
        Deed::Response(|request, it, _| {
            if moves(request) {
                edit(it, attribute::MOBILITY_TICKET, |ticket| ticket[5] ^= 1)
            }
        }),
        &["mobility.ticket-new-good"],
    ),
    broken(
        "any ticket is good",
        Deed::Response(|request, it, _| {
            if moves(request) {
                succeed(it)
            }
        }),
        &[
            "mobility.ticket-invalid",
            "mobility.ticket-changed",
            "mobility.same-place",
            "mobility.deleted",
            "mobility.other-user",
        ],
    ),
    broken(
        "any user's ticket is good",
        Deed::Request(|it, _| {
            if let Some(name) = it.text(attribute::USERNAME).filter(|_| moves(it)) {
                it.put(
                    attribute::USERNAME,
                    name.replace("turnwire-check-2", "turnwire-check").as_bytes(),
                );
                it.signed = Signed::Right(Digest::Sha1);
            }
        }),
        &["mobility.other-user"],
    ),
    broken(
        "a ticket is good once",
        Deed::Response(|request, it, memory| {
            if moves(request) && memory.notes.insert("moved", Vec::new()).is_some() {
                refuse(it, 400)
            }
        }),
        &["mobility.old-ticket-repeated"],
    ),
    silent(
        "who may move is lost on the way",
        Deed::Packet(lost),
        &["mobility.old-sends", "mobility.new-sends"],
    ),
    silent(
        "data go nowhere",
        Deed::Back(|bytes, _| {
            if bytes.starts_with(&Kind::indication(Method::DATA).bits().to_be_bytes()) {
                Vec::new()
            } else {
                vec![Out::Client(bytes)]
            }
        }),
        &["mobility.old-receives", "mobility.new-receives"],
    ),
];

/// Whether it is the request of one who has moved.
fn moves(request: &Draft) -> bool {
    request.kind.method == Method::REFRESH && request.has(attribute::MOBILITY_TICKET)
}

/// What those send who have a ticket, old or new, does not arrive.
fn lost(bytes: Vec<u8>, memory: &mut super::saboteur::Memory) -> Vec<Out> {
    let draft = Draft::read(&bytes, None);
    if draft.as_ref().is_some_and(|it| it.has(attribute::MOBILITY_TICKET)) {
        memory.notes.insert("mobile", Vec::new());
    }
    let sends = draft.is_some_and(|it| it.kind == Kind::indication(Method::SEND));
    if sends && memory.notes.contains_key("mobile") { Vec::new() } else { vec![Out::Server(bytes)] }
}
