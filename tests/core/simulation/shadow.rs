//! What a client has been granted, as an onlooker on the wire knows it: made of requests and the
//! success responses to them, and of nothing else.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::core::{RELAYS, Response};
use turnwire::stun::Family;
use turnwire::time::{Mono, Now};
use turnwire::turn::{EndReason, Session, Traffic};

/// What a packet of a client's is meant to do.
#[derive(Clone, Debug)]
pub(crate) enum Intent {
    Allocate,
    Refresh(u32),
    Permit(Vec<SocketAddr>),
    Bind(u16, SocketAddr),
    Send(SocketAddr, usize),
    Data(u16, usize),
}

/// One allocation.
pub(crate) struct Shadow {
    id: [u8; 12],
    response: Vec<u8>,
    /// The local addresses of its relays.
    pub(crate) relays: Vec<SocketAddr>,
    pub(crate) begun: Mono,
    pub(crate) expires: Mono,
    /// When its credential ends it, if the policy says so.
    pub(crate) hard_end: Option<Mono>,
    permissions: BTreeMap<IpAddr, Mono>,
    channels: BTreeMap<u16, (SocketAddr, Mono)>,
    pub(crate) traffic: Traffic,
    deleted: bool,
    pub(crate) disconnected: bool,
}

impl Shadow {
    /// From the success response to an Allocate.
    pub(crate) fn new(now: Now, response: &Response, hard_end: Option<Mono>) -> Self {
        let lifetime = response.lifetime().expect("RFC 8656 §7.2");
        assert!((600..=3600).contains(&lifetime));
        let local = |address: SocketAddr| {
            let relay = &RELAYS[Family::of(&address.ip()) as usize];
            assert_eq!(address.ip(), relay.advertised);
            SocketAddr::new(relay.local, address.port())
        };
        Self {
            id: *response.id().bytes(),
            response: response.bytes.clone(),
            relays: response.relayed().into_iter().map(local).collect(),
            begun: now.mono,
            expires: now.mono + Duration::from_secs(lifetime.into()),
            hard_end,
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
            traffic: Traffic::default(),
            deleted: false,
            disconnected: false,
        }
    }

    /// A request that was granted on a live allocation.
    pub(crate) fn granted(&mut self, now: Mono, intent: &Intent, response: &Response) {
        match intent {
            Intent::Allocate => {
                assert_eq!(*response.id().bytes(), self.id, "a second allocation");
                assert_eq!(response.bytes, self.response, "another response");
            }
            Intent::Refresh(0) => {
                assert_eq!(response.lifetime(), Some(0));
                self.deleted = true;
            }
            Intent::Refresh(asked) => {
                let lifetime = (*asked).clamp(600, 3600);
                assert_eq!(response.lifetime(), Some(lifetime));
                self.expires = now + Duration::from_secs(lifetime.into());
            }
            Intent::Permit(peers) => {
                let until = now + Duration::from_secs(300);
                let ips = peers.iter().map(|peer| (peer.ip(), until));
                self.permissions.extend(ips);
            }
            Intent::Bind(number, peer) => {
                assert!(!self.conflicts(now, *number, *peer));
                let until = now + Duration::from_secs(300);
                self.permissions.insert(peer.ip(), until);
                let until = now + Duration::from_secs(600);
                self.channels.retain(|_, (_, until)| now < *until);
                self.channels.insert(*number, (*peer, until));
            }
            Intent::Send(..) | Intent::Data(..) => unreachable!("they have no response"),
        }
    }

    /// RFC 8656 §12.2: the number or the peer is bound otherwise.
    pub(crate) fn conflicts(&self, now: Mono, number: u16, peer: SocketAddr) -> bool {
        let mut live = self.channels.iter().filter(|(_, (_, until))| now < *until);
        live.any(|(bound, (to, _))| (*bound == number) != (*to == peer))
    }

    /// Whether data may pass between the client and the peer at all.
    pub(crate) fn permits(&self, now: Mono, peer: IpAddr) -> bool {
        let live = self.permissions.get(&peer);
        now < self.expires && live.is_some_and(|until| now < *until)
    }

    /// The peer of a live channel.
    pub(crate) fn channel(&self, now: Mono, number: u16) -> Option<SocketAddr> {
        let (peer, until) = self.channels.get(&number)?;
        (now < *until).then_some(*peer)
    }

    /// The live channel of a peer.
    pub(crate) fn channel_to(&self, now: Mono, peer: SocketAddr) -> Option<u16> {
        let mut live = self.channels.iter().filter(|(_, (_, until))| now < *until);
        live.find(|(_, (to, _))| *to == peer).map(|(number, _)| *number)
    }

    /// When it must be over at the latest.
    pub(crate) fn end(&self) -> Mono {
        self.hard_end.map_or(self.expires, |end| end.min(self.expires))
    }

    /// The server says that it has ended: for a good reason, in time, and with the right counts.
    pub(crate) fn assert_ended_well(&self, now: Mono, session: &Session) {
        assert_eq!(session.traffic, self.traffic, "the counters lie");
        assert_eq!(session.duration, now.since(self.begun));
        match session.reason {
            EndReason::Deleted => assert!(self.deleted),
            EndReason::Disconnected => assert!(self.disconnected),
            EndReason::Expired => assert!(self.expires <= now),
            EndReason::CredentialExpired => assert!(self.hard_end.is_some_and(|end| end <= now)),
            EndReason::CredentialRevoked => panic!("nobody took anything back"),
            EndReason::Shutdown => panic!("nobody stopped the server"),
            EndReason::Killed => panic!("nobody wanted it"),
            EndReason::NoSocket => panic!("nothing moved"),
        }
        self.assert_in_time(now);
    }

    /// No allocation outlives its lifetime by more than a second.
    pub(crate) fn assert_in_time(&self, now: Mono) {
        let late = now.since(self.end());
        assert!(late <= Duration::from_secs(1), "{late:?} too late");
    }
}
