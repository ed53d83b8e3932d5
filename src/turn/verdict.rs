use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use super::allocation::Session;
use super::{
    Case, Cause, Client, ConnectionId, Detour, Dropped, Drops, FiveTuple, Move, Notice, Progress,
    RelayId,
};
use crate::auth::UserName;
use crate::stun::Method;
use crate::time::Mono;

/// What to do about a packet from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the first bytes of `out` back to the client.
    Reply(Reply),
    /// Relay a part of the packet to a peer.
    ToPeer(ToPeer),
    /// Nothing yet: an [`Effect`] will lead to the answer.
    Later,
    /// Nothing yet: it is kept until the stores have been asked ([`Effect::LookUp`]).
    Park,
    /// Send the reply; what else comes on the client's connection belongs to the peer's, and the other way round
    /// (RFC 6062 §5.4).
    Bound(Reply, ConnectionId),
    /// Another server of this process has to answer: it is to get the packet with
    /// [`Server::receive_forwarded`](super::Server::receive_forwarded) or, on a stream, with what follows on this connection. If it
    /// takes nothing, [`Server::receive_here`](super::Server::receive_here) has the answer.
    Elsewhere(u32),
    /// Keep it until the 5-tuple's allocation comes ([`Server::adopt`](super::Server::adopt)), and take it then.
    Hold,
    /// Nothing.
    Drop(Dropped),
    /// Nothing: an indication that asks for nothing, such as a keep-alive.
    Ignore,
}

/// A response in `out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its length in bytes.
    pub length: usize,
    /// The request it answers.
    pub method: Method,
    /// Why it is a refusal, if it is one.
    pub refusal: Option<Cause>,
    /// Whether a nonce, or that it is signed, has proved that the client receives at its address.
    pub proven: bool,
    /// The way it takes, if that is not back to the client. Only on UDP.
    pub detour: Option<Detour>,
}

/// Where a part of a packet goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToPeer {
    /// The socket it is sent from.
    pub relay: RelayId,
    /// The address it is sent to.
    pub peer: SocketAddr,
    /// The part of the client's packet that is sent.
    pub payload: Range<usize>,
    /// RFC 8656 §14: it must not be fragmented.
    pub dont_fragment: bool,
}

/// What the worker has to do besides.
#[derive(Clone, Debug)]
pub enum Effect {
    /// An allocation has been made.
    Began(Box<Progress>),
    /// What an allocation has relayed by now: one interval behind the record before ([`Server::report`](super::Server::report)).
    Usage(Box<Progress>),
    /// An allocation has ended; its sockets are closed already.
    Ended {
        /// The client's leg, unless the client was away.
        leg: Option<u32>,
        /// What it was.
        session: Box<Session>,
    },
    /// A mobile client has come to another 5-tuple.
    Moved(Box<Move>),
    /// Somebody hears what was decided about a request.
    Case {
        /// The request with its outcome.
        case: Box<Case>,
        /// Who follows the client: a bit for each place in the [`Audience`](super::Audience).
        followers: u8,
        /// Whether the log is to tell it.
        notice: Option<Notice>,
    },
    /// What was dropped of a client whom somebody follows.
    Drops {
        /// What it was.
        drops: Box<Drops>,
        /// Who follows the client.
        followers: u8,
    },
    /// A 5-tuple has no allocation any more: its client is at another one.
    Released {
        /// The 5-tuple, with its leg.
        client: Client,
        /// The worker at which its packets arrive.
        worker: u32,
    },
    /// The allocation of a 5-tuple that is another worker's guest ends at another time.
    Renewed {
        /// The client.
        client: Client,
        /// The worker at which its packets arrive: [`Server::prolong_guest`](super::Server::prolong_guest) there.
        worker: u32,
        /// When it ends, unless it is refreshed again.
        until: Mono,
    },
    /// The connection of a client is gone whose allocation another worker holds: to be
    /// [`Server::disconnected`](super::Server::disconnected) there.
    Parted {
        /// The client.
        client: Client,
        /// The worker that holds the allocation.
        holder: u32,
    },
    /// The stores are to be asked about a user; [`Server::provide_key`](super::Server::provide_key) is to be told when they have been.
    LookUp {
        /// Who is looked for.
        user: Arc<UserName>,
        /// Who asks under that name; the client's address is proved.
        client: FiveTuple,
    },
    /// A TCP connection with a peer is wanted (RFC 6062 §5.2); [`Server::connected`](super::Server::connected) is to be told what came of it.
    Connect {
        /// Its name.
        connection: ConnectionId,
        /// The relayed transport address that it is made from.
        relay: RelayId,
        /// Where to.
        peer: SocketAddr,
    },
    /// The time for that is over: it is to be given up, and [`Server::connected`](super::Server::connected) told so.
    ConnectTimedOut(ConnectionId),
    /// A connection with a peer, and the client's with it, is to be closed; the server has forgotten it.
    Disconnect(ConnectionId),
}
