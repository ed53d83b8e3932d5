use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::account::Account;
use super::allocation::{Allocation, Birth, Relay, TcpRelay, Traffic};
use super::ledger::{Owner, Token};
use super::pools::Wanted;
use super::rate::Bucket;
use super::server::Context;
use super::{
    Cause, Ledger, OpenError, Protocol, RelayAddress, RelayId, RelaySockets, Server, SessionId,
    Stats,
};
use crate::auth::OnExpiry;
use crate::stun::{Family, attribute};
use crate::time::{Mono, Now};

/// UDP in REQUESTED-TRANSPORT (RFC 8656 §18.8).
const PROTOCOL_UDP: u8 = 17;
/// TCP (RFC 6062 §4.1).
const PROTOCOL_TCP: u8 = 6;
/// Ports tried when others on the host have them.
const ATTEMPTS: usize = 64;

/// What an Allocate asks for, after the checks of RFC 8656 §7.2.
struct Plan {
    protocol: Protocol,
    family: Family,
    both: bool,
    wanted: Wanted,
    reservation: Option<Token>,
    mobile: bool,
}

/// A taken port with its open socket.
struct Opened {
    relay: RelayAddress,
    port: u16,
    reserved_next: bool,
}

/// What could be opened of a plan.
struct Addresses {
    opened: [Option<Opened>; 2],
    /// Which of two could not be had, and why.
    missing: Option<(Family, Cause)>,
}

impl Server {
    pub(super) fn allocate(
        &mut self,
        context: &Context<'_>,
        slot: Option<u32>,
        out: &mut [u8],
        sockets: &mut dyn RelaySockets,
    ) -> Result<usize, Cause> {
        if let Some(slot) = slot {
            let allocation = &self.allocations[slot as usize];
            // RFC 8656 §7.2: a retransmission gets the same response, any other request 437.
            if allocation.birth.transaction == context.request.id
                && allocation.credential.is_of_same_user(&context.who.credential)
            {
                return Ok(self.allocate_response(context, slot, out));
            }
            return Err(Cause::AllocationExists);
        }
        if self.is_self_check(context) {
            return self.allocate_for_check(context, out, sockets);
        }
        self.redirect(context)?;
        let plan = self.plan(context)?;
        let client = context.client.tuple.client.ip();
        let who = &context.who.credential;
        let admitted = self.ledger.admit(context.realm, who.owner(), client, &self.settings.limits);
        let owner = admitted.map_err(|cause| self.or_elsewhere(context, cause))?;
        let made = self.make(context, &plan, &owner, sockets);
        match made {
            Ok(slot) => {
                self.count_birth(slot, context.stats);
                Ok(self.allocate_response(context, slot, out))
            }
            Err(cause) => {
                self.ledger.dismiss(&owner, client, context.now.mono);
                Err(self.or_elsewhere(context, cause))
            }
        }
    }

    fn count_birth(&self, slot: u32, stats: &Stats) {
        let allocation = &self.allocations[slot as usize];
        let families = allocation.relays.map(|relay| relay.is_some());
        let transport = allocation.client.tuple.transport;
        stats.allocations.add(1);
        stats.made[Stats::made_at(transport, allocation.protocol(), families)].add(1);
    }

    /// As any other, but that it counts nowhere and is sent nowhere.
    fn allocate_for_check(
        &mut self,
        context: &Context<'_>,
        out: &mut [u8],
        sockets: &mut dyn RelaySockets,
    ) -> Result<usize, Cause> {
        let plan = self.plan(context)?;
        let who = &context.who.credential;
        let owner = Ledger::uncounted(who.realm(), who.owner());
        let slot = self.make(context, &plan, &owner, sockets)?;
        Ok(self.allocate_response(context, slot, out))
    }

    fn is_self_check(&self, context: &Context<'_>) -> bool {
        let username = context.who.credential.username();
        let check = self.settings.self_check.as_ref();
        check.is_some_and(|check| check.is(&context.client.tuple, username))
    }

    /// RFC 8656 §7.2, checks 3 to 9, in order.
    fn plan(&self, context: &Context<'_>) -> Result<Plan, Cause> {
        let request = context.request;
        if request.malformed {
            return Err(Cause::Malformed);
        }
        let mobile = self.admit_mobility(request)?;
        let protocol = match request.transport {
            None => return Err(Cause::Missing),
            Some(PROTOCOL_UDP) => Protocol::Udp,
            Some(PROTOCOL_TCP) if self.settings.tcp_allocations => Protocol::Tcp,
            Some(_) => return Err(Cause::TransportNotSupported),
        };
        if protocol == Protocol::Tcp {
            // RFC 6062 §5.1, items 2 and 3.
            if !context.client.tuple.transport.is_stream() {
                return Err(Cause::NeedsStream);
            }
            if request.dont_fragment || request.even_port.is_some() || request.reservation.is_some()
            {
                return Err(Cause::Contradiction);
            }
        }
        let (family, additional) = (request.family, request.additional_family);
        if request.reservation.is_some()
            && (request.even_port.is_some() || family.is_some() || additional.is_some())
        {
            return Err(Cause::Contradiction);
        }
        if family.is_some() && additional.is_some() {
            return Err(Cause::Contradiction);
        }
        let family = match family {
            None => Family::V4,
            Some(code) => Family::from_code(code).ok_or(Cause::FamilyNotSupported)?,
        };
        if self.settings.relays_of(family).next().is_none() && request.reservation.is_none() {
            return Err(Cause::FamilyNotSupported);
        }
        let wanted = match request.even_port {
            None => Wanted::Any,
            Some(false) => Wanted::Even,
            Some(true) if additional.is_some() => return Err(Cause::Contradiction),
            Some(true) => Wanted::EvenAndNext,
        };
        // RFC 8656 §18.11: IPv6 is the only valid value.
        if additional.is_some_and(|code| Family::from_code(code) != Some(Family::V6)) {
            return Err(Cause::Contradiction);
        }
        let reservation = request.reservation;
        let both = additional.is_some();
        Ok(Plan { protocol, family, both, wanted, reservation, mobile })
    }

