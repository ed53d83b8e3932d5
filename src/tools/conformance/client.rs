//! One 5-tuple: requests with retransmissions (RFC 8489 §6.2.1), and silence that means something.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::case::{Before as _, Outcome, Stop};
use super::proof::Proof;
use super::reply::Reply;
use super::stand::Stand;
use crate::stun::{Kind, Method, TransactionId, Writer, attribute};
use crate::tools::check::{Broken, Link};

/// The largest request that is made here: a user name of 763 bytes and all that goes with it.
const REQUEST_MAX: usize = 4096;
/// How often a request is sent over UDP (Rc of RFC 8489 §6.2.1), the pause doubled each time.
pub(super) const REQUESTS: u32 = 5;
/// Comprehension-required, and nobody's.
pub(super) const UNKNOWN: u16 = 0x7FF1;
/// UDP in REQUESTED-TRANSPORT.
pub(super) const UDP: u32 = 17 << 24;

/// A message that is to be sent, or was.
pub(super) struct Packet {
    pub(super) id: TransactionId,
    pub(super) bytes: Vec<u8>,
}

impl Packet {
    /// A message with these attributes.
    pub(super) fn new(kind: Kind, fill: impl FnOnce(&mut Writer<'_>)) -> Result<Self, Stop> {
        let mut id = [0; 12];
        getrandom::fill(&mut id).map_err(|error| Stop::Unable(error.to_string()))?;
        Self::known(TransactionId::new(id), kind, fill)
    }

    pub(super) fn known(
        id: TransactionId,
        kind: Kind,
        fill: impl FnOnce(&mut Writer<'_>),
    ) -> Result<Self, Stop> {
        let mut room = vec![0; REQUEST_MAX];
        let mut writer = Writer::new(&mut room, kind, &id);
        fill(&mut writer);
        let length =
            writer.finish().map_err(|_| Stop::Unable("a request is too long".to_owned()))?;
        room.truncate(length);
        Ok(Self { id, bytes: room })
    }

    pub(super) fn binding() -> Result<Self, Stop> {
        Self::new(Kind::request(Method::BINDING), |_| ())
    }

    /// An Allocate request for UDP with these attributes besides.
    pub(super) fn allocate(fill: impl FnOnce(&mut Writer<'_>)) -> Result<Self, Stop> {
        Self::new(Kind::request(Method::ALLOCATE), |writer| {
            writer.number(attribute::REQUESTED_TRANSPORT, UDP);
            fill(writer);
        })
    }
}

/// One client of the server's, on a 5-tuple of its own.
pub(super) struct Client<'s> {
    stand: &'s Stand,
    link: Link,
    proof: Option<Proof>,
    /// Messages that came while another was waited for.
    waiting: VecDeque<Vec<u8>>,
    /// The transactions of its requests: each may be answered once more, and late.
    asked: HashSet<[u8; 12]>,
    allocated: bool,
}

impl<'s> Client<'s> {
    pub(super) fn new(stand: &'s Stand, link: Link) -> Self {
        let (waiting, asked) = (VecDeque::new(), HashSet::new());
        Self { stand, link, proof: None, waiting, asked, allocated: false }
    }

    pub(super) fn local(&self) -> Result<SocketAddr, Stop> {
        let port = self.link.local()?.port();
        Ok(SocketAddr::new(self.stand.host, port))
    }

    pub(super) fn is_stream(&self) -> bool {
        self.link.is_stream()
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Outcome {
        Ok(self.link.send(bytes)?)
    }

    /// The next message of any kind that comes before `end`.
    pub(super) fn next(&mut self, end: Instant) -> Result<Option<Vec<u8>>, Stop> {
        match self.waiting.pop_front() {
            Some(message) => Ok(Some(message)),
            None => Ok(self.link.receive(end)?),
        }
    }

    /// Sends a request, as often as RFC 8489 §6.2.1 says, and waits for its answer.
    pub(super) fn exchange(&mut self, packet: &Packet) -> Result<Reply, Stop> {
        self.asked.insert(*packet.id.bytes());
        let tries = if self.is_stream() { 1 } else { REQUESTS };
        for number in 0..tries {
            self.send(&packet.bytes)?;
            let wait = match self.is_stream() {
                true => self.stand.limit(),
                false => self.stand.rto * (1 << number),
            };
            if let Some(reply) = self.answer(&packet.id, Instant::now() + wait)? {
                return Ok(reply);
            }
        }
        Stop::failed("there is no answer")
    }

    /// What answers the transaction before `end`.
    pub(super) fn answer(
        &mut self,
        id: &TransactionId,
        end: Instant,
    ) -> Result<Option<Reply>, Stop> {
        loop {
            match self.link.receive(end)? {
                None => return Ok(None),
                Some(bytes) if is_answer(&bytes, id) => return Reply::read(bytes).map(Some),
                Some(bytes) => self.waiting.push_back(bytes),
            }
        }
    }

    /// That nothing answers the packet, while the server is there: it answers what comes after it.
    pub(super) fn unanswered(&mut self, packet: &Packet) -> Outcome {
        self.send(&packet.bytes)?;
        if !self.is_stream() {
            self.send(&packet.bytes)?;
        }
        self.is_served().before("the server must be there for silence to mean something")?;
        let late = self.answer(&packet.id, Instant::now() + self.stand.quiet())?;
        let came = self.waiting.iter().find(|bytes| is_answer(bytes, &packet.id));
        let reply = match (late, came) {
            (Some(reply), _) => reply,
            (None, Some(bytes)) => Reply::read(bytes.clone())?,
            (None, None) => return Ok(()),
        };
        Stop::failed(format!("it is answered: {}", reply.words()))
    }

    /// That the server answers on this 5-tuple.
    pub(super) fn is_served(&mut self) -> Outcome {
        let packet = match self.stand.answers_binding {
            true => Packet::binding()?,
            false => Packet::allocate(|_| ())?,
        };
        self.exchange(&packet).map(drop)
    }

    pub(super) fn binding(&mut self) -> Result<Reply, Stop> {
        self.stand.needs_binding()?;
        self.exchange(&Packet::binding()?)
    }

    /// What a request without credentials is told.
    pub(super) fn challenge(&mut self) -> Result<Reply, Stop> {
        self.stand.needs_credentials()?;
        self.exchange(&Packet::allocate(|_| ())?)
    }

    /// How requests on this 5-tuple are proved.
    pub(super) fn proof(&mut self) -> Result<Proof, Stop> {
        if let Some(proof) = &self.proof {
            return Ok(proof.clone());
        }
        let challenge = self.challenge().before("a request without credentials")?;
        let proof = Proof::new(&challenge, self.stand.credentials()?).before("the challenge")?;
        self.proof = Some(proof.clone());
        Ok(proof)
    }

    /// Goes on with another proof.
    pub(super) fn prove_by(&mut self, proof: Proof) {
        self.proof = Some(proof);
    }

    /// A request with credentials.
    pub(super) fn signed(
        &mut self,
        method: Method,
        fill: impl Fn(&mut Writer<'_>),
    ) -> Result<Packet, Stop> {
        let proof = self.proof()?;
        Packet::new(Kind::request(method), |writer| {
            fill(writer);
            proof.sign(writer);
        })
    }

    /// Asks with credentials; a nonce that has ended meanwhile is renewed.
    pub(super) fn ask(
        &mut self,
        method: Method,
        fill: impl Fn(&mut Writer<'_>),
    ) -> Result<Reply, Stop> {
        let packet = self.signed(method, &fill)?;
        let mut reply = self.exchange(&packet)?;
        if reply.code() == Some(438) {
            let proof = self.proof()?.renewed(&reply);
            self.proof = Some(proof);
            let packet = self.signed(method, &fill)?;
            reply = self.exchange(&packet)?;
        }
        self.allocated |= method == Method::ALLOCATE && reply.is_success();
        Ok(reply)
    }

    /// An Allocate request for UDP with these attributes besides.
    pub(super) fn ask_relay(&mut self, fill: impl Fn(&mut Writer<'_>)) -> Result<Reply, Stop> {
        self.ask(Method::ALLOCATE, |writer| {
            writer.number(attribute::REQUESTED_TRANSPORT, UDP);
            fill(writer);
        })
    }

    /// An allocation, and the answer that has told of it.
    pub(super) fn allocate(&mut self) -> Result<Reply, Stop> {
        let reply = self.ask_relay(|_| ()).before("an allocation")?;
        reply.success().before("an allocation")?;
        Ok(reply)
    }

    /// Something was allocated by a request that was not sent by [`Self::ask`].
    pub(super) const fn holds_relay(&mut self) {
        self.allocated = true;
    }

    pub(super) fn refresh(&mut self, lifetime: u32) -> Result<Reply, Stop> {
        self.ask(Method::REFRESH, |writer| writer.number(attribute::LIFETIME, lifetime))
    }

    pub(super) fn permit(&mut self, peer: SocketAddr) -> Result<Reply, Stop> {
        self.ask(Method::CREATE_PERMISSION, |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        })
    }

    /// Asks for a channel; the RFFU field stays zero.
    pub(super) fn bind(&mut self, number: u16, peer: SocketAddr) -> Result<Reply, Stop> {
        self.ask(Method::CHANNEL_BIND, |writer| {
            writer.number(attribute::CHANNEL_NUMBER, u32::from(number) << 16);
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
        })
    }

    /// Sends a Send indication.
    pub(super) fn send_to(&mut self, peer: SocketAddr, data: &[u8]) -> Outcome {
        let packet = Packet::new(Kind::indication(Method::SEND), |writer| {
            writer.xor_address(attribute::XOR_PEER_ADDRESS, peer);
            writer.attribute(attribute::DATA, data);
        })?;
        self.send(&packet.bytes)
    }

    /// Sends a ChannelData message, padded where it must be.
    pub(super) fn send_on(&mut self, channel: u16, data: &[u8]) -> Outcome {
        let mut message = channel.to_be_bytes().to_vec();
        message.extend_from_slice(&(data.len() as u16).to_be_bytes());
        message.extend_from_slice(data);
        if self.is_stream() {
            message.resize(message.len().next_multiple_of(4), 0);
        }
        self.send(&message)
    }

    /// The first message before the end of the wait that `is` what is waited for. What answers a request that was
    /// repeated is none: a slow server answers each copy.
    pub(super) fn await_message<T>(
        &mut self,
        wait: Duration,
        mut is: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Stop> {
        let end = Instant::now() + wait;
        while let Some(bytes) = self.next(end)? {
            let late = bytes.get(8..20).is_some_and(|id| self.asked.contains(id));
            if let (false, Some(found)) = (late && is_response(&bytes), is(&bytes)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first `length` bytes of a connection that carries no messages any more; fewer when it ends or no more come.
    pub(super) fn read_bytes(&mut self, length: usize) -> Result<Vec<u8>, Stop> {
        let (end, mut found) = (Instant::now() + self.stand.limit(), Vec::new());
        while found.len() < length {
            match self.link.bytes(end) {
                Ok(Some(bytes)) => found.extend_from_slice(&bytes),
                Ok(None) | Err(Broken::Closed | Broken::Foreign(_)) => break,
                Err(broken) => return Err(broken.into()),
            }
        }
        Ok(found)
    }

    /// Whether the server ends the connection in the usual time.
    pub(super) fn is_closed(&mut self) -> Result<bool, Stop> {
        let end = Instant::now() + self.stand.limit();
        loop {
            match self.link.bytes(end) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(false),
                Err(Broken::Closed | Broken::Foreign(_)) => return Ok(true),
                Err(broken) => return Err(broken.into()),
            }
        }
    }
}

impl Drop for Client<'_> {
    /// Leaves nothing behind: an allocation lives for ten minutes, and a quota may count it.
    fn drop(&mut self) {
        if self.allocated {
            let _ = self.refresh(0);
        }
    }
}

/// Whether the bytes answer the transaction, however malformed the rest may be.
fn is_answer(bytes: &[u8], id: &TransactionId) -> bool {
    is_response(bytes) && bytes[8..20] == *id.bytes()
}

/// RFC 8489 §5: by the class bits.
fn is_response(bytes: &[u8]) -> bool {
    bytes.len() >= 20 && bytes[0] & 0xC1 == 0x01
}
