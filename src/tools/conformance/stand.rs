//! What is known of the server before the first case, and clients and peers for them.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::case::{Before as _, Outcome, Stop};
use super::client::{Client, Packet, REQUESTS};
use super::peer::Peer;
use crate::client::Credentials;
use crate::tools::check::{Start, Target, Way};

/// Bounds of the time to the first retransmission: RFC 8489 §6.2.1 has it follow the round-trip time.
const RTO: (Duration, Duration) = (Duration::from_millis(150), Duration::from_millis(500));

/// What is known of the server before the first case: where the cases stand.
pub(super) struct Stand {
    start: Arc<Start>,
    /// By the URI's own way.
    pub(super) target: Target,
    /// The way of the other kind, a stream beside datagrams, where the server answers on it.
    other: Option<Target>,
    /// A second user, where one could be minted.
    second: Option<Arc<Credentials>>,
    /// This host's address on the way to the server.
    pub(super) host: IpAddr,
    pub(super) rto: Duration,
    pub(super) answers_binding: bool,
    /// Whether there is no NAT between.
    pub(super) direct: bool,
    /// The ports of all clients so far, of streams and of datagrams.
    ports: Mutex<HashSet<(bool, u16)>>,
    /// Whether the server relays to a socket on this host.
    peers: Result<(), Stop>,
}

impl Stand {
    /// Looks at the server.
    ///
    /// # Errors
    /// It answers nothing at all.
    pub(super) fn new(
        start: Arc<Start>,
        target: Target,
        second: Option<Arc<Credentials>>,
    ) -> Result<Self, String> {
        let host = host_towards(target.address).map_err(|error| error.to_string())?;
        let mut stand = Self {
            start,
            target,
            other: None,
            second,
            host,
            rto: RTO.1,
            answers_binding: true,
            direct: false,
            ports: Mutex::default(),
            peers: Stop::skipped("no relay was tried"),
        };
        stand.look()?;
        let beside = Target { way: opposite(stand.target.way), ..stand.target.clone() };
        stand.other = stand.serves(&beside).then_some(beside);
        stand.peers = stand.try_peer().before("a relay to this host");
        Ok(stand)
    }

    /// The first questions: is anybody there, how far away, and who are we to it.
    fn look(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        let asked = {
            let mut client = self.client().map_err(|_| "there is no way to the server")?;
            Packet::binding().and_then(|packet| client.exchange(&packet))
        };
        let mapped = asked.as_ref().ok().and_then(|reply| reply.mapped().ok());
        // A NAT would show another address; what port it shows is for a case to judge.
        self.direct = self.host.is_loopback() || mapped.is_some_and(|it| it.ip() == self.host);
        match asked {
            Ok(_) => self.rto = (begun.elapsed() * 3).clamp(RTO.0, RTO.1),
            Err(Stop::Failed(why)) => {
                self.answers_binding = false;
                let asked = self.client().and_then(|mut client| client.challenge());
                asked.map_err(|_| format!("the server does not answer: {why}"))?;
            }
            Err(_) => return Err("there is no way to the server".to_owned()),
        }
        Ok(())
    }

    /// Whether anything is answered on a way.
    fn serves(&self, target: &Target) -> bool {
        let link = self.start.open(target);
        link.is_ok_and(|link| Client::new(self, link).is_served().is_ok())
    }

    fn try_peer(&self) -> Result<(), Stop> {
        let mut client = self.client()?;
        client.allocate()?;
        let peer = Peer::new(self.host)?;
        let permitted = client.permit(peer.address())?;
        if let Some(403) = permitted.code() {
            return Stop::skipped(format!(
                "the server relays nothing to this host ({})",
                self.host
            ));
        }
        permitted.success().before("a permission")?;
        let ask = || client.send_to(peer.address(), b"are you there?");
        if self.insist(ask, |wait| peer.receive(wait))?.is_some() {
            return Ok(());
        }
        let why = "what the server relays to this host does not arrive";
        // A NAT between lets nothing in, and is not the server's.
        if self.direct { Err(Stop::Unable(why.to_owned())) } else { Stop::skipped(why) }
    }

