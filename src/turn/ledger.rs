use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;

use super::guard::{Guard, prefix};
use super::pools::{FormerRelay, Pools, Wanted};
use super::rate::{SharedBucket, Shares};
use super::realm::Realm;
use super::ticket::Tickets;
use super::{Cause, FiveTuple, Limits, RelayAddress, Revocations, Settings};
use crate::auth::Credential;
use crate::stun::Family;
use crate::time::Mono;

/// How long a reserved port waits for its token (RFC 8656 §7.2: at least 30 seconds).
const RESERVATION: Duration = Duration::from_secs(30);
/// How long a port that somebody else on the host has is left alone.
const QUARANTINE: Duration = Duration::from_secs(60);

/// Reservations of one user at a time: the pairs that RTP and RTCP want, and not all ports.
const RESERVATIONS_PER_USER: u32 = 16;
/// How long a user without allocations is remembered: until its buckets are full again, so that
/// coming back does not renew them.
const LINGER: Duration = Duration::from_secs(2);

/// A reservation token (RFC 8656 §18.10).
pub(super) type Token = [u8; 8];

/// What the workers of one process share: quotas, relay ports, reservations and the bound on
/// answers to strangers.
///
/// Asked when an allocation begins or ends, never for a packet; so one small lock serves.
pub struct Ledger {
    inner: Mutex<Inner>,
    pub(super) guard: Guard,
    /// What NAT behaviour discovery may send another way, to all addresses together.
    discovery: SharedBucket,
    /// Whether the server takes no new allocations.
    draining: AtomicBool,
    /// Made with the first mobile allocation.
    pub(super) tickets: OnceLock<Tickets>,
    /// Whom an operator lets in no more.
    pub revocations: Revocations,
}

#[derive(Default)]
struct Inner {
    realms: HashMap<Arc<str>, Tenant, RandomState>,
    /// Of all realms.
    held: Count,
    pools: Pools,
    reservations: HashMap<Token, Reservation>,
    /// Reservations in the order in which they end.
    reserved: VecDeque<(Mono, Token)>,
    quarantined: VecDeque<(Mono, IpAddr, u16)>,
    /// Users without allocations, in the order in which they are forgotten.
    leaving: VecDeque<(Mono, Arc<Owner>)>,
}

/// One realm's users and what they hold. A realm without users is forgotten.
#[derive(Default)]
struct Tenant {
    users: HashMap<Arc<str>, Arc<Owner>, RandomState>,
    held: Count,
    /// What all of them relay, to peers and to clients.
    rates: [Arc<SharedBucket>; 2],
}

/// Allocations, in all and by client address.
#[derive(Default)]
struct Count {
    allocations: u32,
    addresses: HashMap<u64, u32, RandomState>,
}

impl Count {
    fn of_address(&self, client: IpAddr) -> u32 {
        self.addresses.get(&prefix(client)).copied().unwrap_or(0)
    }

    fn add(&mut self, client: IpAddr) {
        self.allocations += 1;
        *self.addresses.entry(prefix(client)).or_default() += 1;
    }

