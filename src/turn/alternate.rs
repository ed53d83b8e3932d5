//! Other servers that clients are sent to (ALTERNATE-SERVER, RFC 8489 §10): which of them, and
//! when. Only a client that has just proved who it is gets such an answer, and it is signed
//! (RFC 8489 §14.8): strangers are sent nowhere.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::server::Context;
use super::{Cause, Client, Server, Transport};
use crate::stun::{Family, Kind, Writer, attribute};

/// When clients are sent to another server, as long as one is alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirect {
    /// Not at all.
    Never,
    /// When this server drains, or has no room for one more allocation.
    #[default]
    Busy,
    /// With every new allocation.
    Always,
}

/// Other servers that take this one's clients, with the same credentials.
#[derive(Debug, Default)]
pub struct Alternates {
    /// When they are used.
    pub when: Redirect,
    /// All of them.
    pub members: Vec<Alternate>,
}

/// One other server.
#[derive(Debug)]
pub struct Alternate {
    /// What the operator calls it.
    pub name: String,
    /// How often it is chosen, compared with the others; 0 for not at all.
    pub weight: u32,
    /// The name in its certificate: ALTERNATE-DOMAIN for clients over TLS and DTLS.
    pub domain: Option<String>,
    /// Where it listens.
    pub places: Vec<Place>,
    /// Clients sent there.
    sent: AtomicU64,
}

/// A transport address of another server.
#[derive(Debug)]
pub struct Place {
    /// What it listens for there.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
    alive: AtomicBool,
}

impl Alternates {
    /// Goes on with what is known of the servers and places that were there before.
    pub fn take_over(&self, before: &Self) {
        for member in &self.members {
            let known = before.members.iter().find(|it| it.name == member.name);
            let Some(known) = known else { continue };
            member.sent.store(known.sent(), Ordering::Relaxed);
            for place in &member.places {
                let same =
                    |it: &&Place| it.transport == place.transport && it.address == place.address;
                let alive = known.places.iter().find(same).is_some_and(Place::is_alive);
                place.set_alive(alive);
            }
        }
    }

    /// The member for a client, by its family and transport: a random one of those that are alive,
    /// by their weight.
    fn choose(&self, client: &Client, random: u64) -> Option<u16> {
        let fits = |member: &&Alternate| member.place_for(client).is_some();
        let all: u64 = self.members.iter().filter(fits).map(|it| u64::from(it.weight)).sum();
        let mut at = random.checked_rem(all)?;
        for (number, member) in self.members.iter().enumerate() {
            if !fits(&member) {
                continue;
            }
            match at.checked_sub(member.weight.into()) {
                None => return u16::try_from(number).ok(),
                Some(rest) => at = rest,
            }
        }
        None
    }
}

impl Alternate {
    /// A server that is not alive yet.
    pub fn new(name: String, weight: u32, domain: Option<String>, places: Vec<Place>) -> Self {
        Self { name, weight, domain, places, sent: AtomicU64::new(0) }
    }

    /// Clients sent there so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn place(&self, transport: Transport, family: Family) -> Option<&Place> {
        let fits = |place: &&Place| {
            let same = place.transport == transport && Family::of(&place.address.ip()) == family;
            same && place.is_alive()
        };
        self.places.iter().find(fits)
    }

    fn place_for(&self, client: &Client) -> Option<&Place> {
        self.place(client.tuple.transport, Family::of(&client.tuple.client.ip()))
    }
}

impl Place {
    /// A place of which nothing is known yet: it is not handed out.
    pub const fn new(transport: Transport, address: SocketAddr) -> Self {
        Self { transport, address, alive: AtomicBool::new(false) }
    }

    /// Whether the server has lately answered there.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Says whether it has.
    pub fn set_alive(&self, alive: bool) {
        self.alive.store(alive, Ordering::Relaxed);
    }
}

impl Server {
    /// Sends a new Allocate elsewhere, if that is to be; a server that drains takes none.
    pub(super) fn redirect(&mut self, context: &Context<'_>) -> Result<(), Cause> {
        let when = self.settings.alternates.when;
        let draining = self.ledger.is_draining();
        let request = context.request;
        // A reserved port is this server's, and belongs to a call that is under way.
        let movable = !request.malformed && request.reservation.is_none();
        if !movable || !(draining || when == Redirect::Always) {
            return Ok(());
        }
        let elsewhere = if when == Redirect::Never { None } else { self.alternate(context) };
        elsewhere.or(draining.then_some(Cause::Draining)).map_or(Ok(()), Err)
    }

    /// What to answer when an allocation cannot be made here: that there is room elsewhere.
    pub(super) fn or_elsewhere(&mut self, context: &Context<'_>, cause: Cause) -> Cause {
        let full = matches!(cause, Cause::TotalQuota(_) | Cause::NoPort(_) | Cause::NoSocket);
        let movable = context.request.reservation.is_none();
        if full && movable && self.settings.alternates.when != Redirect::Never {
            return self.alternate(context).unwrap_or(cause);
        }
        cause
    }

    fn alternate(&mut self, context: &Context<'_>) -> Option<Cause> {
        if self.settings.alternates.members.is_empty() {
            return None;
        }
        let random = self.random.next_u64();
        self.settings.alternates.choose(context.client, random).map(Cause::TryAlternate)
    }

    /// 300 with the address of a member.
    pub(super) fn redirection(&self, context: &Context<'_>, member: u16, out: &mut [u8]) -> usize {
        let cause = Cause::TryAlternate(member);
        context.stats.refuse(cause);
        let mut writer = Writer::new(out, Kind::error(context.request.method), &context.request.id);
        writer.error_code(cause.code(), cause.phrase());
        if let Some(member) = self.settings.alternates.members.get(usize::from(member)) {
            member.sent.fetch_add(1, Ordering::Relaxed);
            member.write(context.client, &mut writer);
        }
        context.finish(writer, self.settings.software.as_deref())
    }
}

impl Alternate {
    /// RFC 8489 §10: the client's family first, then the other one; and for the certificate the name.
    fn write(&self, client: &Client, writer: &mut Writer<'_>) {
        let (transport, family) = (client.tuple.transport, Family::of(&client.tuple.client.ip()));
        let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
        let places = [family, other].map(|family| self.place(transport, family));
        for place in places.into_iter().flatten() {
            writer.address(attribute::ALTERNATE_SERVER, place.address);
        }
        let secure = matches!(transport, Transport::Tls | Transport::Dtls);
        if let Some(domain) = self.domain.as_ref().filter(|_| secure) {
            writer.attribute(attribute::ALTERNATE_DOMAIN, domain.as_bytes());
        }
    }
}
