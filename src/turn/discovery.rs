//! NAT behaviour discovery (RFC 5780), and what RFC 3489 had of it: Binding requests on two
//! addresses and two ports, answered from another of the four, or to another port.
//!
//! What is asked for here comes from an address that nobody has proved. So an answer that leaves
//! the usual way is rated by itself, for each address and in all; an answer is padded to the length
//! of its request at most; and RFC 3489's RESPONSE-ADDRESS, which sends answers to anybody, is as
//! unknown as any other attribute (420).

use std::net::{IpAddr, SocketAddr};

use super::request::Request;
use super::{Cause, Client, Dropped, FiveTuple, RESPONSE_MAX, Server, Settings, Stats, Transport};
use crate::stun::{Error, Writer, attribute};
use crate::time::Mono;

/// The attributes that ask for it, all comprehension-required.
const COMPREHENDED: [u16; 3] =
    [attribute::CHANGE_REQUEST, attribute::RESPONSE_PORT, attribute::PADDING];

/// The two addresses and two ports of one family on which it is served (RFC 5780 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// A1 and A2, as this host has them.
    pub local: [IpAddr; 2],
    /// The same as clients know them, which a 1:1 NAT makes another thing.
    pub advertised: [IpAddr; 2],
    /// P1 and P2.
    pub ports: [u16; 2],
}

impl Discovery {
    /// The place of a local address of ours.
    fn corner(&self, local: SocketAddr) -> Option<Corner> {
        let ip = self.local.iter().position(|ip| *ip == local.ip())?;
        let port = self.ports.iter().position(|port| *port == local.port())?;
        Some(Corner { ip, port })
    }

    fn local(&self, corner: Corner) -> SocketAddr {
        SocketAddr::new(self.local[corner.ip], self.ports[corner.port])
    }

    fn advertised(&self, corner: Corner) -> SocketAddr {
        SocketAddr::new(self.advertised[corner.ip], self.ports[corner.port])
    }
}

/// One of the four transport addresses: which of the two addresses, and which of the two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Corner {
    ip: usize,
    port: usize,
}

impl Corner {
    const fn changed(self, ip: bool, port: bool) -> Self {
        Self { ip: self.ip ^ ip as usize, port: self.port ^ port as usize }
    }
}

/// A response that does not go back the way on which its request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detour {
    /// The address of ours that it is sent from.
    pub from: SocketAddr,
    /// Where to.
    pub to: SocketAddr,
}

/// What a Binding request asks for beyond its mapped address.
#[derive(Default)]
struct Wishes {
    change_ip: bool,
    change_port: bool,
    response_port: Option<u16>,
    padding: bool,
}

impl Wishes {
    fn read(request: &Request<'_>) -> Result<Self, Error> {
        let mut wishes = Self::default();
        if let Some(flags) = request.message.attribute(attribute::CHANGE_REQUEST) {
            let flags = flags.try_into().map(u32::from_be_bytes).map_err(|_| Error::Value)?;
            // RFC 5780 §7.2
            (wishes.change_ip, wishes.change_port) = (flags & 4 != 0, flags & 2 != 0);
        }
        if let Some(value) = request.message.attribute(attribute::RESPONSE_PORT) {
            // RFC 5780 §7.5: the port and two bytes of padding, which some leave to STUN's own.
            let port = match *value {
                [high, low] | [high, low, _, _] => u16::from_be_bytes([high, low]),
                _ => 0,
            };
            // Nothing can be sent to port 0.
            wishes.response_port = Some(port).filter(|port| *port != 0);
            wishes.response_port.ok_or(Error::Value)?;
        }
        wishes.padding = request.message.attribute(attribute::PADDING).is_some();
        Ok(wishes)
    }

    /// Whether it is more than a plain Binding request.
    const fn any(&self) -> bool {
        self.detours() || self.padding
    }

    const fn detours(&self) -> bool {
        self.change_ip || self.change_port || self.response_port.is_some()
    }
}

/// How a Binding request is answered where discovery is served.
pub(super) struct Answer<'a> {
    discovery: &'a Discovery,
    wishes: Wishes,
    corner: Corner,
    /// The length of the request, in bytes.
    asked: usize,
}

