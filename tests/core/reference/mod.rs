//! A reference model of a TURN server, written from RFC 8656 for clarity: maps and no cleverness.
//!
//! It knows nothing of bytes, sockets and random numbers. [`Model::judge`] says what a request
//! must be answered with; when it is granted, [`Model::grant`] takes note, with what the server
//! chose by itself (ports and tokens).

mod relaying;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use turnwire::stun::Family;
use turnwire::turn::{EndReason, Traffic};

pub(crate) const DEFAULT_LIFETIME: u32 = 600;
pub(crate) const MAX_LIFETIME: u32 = 3600;
pub(crate) const PERMISSIONS: usize = 4;
pub(crate) const CHANNELS: usize = 3;
pub(crate) const PER_USER: usize = 4;
pub(crate) const PER_ADDRESS: usize = 3;
pub(crate) const TOTAL: usize = 6;
pub(crate) const FIRST_PORT: u16 = 50_001;
pub(crate) const LAST_PORT: u16 = 50_006;

/// RFC 8656 §9
const PERMISSION: Duration = Duration::from_secs(300);
/// RFC 8656 §12
const CHANNEL: Duration = Duration::from_secs(600);
/// RFC 8656 §7.2: at least 30 seconds; we hold it just as long.
const RESERVATION: Duration = Duration::from_secs(30);

/// Time since the start.
pub(crate) type Time = Duration;
pub(crate) type Token = [u8; 8];

/// A peer with what the policy says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// A permission for its address may be had.
    pub(crate) ip_allowed: bool,
    /// And its port may be sent to.
    pub(crate) port_allowed: bool,
    /// Where packets for it go, and come from.
    pub(crate) route: SocketAddr,
}

impl Peer {
    fn family(&self) -> Family {
        Family::of(&self.address.ip())
    }
}

/// The attributes of an Allocate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ask {
    /// `Err` is an attribute of the wrong length.
    pub(crate) transport: Result<Option<u8>, ()>,
    pub(crate) lifetime: Option<u32>,
    /// EVEN-PORT with its R bit.
    pub(crate) even_port: Option<bool>,
    pub(crate) token: Option<Token>,
    pub(crate) family: Option<u8>,
    pub(crate) additional: Option<u8>,
}

/// A request whose sender has been authenticated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    Allocate(Ask),
    Refresh {
        lifetime: Option<u32>,
        family: Option<u8>,
    },
    /// Places in the model's list of peers; `Err` when one of the addresses is malformed.
    CreatePermission(Result<Vec<usize>, ()>),
    ChannelBind {
        number: Option<u16>,
        peer: Option<usize>,
    },
}

/// What a granted request has to be answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    /// The same bytes as the first time.
    Repeat(Vec<u8>),
    Allocation(Grant),
    Lifetime(u32),
    Nothing,
}

/// An allocation that has to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) families: Vec<Family>,
    /// The family that could not be had, and why.
    pub(crate) missing: Option<(Family, u16)>,
    pub(crate) lifetime: u32,
    /// The family whose port has to be even: of two, EVEN-PORT is about the IPv4 one.
    pub(crate) even: Option<Family>,
    pub(crate) reserve: bool,
    /// The address that a token stands for.
    pub(crate) reserved: Option<(Family, u16)>,
}

pub(crate) struct Allocation {
    pub(crate) user: String,
    transaction: [u8; 12],
    response: Vec<u8>,
    /// Port and time of expiry.
    pub(crate) relays: BTreeMap<Family, (u16, Time)>,
    permissions: BTreeMap<IpAddr, Time>,
    channels: BTreeMap<u16, (SocketAddr, Time)>,
    pub(crate) traffic: Traffic,
}

struct Reservation {
    user: String,
    family: Family,
    port: u16,
    until: Time,
}

/// The whole server: allocations by the number of their client.
pub(crate) struct Model {
    pub(crate) peers: Vec<Peer>,
    /// The clients' addresses by their numbers.
    clients: Vec<IpAddr>,
    pub(crate) now: Time,
    pub(crate) allocations: BTreeMap<usize, Allocation>,
    reservations: BTreeMap<Token, Reservation>,
    /// Sessions that have ended since it was asked last.
    pub(crate) ended: Vec<(usize, EndReason, Traffic)>,
}

