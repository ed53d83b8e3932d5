//! RFC 6062: TURN extensions for TCP allocations.

mod allocate;
mod connect;
mod data;

use std::net::SocketAddr;

use super::case::{Before as _, Case, Stop};
use super::client::Client;
use super::peer::{Connection, Listener};
use super::stand::Stand;
use crate::stun::{Method, Writer, attribute};

pub(super) const ALL: &[&[Case]] = &[allocate::CASES, connect::CASES, data::CASES];

/// TCP in REQUESTED-TRANSPORT.
const TCP: u32 = 6 << 24;

/// A control connection with a TCP allocation, and the relayed address.
fn allocated(stand: &Stand) -> Result<(Client<'_>, SocketAddr), Stop> {
    stand.needs_credentials()?;
    let mut control = stand.stream()?;
    let reply =
        control.ask(Method::ALLOCATE, |it| it.number(attribute::REQUESTED_TRANSPORT, TCP))?;
    if let Some(code @ (403 | 442)) = reply.code() {
        return Stop::skipped(format!("the server makes no TCP relays ({code})"));
    }
    reply.success().before("a TCP allocation")?;
    let relay = reply.relayed().before("a TCP allocation")?;
    Ok((control, relay))
}

/// The same, with a peer that the server may connect to.
fn ready(stand: &Stand) -> Result<(Client<'_>, SocketAddr, Listener), Stop> {
    // Who may be reached by UDP may be reached by TCP.
    stand.peer()?;
    let (control, relay) = allocated(stand)?;
    Ok((control, relay, Listener::new(stand.host)?))
}

/// Asks for a connection, and gives its CONNECTION-ID.
fn connect(control: &mut Client<'_>, peer: SocketAddr) -> Result<[u8; 4], Stop> {
    let reply =
        control.ask(Method::CONNECT, |it| it.xor_address(attribute::XOR_PEER_ADDRESS, peer))?;
    reply.success()?;
    let id = reply.has(attribute::CONNECTION_ID, "CONNECTION-ID")?;
    id.try_into().or_else(|_| Stop::failed("CONNECTION-ID is not 4 bytes long"))
}

fn with_id(id: [u8; 4]) -> impl Fn(&mut Writer<'_>) {
    move |it| it.attribute(attribute::CONNECTION_ID, &id)
}

/// A client that goes on with what the control connection was told (RFC 6062 §4.3: the same method and credentials); a
/// server whose nonces are for one 5-tuple gives it another.
fn beside<'s>(control: &mut Client<'s>, mut data: Client<'s>) -> Result<Client<'s>, Stop> {
    data.prove_by(control.proof()?);
    Ok(data)
}

/// A connection all the way: the control connection, the client's end and the peer's.
struct Through<'s> {
    control: Client<'s>,
    data: Client<'s>,
    peer: Connection,
}

fn through(stand: &Stand) -> Result<Through<'_>, Stop> {
    let (mut control, _, listener) = ready(stand)?;
    let id = connect(&mut control, listener.address()).before("a connection")?;
    let peer = listener.accept(stand.limit()).before("a connection")?;
    let mut data = beside(&mut control, stand.stream()?)?;
    let reply = data.ask(Method::CONNECTION_BIND, with_id(id))?;
    reply.success().before("a ConnectionBind")?;
    Ok(Through { control, data, peer })
}