    fn remove(&mut self, client: IpAddr) {
        self.allocations = self.allocations.saturating_sub(1);
        if let Entry::Occupied(mut count) = self.addresses.entry(prefix(client)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// One user of one realm with what its allocations share.
#[derive(Debug)]
pub(super) struct Owner {
    realm: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) to_peer: Shares,
    pub(super) to_client: Shares,
    held: Mutex<Held>,
}

/// What a user holds. Locked inside of the ledger's lock only.
#[derive(Debug, Default)]
struct Held {
    allocations: u32,
    reservations: u32,
    /// TCP connections with peers.
    connections: u32,
    /// Whether it stands among those that leave.
    leaving: bool,
}

impl Owner {
    /// `rates` are what its realm relays to peers and to clients.
    fn new(realm: &Arc<str>, name: &str, rates: &[Arc<SharedBucket>; 2]) -> Self {
        Self {
            realm: Arc::clone(realm),
            name: name.into(),
            to_peer: Shares::of_realm(&rates[0]),
            to_client: Shares::of_realm(&rates[1]),
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reservation {
    owner: Arc<Owner>,
    /// Made with an access token.
    third_party: bool,
    /// As it was when the port was taken: the client knows the one from the other.
    relay: RelayAddress,
    port: u16,
}

impl Ledger {
    /// A ledger with the relay ports of the settings.
    pub fn new(settings: &Settings) -> Self {
        let mut inner = Inner::default();
        inner.pools.reconfigure(settings);
        Self {
            inner: Mutex::new(inner),
            guard: Guard::default(),
            discovery: SharedBucket::default(),
            draining: AtomicBool::new(false),
            tickets: OnceLock::new(),
            revocations: Revocations::default(),
        }
    }

    /// Whether NAT behaviour discovery may answer the client once more; `guarded` if the limits
    /// for each address apply to it.
    pub(super) fn admit_discovery(
        &self,
        client: &FiveTuple,
        now: Mono,
        limits: &Limits,
        guarded: bool,
    ) -> bool {
        let rate = limits.discovery_per_second;
        let admitted = !guarded || rate == 0 || self.guard.admit_discovery(client, now, rate);
        admitted && self.discovery.take(now, 1, limits.all_discovery_per_second.into())
    }

    /// From now on, or no longer, new allocations are refused ([`Cause::Draining`]), or sent to another server where
    /// one is alive. A reserved port is still given to who has reserved it.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves numbers that are at worst one off.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Free and all relay ports of each local relay address on which there are new allocations.
    pub fn free_ports(&self) -> Vec<(IpAddr, usize, usize)> {
        self.lock().pools.free()
    }

    /// How a relay address of [`Self::free_ports`] is known outside.
    pub fn known_as(&self, local: IpAddr) -> Option<IpAddr> {
        self.lock().pools.known_as(local)
    }

    /// Gives out ports on the relay addresses of other settings from now on; what is taken stays so until it is
    /// released. The servers go by those settings already, so that none gives away what it does not guard.
    pub fn reconfigure(&self, settings: &Settings) {
        self.lock().pools.reconfigure(settings);
    }

    /// Relay addresses and ports of before that allocations or reservations have still.
    pub fn former(&self) -> Vec<FormerRelay> {
        self.lock().pools.former()
    }

    /// Allocations counted against the quota of a realm.
    pub fn allocations_of(&self, realm: &str) -> u32 {
        self.lock().realms.get(realm).map_or(0, |tenant| tenant.held.allocations)
    }

    /// The same for each realm that has any: at most those of the configuration, and of before it that have live ones.
    pub fn by_realm(&self) -> Vec<(Arc<str>, u32)> {
        let count =
            |(name, tenant): (&Arc<str>, &Tenant)| (Arc::clone(name), tenant.held.allocations);
        self.lock().realms.iter().map(count).collect()
    }

    /// Allocations counted against the quotas.
    pub fn allocations(&self) -> u32 {
        self.lock().held.allocations
    }

    /// Counts one more allocation of the user and the client address.
    pub(super) fn admit(
        &self,
        realm: &Realm,
        owner: &str,
        client: IpAddr,
        server: &Limits,
    ) -> Result<Arc<Owner>, Cause> {
        let over = |count: u32, limit: u32| limit != 0 && count >= limit;
        let too_many = |held: &Count, limits: &Limits| {
            let limit = limits.allocations_per_address;
            over(held.of_address(client), limit) && !server.exempts(client)
        };
        let mut inner = self.lock();
        let limits = &realm.limits;
        let tenant = inner.realms.get(realm.name());
        if over(inner.held.allocations, server.allocations) {
            return Err(Cause::TotalQuota(server.allocations));
        }
        if tenant.is_some_and(|tenant| over(tenant.held.allocations, limits.allocations)) {
            return Err(Cause::RealmQuota(limits.allocations));
        }
        if too_many(&inner.held, server) {
            return Err(Cause::AddressQuota(server.allocations_per_address));
        }
        if tenant.is_some_and(|tenant| too_many(&tenant.held, limits)) {
            return Err(Cause::AddressQuota(limits.allocations_per_address));
        }
        let owner = match tenant.and_then(|tenant| tenant.users.get(owner)) {
            Some(owner) => Arc::clone(owner),
            None => inner.new_owner(realm.name(), owner),
        };
        let mut held = owner.held();
        // A new one holds nothing: it is never refused, and so never left behind.
        if over(held.allocations, limits.allocations_per_user) {
            return Err(Cause::UserQuota(limits.allocations_per_user));
        }
        held.allocations += 1;
        drop(held);
        inner.held.add(client);
        inner.tenant(&owner.realm).held.add(client);
        Ok(owner)
    }

    /// The owner of an allocation that counts nowhere and is never dismissed.
    pub(super) fn uncounted(realm: &Arc<str>, name: &str) -> Arc<Owner> {
        Arc::new(Owner::new(realm, name, &Default::default()))
    }

    /// The inverse of [`Self::admit`].
    pub(super) fn dismiss(&self, owner: &Arc<Owner>, client: IpAddr, now: Mono) {
        let mut inner = self.lock();
        inner.held.remove(client);
        inner.tenant(&owner.realm).held.remove(client);
        let mut held = owner.held();
        held.allocations = held.allocations.saturating_sub(1);
        if held.allocations == 0 && !held.leaving {
            held.leaving = true;
            inner.leaving.push_back((now + LINGER, Arc::clone(owner)));
        }
    }

    /// Counts one more connection of the user with a peer, unless it has `limit` of them; 0 is no limit.
    pub(super) fn admit_connection(&self, owner: &Owner, limit: u32) -> bool {
        let _inner = self.lock();
        let mut held = owner.held();
        let free = limit == 0 || held.connections < limit;
        held.connections += u32::from(free);
        free
    }

    /// The inverse of [`Self::admit_connection`].
    pub(super) fn dismiss_connection(&self, owner: &Owner) {
        let _inner = self.lock();
        let mut held = owner.held();
        held.connections = held.connections.saturating_sub(1);
    }

    /// Takes a port on one of the family's relay addresses.
    pub(super) fn take_port(
        &self,
        family: Family,
        wanted: Wanted,
        random: u64,
        now: Mono,
    ) -> Option<(RelayAddress, u16)> {
        let mut inner = self.lock();
        inner.settle(now);
        inner.pools.take(family, wanted, random)
    }

    /// Gives a port back.
    pub(super) fn release_port(&self, local: IpAddr, port: u16) {
        self.lock().pools.release(local, port);
    }

    /// Keeps a port that somebody else on the host has for a while.
    pub(super) fn quarantine_port(&self, local: IpAddr, port: u16, now: Mono) {
        self.lock().quarantined.push_back((now + QUARANTINE, local, port));
    }

    /// Whether the user may hold one more reservation.
    pub(super) fn may_reserve(&self, owner: &Owner) -> bool {
        let _inner = self.lock();
        owner.held().reservations < RESERVATIONS_PER_USER
    }

    /// Files a port that is already taken under a token.
    pub(super) fn reserve(
        &self,
        token: Token,
        owner: &Arc<Owner>,
        third_party: bool,
        (relay, port): (RelayAddress, u16),
        now: Mono,
    ) {
        let mut inner = self.lock();
        owner.held().reservations += 1;
        let reservation = Reservation { owner: Arc::clone(owner), third_party, relay, port };
        if let Some(older) = inner.reservations.insert(token, reservation) {
            inner.cancel(&older);
        }
        inner.reserved.push_back((now + RESERVATION, token));
    }

    /// Redeems a token: the port is then the caller's.
    pub(super) fn redeem(
        &self,
        token: Token,
        credential: &Credential,
        now: Mono,
    ) -> Option<(RelayAddress, u16)> {
        let mut inner = self.lock();
        inner.settle(now);
        // Bound to its user: a token that is guessed or overheard is worth nothing.
        // Whose an access token is it does not say, and a client may have a new one by now.
        let reservation = inner.reservations.get(&token)?;
        let owner = &reservation.owner;
        let third_party = reservation.third_party && credential.key().is_session();
        let same_name = &*owner.name == credential.owner();
        if owner.realm != *credential.realm() || !(same_name || third_party) {
            return None;
        }
        let found = inner.reservations.remove(&token)?;
        let mut held = found.owner.held();
        held.reservations = held.reservations.saturating_sub(1);
        Some((found.relay, found.port))
    }

    /// Ends what is over: reservations and quarantines.
    pub(super) fn settle(&self, now: Mono) {
        self.lock().settle(now);
    }
}

impl Inner {
    fn new_owner(&mut self, realm: &Arc<str>, name: &str) -> Arc<Owner> {
        let tenant = self.tenant(realm);
        let owner = Arc::new(Owner::new(realm, name, &tenant.rates));
        tenant.users.insert(Arc::clone(&owner.name), Arc::clone(&owner));
        owner
    }

    fn tenant(&mut self, realm: &Arc<str>) -> &mut Tenant {
        self.realms.entry(Arc::clone(realm)).or_default()
    }

    fn settle(&mut self, now: Mono) {
        while let Some((until, token)) = self.reserved.front().copied()
            && until <= now
        {
            self.reserved.pop_front();
            if let Some(reservation) = self.reservations.remove(&token) {
                self.cancel(&reservation);
            }
        }
        while let Some((until, local, port)) = self.quarantined.front().copied()
            && until <= now
        {
            self.quarantined.pop_front();
            self.pools.release(local, port);
        }
        while let Some((until, _)) = self.leaving.front()
            && *until <= now
        {
            if let Some((_, owner)) = self.leaving.pop_front() {
                self.forget(owner, now);
            }
        }
    }

    fn cancel(&mut self, reservation: &Reservation) {
        let mut held = reservation.owner.held();
        held.reservations = held.reservations.saturating_sub(1);
        drop(held);
        self.pools.release(reservation.relay.local, reservation.port);
    }

    /// Forgets a user that holds nothing.
    fn forget(&mut self, owner: Arc<Owner>, now: Mono) {
        let mut held = owner.held();
        let rested = owner.to_peer.is_full(now) && owner.to_client.is_full(now);
        held.leaving = held.allocations == 0 && (held.reservations > 0 || !rested);
        if held.leaving {
            drop(held);
            self.leaving.push_back((now + LINGER, owner));
        } else if held.allocations == 0 {
            drop(held);
            if let Entry::Occupied(mut tenant) = self.realms.entry(Arc::clone(&owner.realm)) {
                tenant.get_mut().users.remove(&owner.name);
                if tenant.get().users.is_empty() {
                    tenant.remove();
                }
            }
        }
    }
}