    /// Opens the sockets and files the allocation.
    fn make(
        &mut self,
        context: &Context<'_>,
        plan: &Plan,
        owner: &Arc<Owner>,
        sockets: &mut dyn RelaySockets,
    ) -> Result<u32, Cause> {
        let now = context.now;
        // The slot that `insert` will use: the worker knows the socket by it.
        let slot = self.allocations.vacant_key() as u32;
        let Addresses { opened, missing } = self.open_all(slot, plan, owner, context, sockets)?;
        let reservation = self.reserve_next(&opened, owner, context);
        let lifetime = self.granted(context);
        let expires = now.mono + Duration::from_secs(lifetime.into());
        let hard_end = self.hard_end(context);
        self.born += 1;
        let allocation = Allocation {
            id: SessionId::new(self.seat.number, self.born),
            client: *context.client,
            owner: Arc::clone(owner),
            own: self.is_self_check(context),
            realm: Arc::clone(context.realm),
            credential: Arc::clone(&context.who.credential),
            hard_end,
            birth: Birth {
                at: now.mono,
                transaction: context.request.id,
                lifetime,
                reservation,
                address_error: missing.map(|(family, why)| (family, why.code())),
            },
            relays: relays(&opened, expires),
            permissions: Vec::new(),
            channels: Vec::new(),
            tcp: (plan.protocol == Protocol::Tcp).then(Box::<TcpRelay>::default),
            traffic: Traffic::default(),
            account: Account::new(now.mono),
            to_peer: Bucket::default(),
            to_client: Bucket::default(),
            detached: false,
            revoked: false,
            refusals: None,
            mobility: plan.mobile.then(|| self.mobilize(slot, context.client)),
        };
        let end = allocation.next_end();
        let filed = self.insert(allocation);
        debug_assert_eq!(filed, slot);
        if let Some(end) = end {
            self.wheel.set(slot, end);
        }
        if !self.allocations[slot as usize].own {
            self.tell_birth(slot, now.mono);
        }
        Ok(slot)
    }

    /// Keeps the port after an even one for whoever brings the token.
    fn reserve_next(
        &mut self,
        opened: &[Option<Opened>; 2],
        owner: &Arc<Owner>,
        context: &Context<'_>,
    ) -> Option<Token> {
        let first = opened.iter().flatten().find(|opened| opened.reserved_next)?;
        let token = self.random.next_u64().to_be_bytes();
        let third_party = context.who.credential.key().is_session();
        let place = (first.relay, first.port + 1);
        self.ledger.reserve(token, owner, third_party, place, context.now.mono);
        Some(token)
    }

    /// Opens what the plan asks for: of two addresses one is enough, and then it is said why
    /// there is no other (RFC 8656 §7.2, check 9).
    fn open_all(
        &mut self,
        slot: u32,
        plan: &Plan,
        owner: &Owner,
        context: &Context<'_>,
        sockets: &mut dyn RelaySockets,
    ) -> Result<Addresses, Cause> {
        let now = context.now;
        let first = match plan.reservation {
            Some(token) => self.open_reserved(slot, token, context, sockets),
            None if plan.wanted == Wanted::EvenAndNext && !self.ledger.may_reserve(owner) => {
                Err(Cause::NoPort(self.settings.ports))
            }
            None => self.open(slot, plan.family, plan, now, sockets),
        };
        if !plan.both {
            return first.map(|first| Addresses { opened: [Some(first), None], missing: None });
        }
        // EVEN-PORT is about the IPv4 one: RFC 8656 §7.2 has it for one relayed transport address.
        let second = if self.settings.relays_of(Family::V6).next().is_none() {
            Err(Cause::FamilyNotSupported)
        } else {
            self.open(slot, Family::V6, &Plan { wanted: Wanted::Any, ..*plan }, now, sockets)
        };
        let missing = match (&first, &second) {
            (Ok(_), Ok(_)) => None,
            (Ok(_), Err(why)) => Some((Family::V6, *why)),
            (Err(why), Ok(_)) => Some((Family::V4, *why)),
            (Err(why), Err(_)) => return Err(*why),
        };
        Ok(Addresses { opened: [first.ok(), second.ok()], missing })
    }