    /// A client by the URI's own way.
    pub(super) fn client(&self) -> Result<Client<'_>, Stop> {
        self.open(&self.target)
    }

    /// A client whose messages are datagrams.
    pub(super) fn datagrams(&self) -> Result<Client<'_>, Stop> {
        self.of_kind(false)
    }

    /// A client on a byte stream.
    pub(super) fn stream(&self) -> Result<Client<'_>, Stop> {
        self.of_kind(true)
    }

    fn of_kind(&self, stream: bool) -> Result<Client<'_>, Stop> {
        match [Some(&self.target), self.other.as_ref()]
            .into_iter()
            .flatten()
            .find(|target| target.way.is_stream() == stream)
        {
            Some(target) => self.open(target),
            None if stream => Stop::skipped("the server does not answer over a stream"),
            None => Stop::skipped("the server does not answer to datagrams"),
        }
    }

    /// Where the server answers plain datagrams.
    pub(super) fn udp_place(&self) -> Result<SocketAddr, Stop> {
        let mut ways = [Some(&self.target), self.other.as_ref()].into_iter().flatten();
        match ways.find(|target| target.way == Way::Udp) {
            Some(target) => Ok(target.address),
            None => Stop::skipped("the server does not answer to plain datagrams"),
        }
    }

    /// On a 5-tuple that none has had before: a server may take a while to forget one.
    fn open(&self, target: &Target) -> Result<Client<'_>, Stop> {
        let mut had = Vec::new();
        while had.len() < 64 {
            let Ok(link) = self.start.open(target) else { break };
            let port = link.local()?.port();
            let fresh = self
                .ports
                .lock()
                .is_ok_and(|mut ports| ports.insert((target.way.is_stream(), port)));
            if fresh {
                return Ok(Client::new(self, link));
            }
            // It is held meanwhile, so that the next one is another.
            had.push(link);
        }
        Err(Stop::Unable("there is no way to the server".to_owned()))
    }

    /// A client with an allocation.
    pub(super) fn allocated(&self) -> Result<Client<'_>, Stop> {
        let mut client = self.client()?;
        client.allocate()?;
        Ok(client)
    }

    /// A client with an allocation, its relayed address, and a peer that may be reached.
    pub(super) fn relaying(&self) -> Result<(Client<'_>, SocketAddr, Peer), Stop> {
        let peer = self.peer()?;
        let mut client = self.client()?;
        let relay = client.allocate()?.relayed().before("an allocation")?;
        Ok((client, relay, peer))
    }

    /// The same with a permission for the peer's address.
    pub(super) fn permitted(&self) -> Result<(Client<'_>, SocketAddr, Peer), Stop> {
        let (mut client, relay, peer) = self.relaying()?;
        let reply = client.permit(peer.address())?;
        reply.success().before("a permission")?;
        Ok((client, relay, peer))
    }

    /// A socket on this host that the server relays to.
    pub(super) fn peer(&self) -> Result<Peer, Stop> {
        self.peers.clone()?;
        Peer::new(self.host)
    }

    /// Another address of this host: there is one for certain where all is on one host.
    pub(super) fn second_host(&self) -> Result<IpAddr, Stop> {
        match self.host {
            IpAddr::V4(host) if host.is_loopback() => {
                let [a, b, c, d] = host.octets();
                Ok(IpAddr::from([a, b, c, d ^ 2]))
            }
            _ => Stop::skipped(
                "this host has no second address that the server could be asked to relay to",
            ),
        }
    }

    pub(super) fn credentials(&self) -> Result<Arc<Credentials>, Stop> {
        match &self.start.identity {
            Some(identity) => Ok(Arc::clone(&identity.credentials)),
            None => Stop::skipped("it takes credentials"),
        }
    }

    pub(super) fn second_user(&self) -> Result<Arc<Credentials>, Stop> {
        match &self.second {
            Some(credentials) => Ok(Arc::clone(credentials)),
            None => Stop::skipped("it takes two users, who can be minted from --secret"),
        }
    }

    pub(super) fn needs_credentials(&self) -> Result<(), Stop> {
        self.credentials().map(drop)
    }

    pub(super) fn needs_binding(&self) -> Result<(), Stop> {
        if self.answers_binding {
            return Ok(());
        }
        Stop::skipped("the server does not answer Binding requests")
    }

    /// Sends what may be lost until something comes of it, as often and for as long as a request.
    pub(super) fn insist<T>(
        &self,
        mut send: impl FnMut() -> Outcome,
        mut look: impl FnMut(Duration) -> Result<Option<T>, Stop>,
    ) -> Result<Option<T>, Stop> {
        for number in 0..REQUESTS {
            send()?;
            if let Some(found) = look(self.rto * (1 << number))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// When a request over a stream is given up.
    pub(super) fn limit(&self) -> Duration {
        self.rto * 31
    }

    /// How long nothing must come for silence to be taken for one.
    pub(super) fn quiet(&self) -> Duration {
        self.rto * 2
    }
}

const fn opposite(way: Way) -> Way {
    match way {
        Way::Udp => Way::Tcp,
        Way::Tcp => Way::Udp,
        Way::Tls => Way::Dtls,
        Way::Dtls => Way::Tls,
    }
}

/// The address that this host goes out from; nothing is sent.
fn host_towards(server: SocketAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let probe = UdpSocket::bind(any)?;
    probe.connect(server)?;
    Ok(probe.local_addr()?.ip())
}