impl Model {
    pub(crate) fn new(peers: Vec<Peer>, clients: Vec<IpAddr>) -> Self {
        Self {
            peers,
            clients,
            now: Time::ZERO,
            allocations: BTreeMap::new(),
            reservations: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    /// Lets time pass. What is over may be deleted up to a second late (§8 counts in seconds): an
    /// allocation is looked at in the first whole second after one of its addresses has ended.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
        let now = self.now;
        let whole = |until: Time| until.as_secs() + u64::from(until.subsec_nanos() > 0);
        let due = |allocation: &Allocation| {
            let mut ends = allocation.relays.values().map(|(_, until)| *until);
            ends.any(|until| whole(until) <= now.as_secs())
        };
        let clients = self.allocations.iter().filter(|(_, allocation)| due(allocation));
        let clients: Vec<_> = clients.map(|(client, _)| *client).collect();
        clients.into_iter().for_each(|client| self.look_at(client));
        self.reservations.retain(|_, held| now < held.until);
    }

    /// Deletes what is over; each request of the client's does so before anything else.
    pub(crate) fn look_at(&mut self, client: usize) {
        let Some(allocation) = self.allocations.get_mut(&client) else { return };
        for (family, (_, until)) in allocation.relays.clone() {
            if until <= self.now {
                allocation.forget(family);
            }
        }
        if allocation.relays.is_empty() {
            self.end(client, EndReason::Expired);
        }
    }

    /// The ports that are taken or held.
    pub(crate) fn taken(&self, family: Family) -> BTreeSet<u16> {
        let relays = self.allocations.values();
        let relays = relays.filter_map(|allocation| allocation.relays.get(&family));
        let held = self.reservations.values();
        let held = held.filter(|held| held.family == family);
        relays.map(|(port, _)| *port).chain(held.map(|h| h.port)).collect()
    }

    /// The ports from which the server may choose for EVEN-PORT with or without R, or for none.
    pub(crate) fn choice(
        &self,
        family: Family,
        even: Option<Family>,
        reserve: bool,
    ) -> BTreeSet<u16> {
        let taken = self.taken(family);
        let free = |port: u16| (FIRST_PORT..=LAST_PORT).contains(&port) && !taken.contains(&port);
        (FIRST_PORT..=LAST_PORT)
            .filter(|port| free(*port))
            .filter(|port| even != Some(family) || port % 2 == 0)
            .filter(|port| !reserve || free(port + 1))
            .collect()
    }

    /// What the request must be answered with: an error code or a success.
    pub(crate) fn judge(
        &self,
        client: usize,
        user: &str,
        transaction: [u8; 12],
        request: &Request,
    ) -> Result<Granted, u16> {
        let allocation = self.allocations.get(&client);
        if let Request::Allocate(ask) = request {
            return match allocation {
                // §7.2, the note: a retransmission.
                Some(a) if a.transaction == transaction && a.user == user => {
                    Ok(Granted::Repeat(a.response.clone()))
                }
                Some(_) => Err(437),
                None => self.judge_allocate(client, user, ask).map(Granted::Allocation),
            };
        }
        // §5
        let allocation = allocation.ok_or(437_u16)?;
        if allocation.user != user {
            return Err(441);
        }
        match request {
            Request::Allocate(_) => unreachable!("done above"),
            Request::Refresh { lifetime, family } => {
                if let Some(code) = family
                    && family_of(*code).is_none_or(|f| !allocation.relays.contains_key(&f))
                {
                    return Err(443);
                }
                Ok(Granted::Lifetime(match lifetime {
                    Some(0) => 0,
                    asked => granted_lifetime(*asked),
                }))
            }
            Request::CreatePermission(peers) => self.judge_permission(allocation, peers),
            Request::ChannelBind { number, peer } => self.judge_channel(allocation, *number, *peer),
        }
    }

    /// §7.2, checks 3 to 10.
    fn judge_allocate(&self, client: usize, user: &str, ask: &Ask) -> Result<Grant, u16> {
        match ask.transport {
            Ok(Some(17)) => {}
            Ok(Some(_)) => return Err(442),
            Ok(None) | Err(()) => return Err(400),
        }
        let families = ask.family.is_some() || ask.additional.is_some();
        if ask.token.is_some() && (ask.even_port.is_some() || families) {
            return Err(400);
        }
        if ask.family.is_some() && ask.additional.is_some() {
            return Err(400);
        }
        let family = match ask.family {
            None => Family::V4,
            Some(code) => family_of(code).ok_or(440_u16)?,
        };
        let reserve = ask.even_port == Some(true);
        if reserve && ask.additional.is_some() {
            return Err(400);
        }
        if ask.additional.is_some_and(|code| code != 2) {
            return Err(400);
        }
        // Check 10 may come at any point; ours comes before anything is taken.
        let ip = self.clients[client];
        let count = |of: &dyn Fn(usize, &Allocation) -> bool| {
            let all = self.allocations.iter();
            all.filter(|(client, allocation)| of(**client, allocation)).count()
        };
        if count(&|_, _| true) >= TOTAL
            || count(&|other, _| self.clients[other] == ip) >= PER_ADDRESS
            || count(&|_, allocation| allocation.user == user) >= PER_USER
        {
            return Err(486);
        }
        let mut grant = Grant {
            families: vec![family],
            missing: None,
            lifetime: granted_lifetime(ask.lifetime),
            even: ask.even_port.map(|_| family),
            reserve,
            reserved: None,
        };
        if let Some(token) = ask.token {
            let held = self.reservations.get(&token).ok_or(508_u16)?;
            if held.user != user {
                return Err(508);
            }
            grant.families = vec![held.family];
            grant.reserved = Some((held.family, held.port));
            return Ok(grant);
        }
        if ask.additional.is_some() {
            grant.families.push(Family::V6);
        }
        let full = |family| self.choice(family, grant.even, reserve).is_empty();
        let missing: Vec<_> = grant.families.iter().copied().filter(|f| full(*f)).collect();
        if missing.len() == grant.families.len() {
            return Err(508);
        }
        grant.missing = missing.first().map(|family| (*family, 508));
        grant.families.retain(|family| !missing.contains(family));
        Ok(grant)
    }

    /// §10.2
    fn judge_permission(
        &self,
        allocation: &Allocation,
        peers: &Result<Vec<usize>, ()>,
    ) -> Result<Granted, u16> {
        let Ok(peers) = peers else { return Err(400) };
        if peers.is_empty() {
            return Err(400);
        }
        let mut ips: BTreeSet<IpAddr> = allocation.live_permissions(self.now).collect();
        for peer in peers.iter().map(|place| &self.peers[*place]) {
            self.judge_peer(allocation, peer)?;
            ips.insert(peer.address.ip());
        }
        if ips.len() > PERMISSIONS {
            return Err(508);
        }
        Ok(Granted::Nothing)
    }

    fn judge_peer(&self, allocation: &Allocation, peer: &Peer) -> Result<(), u16> {
        if !allocation.relays.contains_key(&peer.family()) {
            return Err(443);
        }
        if peer.ip_allowed { Ok(()) } else { Err(403) }
    }

    /// §12.2
    fn judge_channel(
        &self,
        allocation: &Allocation,
        number: Option<u16>,
        peer: Option<usize>,
    ) -> Result<Granted, u16> {
        let (Some(number), Some(peer)) = (number, peer.map(|place| self.peers[place])) else {
            return Err(400);
        };
        if !(0x4000..=0x4FFF).contains(&number) {
            return Err(400);
        }
        let live: Vec<_> = allocation.live_channels(self.now).collect();
        let (address, ip) = (peer.address, peer.address.ip());
        if live.iter().any(|(n, p)| (*n == number) != (*p == address)) {
            return Err(400);
        }
        self.judge_peer(allocation, &peer)?;
        if !peer.port_allowed {
            return Err(403);
        }
        let bound = live.contains(&(number, address));
        let permitted: Vec<_> = allocation.live_permissions(self.now).collect();
        if (!bound && live.len() >= CHANNELS)
            || (!permitted.contains(&ip) && permitted.len() >= PERMISSIONS)
        {
            return Err(508);
        }
        Ok(Granted::Nothing)
    }

    /// Takes note of an allocation that was made, with the ports and the token that were chosen.
    pub(crate) fn allocate(
        &mut self,
        client: usize,
        user: &str,
        transaction: [u8; 12],
        grant: &Grant,
        chosen: (&[(Family, u16)], Option<Token>, &[u8]),
    ) {
        let (ports, token, response) = chosen;
        self.reservations.retain(|_, held| grant.reserved != Some((held.family, held.port)));
        let until = self.now + Duration::from_secs(grant.lifetime.into());
        let relay = |(family, port): &(Family, u16)| (*family, (*port, until));
        let allocation = Allocation {
            user: user.to_owned(),
            transaction,
            response: response.to_vec(),
            relays: ports.iter().map(relay).collect(),
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
            traffic: Traffic::default(),
        };
        self.allocations.insert(client, allocation);
        if let (Some(token), [(family, port), ..]) = (token, ports) {
            let reservation = Reservation {
                user: user.to_owned(),
                family: *family,
                port: port + 1,
                until: self.now + RESERVATION,
            };
            self.reservations.insert(token, reservation);
        }
    }

    /// Takes note of any other request that was granted.
    pub(crate) fn grant(&mut self, client: usize, request: &Request) {
        let now = self.now;
        let allocation = self.allocations.get_mut(&client).expect("it was judged");
        match request {
            Request::Allocate(_) => {}
            Request::Refresh { lifetime, family } => {
                let families: Vec<_> = match family {
                    Some(code) => family_of(*code).into_iter().collect(),
                    None => vec![Family::V4, Family::V6],
                };
                for family in families {
                    if *lifetime == Some(0) {
                        allocation.forget(family);
                    } else if let Some((_, until)) = allocation.relays.get_mut(&family) {
                        *until = now + Duration::from_secs(granted_lifetime(*lifetime).into());
                    }
                }
                if allocation.relays.is_empty() {
                    self.end(client, EndReason::Deleted);
                }
            }
            Request::CreatePermission(peers) => {
                for peer in peers.iter().flatten() {
                    let ip = self.peers[*peer].address.ip();
                    allocation.permissions.insert(ip, now + PERMISSION);
                }
            }
            Request::ChannelBind { number, peer } => {
                let (Some(number), Some(peer)) = (number, peer) else {
                    unreachable!("400");
                };
                let address = self.peers[*peer].address;
                allocation.channels.retain(|_, (_, until)| now < *until);
                allocation.channels.insert(*number, (address, now + CHANNEL));
                allocation.permissions.insert(address.ip(), now + PERMISSION);
            }
        }
    }

    /// Ends an allocation, if the client has one.
    pub(crate) fn end(&mut self, client: usize, reason: EndReason) {
        if let Some(allocation) = self.allocations.remove(&client) {
            self.ended.push((client, reason, allocation.traffic));
        }
    }
}

impl Allocation {
    /// §8.1: a deleted address takes its permissions and channels with it, and no others.
    fn forget(&mut self, family: Family) {
        self.relays.remove(&family);
        self.permissions.retain(|ip, _| Family::of(ip) != family);
        self.channels.retain(|_, (peer, _)| Family::of(&peer.ip()) != family);
    }

    fn alive(&self, family: Family, now: Time) -> bool {
        self.relays.get(&family).is_some_and(|(_, until)| now < *until)
    }

    fn permits(&self, ip: IpAddr, now: Time) -> bool {
        self.permissions.get(&ip).is_some_and(|until| now < *until)
    }

    fn live_permissions(&self, now: Time) -> impl Iterator<Item = IpAddr> {
        let live = self.permissions.iter().filter(move |(_, until)| now < **until);
        live.map(|(ip, _)| *ip)
    }

    fn live_channels(&self, now: Time) -> impl Iterator<Item = (u16, SocketAddr)> {
        let live = self.channels.iter().filter(move |(_, (_, until))| now < *until);
        live.map(|(number, (peer, _))| (*number, *peer))
    }
}

fn family_of(code: u8) -> Option<Family> {
    match code {
        1 => Some(Family::V4),
        2 => Some(Family::V6),
        _ => None,
    }
}

/// §7.2, §8.2: not above the maximum, and not below the default.
fn granted_lifetime(asked: Option<u32>) -> u32 {
    asked.unwrap_or(DEFAULT_LIFETIME).clamp(DEFAULT_LIFETIME, MAX_LIFETIME)
}