    /// The lifetime granted for a LIFETIME, in seconds (RFC 8656 §7.2, §8.2).
    pub(super) fn granted(&self, context: &Context<'_>) -> u32 {
        let whole = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        let default = whole(self.settings.default_lifetime);
        let max = whole(self.settings.max_lifetime);
        let granted = context.request.lifetime.unwrap_or(default).min(max).max(default.min(max));
        match context.who.credential.expires() {
            // RFC 7635 §9: no longer than what is left of the access token.
            Some(expires) if context.who.credential.key().is_session() => {
                let left = expires.saturating_sub(context.now.unix);
                granted.min(u32::try_from(left).unwrap_or(u32::MAX))
            }
            _ => granted,
        }
    }

    /// When the allocation ends because its credential does.
    pub(super) fn hard_end(&self, context: &Context<'_>) -> Option<Mono> {
        let ends = context.realm.authority.on_expiry() == OnExpiry::End
            || context.who.credential.key().is_session();
        let expires = context.who.credential.expires().filter(|_| ends)?;
        let left = expires.saturating_sub(context.now.unix);
        Some(context.now.mono + Duration::from_secs(left))
    }

    /// Takes a port and opens a socket on it; ports that others on the host have are passed over.
    fn open(
        &mut self,
        slot: u32,
        family: Family,
        plan: &Plan,
        now: Now,
        sockets: &mut dyn RelaySockets,
    ) -> Result<Opened, Cause> {
        let wanted = plan.wanted;
        for _ in 0..ATTEMPTS {
            let random = self.random.next_u64();
            let (relay, port) = self
                .ledger
                .take_port(family, wanted, random, now.mono)
                .ok_or(Cause::NoPort(self.settings.ports))?;
            let reserved_next = wanted == Wanted::EvenAndNext;
            let ip = relay.local;
            let (id, local) = (RelayId { slot, family }, SocketAddr::new(ip, port));
            let opened = match plan.protocol {
                Protocol::Udp => sockets.open(id, local),
                Protocol::Tcp => sockets.listen(id, local),
            };
            match opened {
                Ok(()) => {
                    return Ok(Opened { relay, port, reserved_next });
                }
                Err(error) => {
                    if reserved_next {
                        self.ledger.release_port(ip, port + 1);
                    }
                    if error == OpenError::Unavailable {
                        self.ledger.release_port(ip, port);
                        return Err(Cause::NoSocket);
                    }
                    self.ledger.quarantine_port(ip, port, now.mono);
                }
            }
        }
        Err(Cause::NoPort(self.settings.ports))
    }

    /// Opens the port that a reservation token stands for.
    fn open_reserved(
        &mut self,
        slot: u32,
        token: Token,
        context: &Context<'_>,
        sockets: &mut dyn RelaySockets,
    ) -> Result<Opened, Cause> {
        let (now, credential) = (context.now.mono, &context.who.credential);
        let redeemed = self.ledger.redeem(token, credential, now);
        let (relay, port) = redeemed.ok_or(Cause::BadReservation)?;
        let (ip, family) = (relay.local, Family::of(&relay.local));
        match sockets.open(RelayId { slot, family }, SocketAddr::new(ip, port)) {
            Ok(()) => Ok(Opened { relay, port, reserved_next: false }),
            Err(OpenError::PortInUse) => {
                self.ledger.quarantine_port(ip, port, now);
                Err(Cause::BadReservation)
            }
            Err(OpenError::Unavailable) => {
                self.ledger.release_port(ip, port);
                Err(Cause::NoSocket)
            }
        }
    }

    /// The success response, made from what is kept, so that it comes out the same each time.
    fn allocate_response(&self, context: &Context<'_>, slot: u32, out: &mut [u8]) -> usize {
        let allocation = &self.allocations[slot as usize];
        let mut writer = context.success(out);
        for relay in allocation.relays.iter().flatten() {
            writer.xor_address(attribute::XOR_RELAYED_ADDRESS, relay.advertised);
        }
        writer.number(attribute::LIFETIME, allocation.birth.lifetime);
        if let Some(token) = allocation.birth.reservation {
            writer.attribute(attribute::RESERVATION_TOKEN, &token);
        }
        if let Some(ticket) = self.first_ticket(allocation) {
            writer.attribute(attribute::MOBILITY_TICKET, &ticket);
        }
        if let Some((family, code)) = allocation.birth.address_error {
            writer.address_error_code(family, code);
        }
        writer.xor_address(attribute::XOR_MAPPED_ADDRESS, context.client.tuple.client);
        context.finish(writer, self.settings.software.as_deref())
    }
}

/// The relayed transport addresses of what was opened, each in its family's place.
fn relays(opened: &[Option<Opened>; 2], expires: Mono) -> [Option<Relay>; 2] {
    let mut relays = [None; 2];
    for Opened { relay, port, .. } in opened.iter().flatten() {
        let [local, advertised] =
            [relay.local, relay.advertised].map(|ip| SocketAddr::new(ip, *port));
        let family = Family::of(&relay.local);
        relays[family as usize] = Some(Relay { local, advertised, expires });
    }
    relays
}
