use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use slab::Slab;

use super::allocation::Allocation;
use super::connection::Connections;
use super::guests::Guests;
use super::index::Place;
use super::parked::Parked;
use super::realm::Realm;
use super::request::Request;
use super::tally::Tally;
use super::wheel::Wheel;
use super::{
    Audience, Cause, Client, ConnectionId, Dropped, Effect, FiveTuple, Ledger, Random,
    RelaySockets, Reply, Seat, Settings, Stats, Verdict,
};
use crate::auth::{Authenticated, Denial, DenialKind, Realms};
use crate::stun::{Class, Error, Message, Method};
use crate::time::{Mono, Now};

/// The longest response, in bytes: room that `out` must have. The longest realm and software
/// names fit with all that a response can hold besides.
pub const RESPONSE_MAX: usize = 2048;

/// The server of one worker: its allocations and all decisions about them.
pub struct Server {
    pub(super) settings: Arc<Settings>,
    pub(super) authorities: Arc<Realms>,
    /// By their places in `authorities`.
    pub(super) realms: Vec<Arc<Realm>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) random: Box<dyn Random>,
    pub(super) allocations: Slab<Allocation>,
    /// Allocations made so far.
    pub(super) born: u64,
    /// TCP connections with peers.
    pub(super) connections: Connections,
    /// Slots of `allocations` by their 5-tuples: the only index there is.
    pub(super) index: HashTable<Place>,
    pub(super) hasher: RandomState,
    /// When each slot's next relayed transport address ends.
    pub(super) wheel: Wheel,
    /// When what it has relayed is told next.
    pub(super) reports: Wheel,
    pub(super) effects: VecDeque<Effect>,
    pub(super) indications: u64,
    pub(super) seat: Seat,
    /// The worker at which the packet in hand has arrived, if it is another one.
    pub(super) origin: Option<u32>,
    /// Whether the packet in hand is another worker's, which does not take it.
    pub(super) here: bool,
    pub(super) guests: Guests,
    pub(super) parked: Parked,
    /// Whether the packet in hand has waited for the stores.
    pub(super) resumed: bool,
    /// Who hears of what is decided.
    pub(super) audience: Arc<Audience>,
    /// What was dropped of followed clients.
    pub(super) tallies: Vec<Tally>,
}

/// How a request that is granted is answered.
pub(super) enum Answer {
    /// With the bytes that were written.
    Now(usize),
    /// Later.
    Later,
    /// With the bytes that were written; then its connection is a client data connection.
    Bound(usize, ConnectionId),
}

/// A request that has passed authentication, with what its handler needs.
pub(super) struct Context<'a> {
    pub(super) now: Now,
    pub(super) client: &'a Client,
    pub(super) request: &'a Request<'a>,
    pub(super) who: &'a Authenticated,
    /// Who has let it in: the allocation may be of another one.
    pub(super) realm: &'a Arc<Realm>,
    pub(super) stats: &'a Stats,
}

