use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::account::{Account, Usage};
use super::ledger::{Owner, Token};
use super::mobility::Mobility;
use super::rate::Bucket;
use super::realm::Realm;
use super::{Client, ConnectionId, FiveTuple, Refusals, SessionId};
use crate::auth::Credential;
use crate::stun::{ChannelNumber, Family, TransactionId};
use crate::time::Mono;

/// RFC 8656 §9: a permission lasts 300 seconds.
pub(super) const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// RFC 8656 §12: a channel binding lasts 600 seconds.
pub(super) const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

/// Everything known about one allocation. Permissions and channels live inside, so that no two
/// tables can disagree.
pub(super) struct Allocation {
    pub(super) id: SessionId,
    pub(super) client: Client,
    pub(super) owner: Arc<Owner>,
    /// The process's own, to see whether it relays ([`super::SelfCheck`]): it counts nowhere.
    pub(super) own: bool,
    /// As it is now; when there is none of its name any more, as it was last.
    pub(super) realm: Arc<Realm>,
    /// What the Allocate was made with: later requests must be of the same realm and
    /// username (441).
    pub(super) credential: Arc<Credential>,
    /// When the allocation ends because its credential does.
    pub(super) hard_end: Option<Mono>,
    pub(super) birth: Birth,
    /// By [`Family`]: IPv4, IPv6.
    pub(super) relays: [Option<Relay>; 2],
    pub(super) permissions: Vec<Permission>,
    pub(super) channels: Vec<Channel>,
    /// What only an allocation has that relays TCP (RFC 6062).
    pub(super) tcp: Option<Box<TcpRelay>>,
    pub(super) traffic: Traffic,
    /// What has been told of that.
    pub(super) account: Account,
    pub(super) to_peer: Bucket,
    pub(super) to_client: Bucket,
    /// Its client is at none of this worker's 5-tuples, and nothing can be delivered to it.
    pub(super) detached: bool,
    /// Its credential is none any more: only a new one of the same user is believed.
    pub(super) revoked: bool,
    /// What was refused to its client.
    pub(super) refusals: Option<Box<Refusals>>,
    /// What a mobile allocation has besides.
    pub(super) mobility: Option<Box<Mobility>>,
}

/// What a retransmitted Allocate is answered with: the same again (RFC 8656 §7.2).
pub(super) struct Birth {
    pub(super) at: Mono,
    pub(super) transaction: TransactionId,
    pub(super) lifetime: u32,
    pub(super) reservation: Option<Token>,
    /// ADDRESS-ERROR-CODE: which of two addresses could not be had, and why.
    pub(super) address_error: Option<(Family, u16)>,
}

/// A relayed transport address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay {
    pub(super) local: SocketAddr,
    pub(super) advertised: SocketAddr,
    pub(super) expires: Mono,
}

/// A permission: sorted by address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permission {
    pub(super) peer: IpAddr,
    pub(super) until: Mono,
    /// An address of this server's own: each port has to be asked about.
    pub(super) guarded: bool,
}

/// A channel binding: sorted by number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) number: ChannelNumber,
    /// The peer as the client knows it.
    pub(super) peer: SocketAddr,
    /// Where its packets go.
    pub(super) route: SocketAddr,
    pub(super) until: Mono,
}

/// What an allocation that relays TCP has besides.
#[derive(Debug, Default)]
pub(super) struct TcpRelay {
    /// Its connections with peers.
    pub(super) connections: Vec<ConnectionId>,
}

/// What an allocation relays: REQUESTED-TRANSPORT (RFC 8656 §18.8, RFC 6062 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

impl Protocol {
    /// For the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// What an allocation has relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams from the client to peers.
    pub to_peer_packets: u64,
    /// Application bytes, of connections as well.
    pub to_peer_bytes: u64,
    /// Datagrams from peers to the client.
    pub to_client_packets: u64,
    /// Application bytes, of connections as well.
    pub to_client_bytes: u64,
}

/// Why an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The client refreshed it with a lifetime of 0.
    Deleted,
    /// The client did not refresh it in time.
    Expired,
    /// The client's connection closed.
    Disconnected,
    /// Its credential expired, and the settings say that this ends it.
    CredentialExpired,
    /// Its credential was taken back, and the settings say that this ends it.
    CredentialRevoked,
    /// An operator ended it.
    Killed,
    /// The server stopped.
    Shutdown,
    /// The system did not let its socket be served by the worker that its client has come to.
    NoSocket,
}

impl EndReason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// All of them in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Deleted,
        Self::Expired,
        Self::Disconnected,
        Self::CredentialExpired,
        Self::CredentialRevoked,
        Self::Killed,
        Self::Shutdown,
        Self::NoSocket,
    ];

    /// The metric label and log word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Expired => "expired",
            Self::Disconnected => "disconnected",
            Self::CredentialExpired => "credential_expired",
            Self::CredentialRevoked => "credential_revoked",
            Self::Killed => "killed",
            Self::Shutdown => "shutdown",
            Self::NoSocket => "no_socket",
        }
    }
}