impl Settings {
    /// Where discovery is served on the server's address of a 5-tuple.
    fn corner(&self, tuple: &FiveTuple) -> Option<(&Discovery, Corner)> {
        let mut all = self.discovery.iter();
        all.find_map(|discovery| Some((discovery, discovery.corner(tuple.server)?)))
    }
}

impl Server {
    /// What a Binding request of `asked` bytes gets beyond its mapped address, or why it gets an
    /// error; nothing where discovery is not served. What is comprehended is taken off the request's unknown attributes.
    pub(super) fn discover(
        &self,
        client: &Client,
        request: &mut Request<'_>,
        asked: usize,
    ) -> Result<Option<Answer<'_>>, Cause> {
        let found = self.settings.corner(&client.tuple);
        let transport = client.tuple.transport;
        // RFC 8489 §11: without the magic cookie it MUST be a 500.
        if transport == Transport::Dtls && request.message.is_classic() {
            return Err(Cause::Classic);
        }
        // RFC 5780 §3: a connection has no other way back, and on it nothing is fragmented.
        let asks = found.is_some() && transport == Transport::Udp;
        if asks {
            request.comprehend(&COMPREHENDED);
        }
        if !request.unknown().is_empty() {
            return Err(Cause::UnknownAttribute);
        }
        let mut wishes = Wishes::default();
        if asks {
            wishes = Wishes::read(request).map_err(|_| Cause::Malformed)?;
        }
        // RFC 5780 §6.1: the one would amplify what the other directs.
        if wishes.padding && wishes.response_port.is_some() {
            return Err(Cause::Contradiction);
        }
        Ok(found.map(|(discovery, corner)| Answer { discovery, wishes, corner, asked }))
    }

    /// Whether such an answer may be given once more; `guarded` if the limits for each address
    /// apply to the client.
    pub(super) fn admit_discovery(
        &self,
        now: Mono,
        client: &Client,
        answer: &Answer<'_>,
        guarded: bool,
        stats: &Stats,
    ) -> Result<(), Dropped> {
        let Wishes { response_port, padding, .. } = answer.wishes;
        if !answer.wishes.any() {
            return Ok(());
        }
        if !self.ledger.admit_discovery(&client.tuple, now, &self.settings.limits, guarded) {
            return Err(Dropped::DiscoveryLimited);
        }
        let wished = [
            (answer.wishes.change_ip || answer.wishes.change_port, &stats.change_requests),
            (response_port.is_some(), &stats.response_ports),
            (padding, &stats.paddings),
        ];
        for (_, counter) in wished.iter().filter(|(wished, _)| *wished) {
            counter.add(1);
        }
        Ok(())
    }
}

impl Answer<'_> {
    fn from(&self) -> Corner {
        self.corner.changed(self.wishes.change_ip, self.wishes.change_port)
    }

    /// Appends what RFC 5780 §6.1 wants in a success response, or RFC 3489 §8.1 in one for a client
    /// of its time.
    pub(super) fn write(&self, writer: &mut Writer<'_>, client: &Client, request: &Request<'_>) {
        let origin = self.discovery.advertised(self.from());
        let other = self.discovery.advertised(self.corner.changed(true, true));
        if request.message.is_classic() {
            writer.address(attribute::SOURCE_ADDRESS, origin);
            writer.address(attribute::CHANGED_ADDRESS, other);
        } else {
            writer.address(attribute::MAPPED_ADDRESS, client.tuple.client);
            writer.address(attribute::RESPONSE_ORIGIN, origin);
            writer.address(attribute::OTHER_ADDRESS, other);
        }
        if self.wishes.padding {
            // RFC 5780 §6.1 wants the MTU of the interface. Whoever wants that much back has to send
            // that much: else a few bytes with a forged address would draw 1,500.
            let fingerprint = if request.message.has_fingerprint() { 8 } else { 0 };
            writer.padding(self.asked.min(RESPONSE_MAX), fingerprint);
        }
    }

    /// The way of the response, if it is not the usual one.
    pub(super) fn detour(&self, client: &Client) -> Option<Detour> {
        self.wishes.detours().then(|| {
            let mut to = client.tuple.client;
            to.set_port(self.wishes.response_port.unwrap_or(to.port()));
            Detour { from: self.discovery.local(self.from()), to }
        })
    }
}