impl Server {
    /// A server without allocations.
    pub fn new(
        settings: Arc<Settings>,
        authorities: Arc<Realms>,
        ledger: Arc<Ledger>,
        mut random: Box<dyn Random>,
        now: Mono,
    ) -> Self {
        let indications = random.next_u64();
        Self {
            realms: Realm::all(&settings, &authorities),
            settings,
            authorities,
            ledger,
            random,
            allocations: Slab::new(),
            born: 0,
            connections: Connections::default(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            wheel: Wheel::new(now),
            reports: Wheel::new(now),
            effects: VecDeque::new(),
            indications,
            seat: Seat::default(),
            origin: None,
            here: false,
            guests: Guests::default(),
            parked: Parked::default(),
            resumed: false,
            audience: Arc::default(),
            tallies: Vec::new(),
        }
    }

    /// Tells those what it decides.
    pub fn heard_by(self, audience: Arc<Audience>) -> Self {
        Self { audience, ..self }
    }

    /// One of several servers: what it hands out tells them apart.
    pub fn seated(self, seat: Seat) -> Self {
        Self { seat, ..self }
    }

    /// Takes a datagram, or a message that a [`crate::stun::Framer`] has cut off a stream.
    ///
    /// `out` must have [`RESPONSE_MAX`] bytes; a response is written there.
    pub fn receive(
        &mut self,
        now: Now,
        client: &Client,
        packet: &[u8],
        out: &mut [u8],
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) -> Verdict {
        let verdict = match packet.first() {
            // RFC 7983 §7
            Some(0x00..=0x03) => self.stun(now, client, packet, out, sockets, stats),
            Some(0x40..=0x7F) => self.channel_data(now, client, packet, stats),
            _ => Err(Dropped::Noise),
        };
        verdict.unwrap_or_else(|reason| {
            if reason == Dropped::NoAllocation
                && !self.here
                && let Some(verdict) = self.guest_data(now, &client.tuple)
            {
                return verdict;
            }
            stats.drop(reason);
            self.tally(now, &client.tuple, reason);
            Verdict::Drop(reason)
        })
    }

    #[inline]
    fn stun(
        &mut self,
        now: Now,
        client: &Client,
        packet: &[u8],
        out: &mut [u8],
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) -> Result<Verdict, Dropped> {
        let message = Message::parse(packet).map_err(|error| match error {
            Error::Fingerprint => Dropped::Fingerprint,
            _ => Dropped::Malformed,
        })?;
        let kind = message.kind();
        match (kind.class, kind.method) {
            (Class::Indication, Method::SEND) => {
                self.send_indication(now, client, message, packet, stats)
            }
            (Class::Indication, Method::BINDING) => Ok(Verdict::Ignore),
            (Class::Request, method) if self.serves(method) => {
                self.request(now, client, message, (packet, out), sockets, stats)
            }
            _ => Err(Dropped::Unserved),
        }
    }

    /// Takes a request: a stranger's within the rate of its address only.
    fn request(
        &mut self,
        now: Now,
        client: &Client,
        message: Message<'_>,
        (packet, out): (&[u8], &mut [u8]),
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) -> Result<Verdict, Dropped> {
        let (tuple, method) = (&client.tuple, message.kind().method);
        if message.is_classic() && method != Method::BINDING {
            return Err(Dropped::Unserved);
        }
        let slot = self.find_live(now, tuple, sockets, stats);
        if slot.is_none()
            && method != Method::BINDING
            && !self.here
            && let Some(verdict) = self.guest_request(now, tuple)
        {
            return verdict;
        }
        let guarded = self.guards(tuple);
        let bounded = slot.is_none() && guarded;
        if bounded && !self.admit_stranger(now.mono, tuple) {
            return Err(Dropped::RateLimited);
        }
        let mut request = Request::read(message, packet);
        if slot.is_none()
            && let Some(verdict) = self.stray(client, &request)
        {
            return verdict;
        }
        let verdict = if method == Method::BINDING {
            if slot.is_some() && !self.admit_unsigned(now.mono, client) {
                return Err(Dropped::RateLimited);
            }
            let answer = self.discover(client, &mut request, packet.len());
            if let Ok(Some(answer)) = &answer {
                self.admit_discovery(now.mono, client, answer, guarded, stats)?;
            }
            Verdict::Reply(self.binding(client, &request, answer, out, stats))
        } else {
            self.authenticated(now, client, &request, slot, (packet, out), sockets, stats)?
        };
        if bounded && method != Method::BINDING {
            self.refund_stranger(tuple, &verdict);
        }
        self.tell(now, client, &request, slot, &verdict, out);
        Ok(verdict)
    }

    /// Lets a request through authentication (RFC 8489 §9.2.4) to its handler.
    #[expect(clippy::too_many_arguments, reason = "the one place where everything meets")]
    fn authenticated(
        &mut self,
        now: Now,
        client: &Client,
        request: &Request<'_>,
        slot: Option<u32>,
        (packet, out): (&[u8], &mut [u8]),
        sockets: &mut dyn RelaySockets,
        stats: &Stats,
    ) -> Result<Verdict, Dropped> {
        let address = client.tuple.client;
        // RFC 8016 §3.2.2: a ticket stands for its allocation, wherever it comes from; so does the
        // name of a connection (RFC 6062 §4.3).
        let control = self.slot_of_connection(request);
        let known = slot.or_else(|| self.named_slot(request)).or(control);
        let known = known.and_then(|slot| self.allocations.get(slot as usize));
        let realm = self.realm_of(request, known, client, sockets);
        let own = |allocation: &&Allocation| allocation.realm.name() == realm.name();
        let valid = known.filter(|allocation| !allocation.revoked).filter(own);
        let credential = valid.map(|allocation| &allocation.credential);
        let check = |address| {
            realm.authority.check(&request.message, &request.claim, credential, address, now)
        };
        let mut checked = check(address);
        if let (Err(denial), Some(known), Some(_)) = (&checked, known, control)
            && denial.kind == DenialKind::StaleNonce
        {
            // The nonce of its control connection serves a client as well.
            checked = check(known.client.tuple.client).or(checked);
        }
        let checked = checked.and_then(|who| self.ledger.revocations.pass(who, now.unix));
        let who = match checked {
            Ok(who) => who,
            Err(denial) => {
                let denied = (&*realm, denial);
                return self.denied(now, client, request, slot, denied, (packet, out), stats);
            }
        };
        let context = Context { now, client, request, who: &who, realm: &realm, stats };
        let method = request.method;
        let reply = |length, refusal| Reply { length, method, refusal, proven: true, detour: None };
        Ok(match self.handle(&context, slot, out, sockets) {
            Ok(Answer::Now(length)) => Verdict::Reply(reply(length, None)),
            Ok(Answer::Later) => Verdict::Later,
            Ok(Answer::Bound(length, connection)) => {
                Verdict::Bound(reply(length, None), connection)
            }
            Err(cause @ Cause::TryAlternate(member)) => {
                let length = self.redirection(&context, member, out);
                Verdict::Reply(reply(length, Some(cause)))
            }
            Err(cause) => {
                let length = self.refuse(&context, cause, out);
                Verdict::Reply(reply(length, Some(cause)))
            }
        })
    }

    /// A request that authentication refuses waits for the stores, if they may know its user, or is answered.
    #[expect(clippy::too_many_arguments, reason = "what it is answered from")]
    fn denied(
        &mut self,
        now: Now,
        client: &Client,
        request: &Request<'_>,
        slot: Option<u32>,
        (realm, denial): (&Realm, Denial),
        (packet, out): (&[u8], &mut [u8]),
        stats: &Stats,
    ) -> Result<Verdict, Dropped> {
        let unsigned = slot.is_some() && !denial.signed;
        if unsigned && !self.admit_unsigned(now.mono, client) {
            return Err(Dropped::RateLimited);
        }
        if denial.kind == DenialKind::NotAsked && !self.resumed {
            if let Some(verdict) = self.park(now.mono, client, request, packet, stats) {
                return Ok(verdict);
            }
            // Nobody repeats a request on a stream: there the refusal is said.
            if !client.tuple.transport.is_stream() {
                return Err(Dropped::StoreWait);
            }
        }
        Ok(Verdict::Reply(self.deny(now, client, request, (realm, denial), out, stats)))
    }

    fn handle(
        &mut self,
        context: &Context<'_>,
        slot: Option<u32>,
        out: &mut [u8],
        sockets: &mut dyn RelaySockets,
    ) -> Result<Answer, Cause> {
        let request = context.request;
        if slot.is_none() && self.guests.has(context.now.mono, &context.client.tuple) {
            return Err(Cause::Busy);
        }
        // RFC 8489 §6.3: after authentication.
        if !request.unknown().is_empty() {
            return Err(Cause::UnknownAttribute);
        }
        if request.method == Method::ALLOCATE {
            return self.allocate(context, slot, out, sockets).map(Answer::Now);
        }
        if request.method == Method::CONNECTION_BIND {
            return self.connection_bind(context, slot, out);
        }
        if request.method == Method::REFRESH && request.ticket.is_some() {
            return self.refresh_by_ticket(context, slot, out, sockets).map(Answer::Now);
        }
        // RFC 8656 §5: all other requests need the 5-tuple's allocation, and its user.
        let slot = slot.ok_or(Cause::NoAllocation)?;
        let allocation = self.allocations.get(slot as usize).ok_or(Cause::NoAllocation)?;
        let (own, sender) = (&allocation.credential, &context.who.credential);
        // RFC 7635 §9: an allocation is refreshed with a new token, which another key may have
        // sealed. Whose it is no token says.
        let third_party = own.key().is_session() && sender.key().is_session();
        let same_name = own.username() == sender.username();
        if own.realm() != sender.realm() || !(same_name || third_party) {
            return Err(Cause::WrongUser);
        }
        if request.malformed {
            return Err(Cause::Malformed);
        }
        let length = match request.method {
            Method::CONNECT => return self.connect(context, slot),
            Method::REFRESH => self.refresh(context, slot, out, sockets),
            Method::CREATE_PERMISSION => self.create_permission(context, slot, out),
            _ => self.channel_bind(context, slot, out),
        };
        length.map(Answer::Now)
    }

    fn serves(&self, method: Method) -> bool {
        match method {
            Method::CONNECT | Method::CONNECTION_BIND => self.settings.tcp_allocations,
            method => served(method),
        }
    }

    /// What is to be done besides, one thing at a time.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether a 5-tuple has an allocation, here or at another worker.
    pub fn has_allocation(&self, now: Now, tuple: &FiveTuple) -> bool {
        self.find(tuple).is_some() || self.guests.has(now.mono, tuple)
    }

    /// Whether a client may begin one more handshake, of those that its address may begin each second at
    /// all workers together; twice as many may come at once. 0 is no limit.
    pub fn admit_handshake(&self, client: &FiveTuple, now: Mono, per_second: u32) -> bool {
        per_second == 0 || self.ledger.guard.admit_handshake(client, now, per_second)
    }

    /// How many allocations there are.
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// How many TCP connections with peers there are, those that are being made with them.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }
}

const fn served(method: Method) -> bool {
    matches!(
        method,
        Method::BINDING
            | Method::ALLOCATE
            | Method::REFRESH
            | Method::CREATE_PERMISSION
            | Method::CHANNEL_BIND
    )
}