/// An allocation that has ended.
#[derive(Clone, Debug)]
pub struct Session {
    /// Names it.
    pub id: SessionId,
    /// The realm of its user.
    pub realm: Arc<str>,
    /// The username of its Allocate.
    pub username: String,
    /// The 5-tuple; of one that has moved, the last.
    pub client: FiveTuple,
    /// The 5-tuples before it, the oldest first: the first one and the latest.
    pub earlier: Vec<FiveTuple>,
    /// The relayed transport addresses as clients knew them: IPv4, IPv6.
    pub relayed: [Option<SocketAddr>; 2],
    /// What it relayed.
    pub protocol: Protocol,
    /// How long it lived.
    pub duration: Duration,
    /// How much it relayed.
    pub traffic: Traffic,
    /// How much of that since the record before.
    pub usage: Usage,
    /// Why it ended.
    pub reason: EndReason,
    /// What was refused to its client, if anything was.
    pub refusals: Option<Refusals>,
}

/// A mobile allocation's client has come to a new 5-tuple (RFC 8016).
#[derive(Clone, Debug)]
pub struct Move {
    /// Names the allocation, before and after.
    pub id: SessionId,
    /// The realm of its user.
    pub realm: Arc<str>,
    /// The username of its Allocate.
    pub username: String,
    /// The 5-tuple that it had.
    pub from: FiveTuple,
    /// The 5-tuple that it has now.
    pub to: FiveTuple,
    /// The worker at which the packets of the new one arrive.
    pub worker: u32,
    /// The relayed transport addresses as clients know them: IPv4, IPv6.
    pub relayed: [Option<SocketAddr>; 2],
}

impl Allocation {
    pub(super) const fn protocol(&self) -> Protocol {
        if self.tcp.is_some() { Protocol::Tcp } else { Protocol::Udp }
    }

    pub(super) const fn relay(&self, family: Family) -> Option<&Relay> {
        self.relays[family as usize].as_ref()
    }

    /// When the first of its relayed transport addresses ends, or all of them do.
    pub(super) fn next_end(&self) -> Option<Mono> {
        let first = self.relays.iter().flatten().map(|relay| relay.expires).min()?;
        Some(self.hard_end.map_or(first, |end| end.min(first)))
    }

    /// When the last of its relayed transport addresses ends.
    pub(super) fn last_end(&self) -> Option<Mono> {
        let last = self.relays.iter().flatten().map(|relay| relay.expires).max()?;
        Some(self.hard_end.map_or(last, |end| end.min(last)))
    }

    fn permission_place(&self, peer: IpAddr) -> Result<usize, usize> {
        self.permissions.binary_search_by(|permission| permission.peer.cmp(&peer))
    }

    /// The live permission for an address.
    pub(super) fn permission(&self, peer: IpAddr, now: Mono) -> Option<&Permission> {
        let place = self.permission_place(peer).ok()?;
        self.permissions.get(place).filter(|permission| now < permission.until)
    }

    /// Installs or refreshes a permission.
    pub(super) fn permit(&mut self, peer: IpAddr, guarded: bool, now: Mono) {
        let permission = Permission { peer, until: now + PERMISSION_LIFETIME, guarded };
        match self.permission_place(peer) {
            Ok(place) => self.permissions[place] = permission,
            Err(place) => {
                // Most allocations have one or two peers: no spare room for four.
                if self.permissions.len() == self.permissions.capacity() {
                    self.permissions.reserve_exact(self.permissions.len().max(1));
                }
                self.permissions.insert(place, permission);
            }
        }
    }

    /// Takes a relayed transport address away, with its permissions and channels and no others
    /// (RFC 8656 §8.1).
    pub(super) fn forget(&mut self, family: Family) -> Option<Relay> {
        self.permissions.retain(|permission| Family::of(&permission.peer) != family);
        self.channels.retain(|channel| Family::of(&channel.peer.ip()) != family);
        self.relays[family as usize].take()
    }

    /// Forgets permissions and channels that are over.
    pub(super) fn prune(&mut self, now: Mono) {
        self.permissions.retain(|permission| now < permission.until);
        self.channels.retain(|channel| now < channel.until);
    }

    /// The live channel of a number.
    pub(super) fn channel(&self, number: ChannelNumber, now: Mono) -> Option<&Channel> {
        let place = self.channels.binary_search_by(|channel| channel.number.cmp(&number)).ok()?;
        self.channels.get(place).filter(|channel| now < channel.until)
    }

    /// The live channel of a peer.
    pub(super) fn channel_to(&self, peer: SocketAddr, now: Mono) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.peer == peer && now < channel.until)
    }

    /// Installs or refreshes a channel binding.
    pub(super) fn bind(&mut self, channel: Channel) {
        match self.channels.binary_search_by(|other| other.number.cmp(&channel.number)) {
            Ok(place) => self.channels[place] = channel,
            Err(place) => {
                if self.channels.len() == self.channels.capacity() {
                    self.channels.reserve_exact(self.channels.len().max(1));
                }
                self.channels.insert(place, channel);
            }
        }
    }

    pub(super) fn session(&self, reason: EndReason, now: Mono) -> Session {
        Session {
            id: self.id,
            realm: Arc::clone(self.credential.realm()),
            username: self.credential.username().to_owned(),
            client: self.client.tuple,
            earlier: self.mobility.as_ref().map_or_else(Vec::new, |it| it.earlier.clone()),
            relayed: self.relays.map(|relay| relay.map(|relay| relay.advertised)),
            protocol: self.protocol(),
            duration: now.since(self.birth.at),
            traffic: self.traffic,
            usage: self.account.usage(self.traffic, now),
            reason,
            refusals: self.refusals.as_deref().copied(),
        }
    }
}
