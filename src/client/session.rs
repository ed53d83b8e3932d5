use std::net::SocketAddr;
use std::sync::Arc;

use super::challenge::{Challenge, is_bid_down};
use super::timing::{Due, Timer};
use super::{Credentials, Data, Request, Timing, Transport};
use crate::stun::{
    Class, Error, Kind, Message, Method, TransactionId, Writer, attribute, decode_address,
    decode_xor_address, error_code,
};
use crate::text::printable;
use crate::time::Mono;

/// Room that a buffer for a request must have, in bytes: the longest username, realm and nonce fit with all
/// that a request can hold besides.
pub const REQUEST_MAX: usize = 2560;

/// How often in a row a request is challenged before that counts as a refusal: the first request without a
/// nonce, and nonces that ended meanwhile.
const CHALLENGES: u8 = 3;

/// A client's side of one 5-tuple.
#[derive(Debug)]
pub struct Session {
    stream: bool,
    timing: Timing,
    credentials: Option<Arc<Credentials>>,
    /// Choose SHA-256 where the server offers it.
    sha256: bool,
    challenge: Option<Challenge>,
    pending: Option<Pending>,
    relayed: Option<SocketAddr>,
    mapped: Option<SocketAddr>,
    lifetime: u32,
    unauthentic: u64,
}

/// A request on its way.
#[derive(Debug)]
struct Pending {
    request: Request,
    id: TransactionId,
    /// It carried credentials, and so must its response.
    signed: bool,
    timer: Timer,
    challenges: u8,
    /// It waits for its repetition: whatever else answers it is a duplicate.
    challenged: bool,
}

/// What a message from the server means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The request has succeeded; what it has told can be asked of the session.
    Done(Request),
    /// The request was challenged, and its answer is known now: [`Session::repeat`] it.
    Challenged,
    /// The request has failed.
    Failed(Failure),
    /// Data from a peer.
    Data(Data),
    /// Nothing: a late duplicate, a response that is not the server's, an indication without data.
    Ignored,
}

/// What a deadline means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It has not come yet.
    Nothing,
    /// Send the first bytes of the buffer: a retransmission.
    Send(usize),
    /// The request has failed.
    Failed(Failure),
}

/// Why a request has failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Failure {
    /// The server has refused it.
    #[error("{} was refused: {code} {reason}", Method(*.method).name())]
    Refused {
        /// Of the request.
        method: u16,
        /// ERROR-CODE (RFC 8489 §14.8).
        code: u16,
        /// The reason phrase, without control characters.
        reason: String,
    },
    /// Nothing came in the time of [`Timing::limit`].
    #[error("{} was not answered", Method(*.method).name())]
    NoAnswer {
        /// Of the request.
        method: u16,
    },
    /// The response lacks what it must have.
    #[error("{} was answered without {what}", Method(*.method).name())]
    Incomplete {
        /// Of the request.
        method: u16,
        /// The attribute.
        what: &'static str,
    },
}

impl Session {
    /// A session that knows nothing of its server yet. Without credentials a challenge is a refusal.
    pub fn new(
        transport: Transport,
        credentials: Option<Arc<Credentials>>,
        timing: Timing,
    ) -> Self {
        Self {
            stream: transport == Transport::Tcp,
            timing,
            credentials,
            sha256: false,
            challenge: None,
            pending: None,
            relayed: None,
            mapped: None,
            lifetime: 0,
            unauthentic: 0,
        }
    }

    /// Uses SHA-256 where the server offers it (RFC 8489 §9.2.5), instead of MD5 and SHA-1.
    #[must_use]
    pub const fn prefer_sha256(mut self, prefer: bool) -> Self {
        self.sha256 = prefer;
        self
    }

    /// Writes a request and tells its length. One that is still on its way is forgotten.
    ///
    /// # Errors
    /// [`Error::Space`] when `out` has fewer than [`REQUEST_MAX`] bytes and it does not fit.
    pub fn begin(
        &mut self,
        now: Mono,
        id: TransactionId,
        request: Request,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        self.pending = Some(Pending {
            request,
            id,
            signed: self.challenge.is_some() && request != Request::Binding,
            timer: Timer::start(&self.timing, self.stream, now),
            challenges: 0,
            challenged: false,
        });
        self.write(out)
    }

    /// Writes the challenged request again, as a new transaction; 0 when there is none.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn repeat(&mut self, now: Mono, id: TransactionId, out: &mut [u8]) -> Result<usize, Error> {
        let Some(pending) = &mut self.pending else {
            return Ok(0);
        };
        pending.id = id;
        pending.challenged = false;
        pending.signed = self.challenge.is_some();
        pending.timer = Timer::start(&self.timing, self.stream, now);
        self.write(out)
    }

    /// Takes a datagram, or a message that was cut off the stream.
    pub fn receive(&mut self, packet: &[u8]) -> Event {
        match Data::parse(packet) {
            Ok(Some(data)) => Event::Data(data),
            Ok(None) => self.response(packet),
            Err(_) => Event::Ignored,
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub fn deadline(&self) -> Option<Mono> {
        self.pending.as_ref().map(|pending| pending.timer.deadline())
    }

    /// Retransmits or gives up what is overdue; `out` as for [`begin`](Self::begin).
    pub fn expire(&mut self, now: Mono, out: &mut [u8]) -> Expiry {
        let Some(pending) = &mut self.pending else {
            return Expiry::Nothing;
        };
        let method = pending.request.method().0;
        match pending.timer.expire(&self.timing, now) {
            Due::Nothing => Expiry::Nothing,
            // It fitted the first time.
            Due::Retransmit => self.write(out).map_or(Expiry::Nothing, Expiry::Send),
            Due::GiveUp => {
                self.pending = None;
                Expiry::Failed(Failure::NoAnswer { method })
            }
        }
    }

    /// The relayed transport address, while there is an allocation.
    pub const fn relayed(&self) -> Option<SocketAddr> {
        self.relayed
    }

    /// This client's address as the server has last seen it.
    pub const fn mapped(&self) -> Option<SocketAddr> {
        self.mapped
    }

    /// For how many seconds the allocation was granted last.
    pub const fn lifetime(&self) -> u32 {
        self.lifetime
    }

    /// Responses that were dropped because they were not signed with the password (RFC 8489 §9.2.5).
    pub const fn unauthentic(&self) -> u64 {
        self.unauthentic
    }

    /// Written anew each time, so that nothing need be kept: the same request under the same nonce is the
    /// same bytes.
    fn write(&self, out: &mut [u8]) -> Result<usize, Error> {
        let Some(pending) = &self.pending else {
            return Ok(0);
        };
        let mut writer = Writer::new(out, Kind::request(pending.request.method()), &pending.id);
        pending.request.write(&mut writer);
        if let (true, Some(challenge), Some(credentials)) =
            (pending.signed, &self.challenge, &self.credentials)
        {
            challenge.sign(credentials, &mut writer);
        }
        writer.finish()
    }

    fn response(&mut self, packet: &[u8]) -> Event {
        let (Ok(message), Some(pending)) = (Message::parse(packet), &self.pending) else {
            return Event::Ignored;
        };
        let kind = message.kind();
        let (request, signed) = (pending.request, pending.signed);
        // A retransmission's challenge may come together with the first: two repetitions of an Allocate would be two.
        if pending.challenged
            || message.transaction_id() != pending.id
            || kind.method != request.method()
        {
            return Event::Ignored;
        }
        match kind.class {
            Class::Success => {
                let authentic = |challenge: &Challenge| challenge.verifies(&message);
                if signed && !self.challenge.as_ref().is_some_and(authentic) {
                    self.unauthentic += 1;
                    return Event::Ignored;
                }
                self.success(&message, request)
            }
            Class::Error => self.error(&message, request, signed),
            Class::Request | Class::Indication => Event::Ignored,
        }
    }

    fn success(&mut self, message: &Message<'_>, request: Request) -> Event {
        self.pending = None;
        let address = |kind| {
            let value = message.attribute(kind)?;
            decode_xor_address(value, &message.transaction_id()).ok()
        };
        let lacks = |what| Event::Failed(Failure::Incomplete { method: request.method().0, what });
        let lifetime = message
            .attribute(attribute::LIFETIME)
            .and_then(|value| Some(u32::from_be_bytes(value.try_into().ok()?)));
        match request {
            Request::Binding => {
                // Servers of RFC 3489 know only the plain one.
                let plain = || decode_address(message.attribute(attribute::MAPPED_ADDRESS)?).ok();
                let Some(mapped) = address(attribute::XOR_MAPPED_ADDRESS).or_else(plain) else {
                    return lacks("XOR-MAPPED-ADDRESS");
                };
                self.mapped = Some(mapped);
            }
            Request::Allocate { .. } => {
                let Some(relayed) = address(attribute::XOR_RELAYED_ADDRESS) else {
                    return lacks("XOR-RELAYED-ADDRESS");
                };
                self.relayed = Some(relayed);
                self.mapped = address(attribute::XOR_MAPPED_ADDRESS).or(self.mapped);
                self.lifetime = lifetime.unwrap_or(self.lifetime);
            }
            Request::Refresh { lifetime: asked } => {
                self.lifetime = lifetime.unwrap_or(asked);
                if asked == 0 {
                    self.relayed = None;
                }
            }
            Request::CreatePermission { .. } | Request::ChannelBind { .. } => {}
        }
        Event::Done(request)
    }

    fn error(&mut self, message: &Message<'_>, request: Request, signed: bool) -> Event {
        let (code, reason) = error_of(message);
        let challenged = match code {
            // After credentials were shown, it means that they are wrong.
            error_code::UNAUTHENTICATED => !signed,
            error_code::STALE_NONCE => true,
            _ => false,
        };
        if challenged && self.credentials.is_some() && is_bid_down(message) {
            self.pending = None;
            let (method, what) = (request.method().0, "PASSWORD-ALGORITHMS");
            return Event::Failed(Failure::Incomplete { method, what });
        }
        if challenged
            && let Some(credentials) = &self.credentials
            && let Some(pending) = &mut self.pending
            && pending.challenges < CHALLENGES
            && let Some(challenge) =
                Challenge::read(message, credentials, self.sha256, self.challenge.as_ref())
        {
            pending.challenges += 1;
            pending.challenged = true;
            self.challenge = Some(challenge);
            return Event::Challenged;
        }
        // RFC 8489 §9.2.5 would have an unsigned 400 discarded: whoever looks for what is wrong is to hear of it.
        self.pending = None;
        Event::Failed(Failure::Refused { method: request.method().0, code, reason })
    }
}

/// ERROR-CODE (RFC 8489 §14.8) and its phrase, [printable]; 0 where it is missing or malformed.
pub fn error_of(message: &Message<'_>) -> (u16, String) {
    match message.attribute(attribute::ERROR_CODE) {
        Some([_, _, class, number, phrase @ ..]) => {
            // The phrase ends up on a terminal.
            let phrase = String::from_utf8_lossy(phrase);
            let shown: String = phrase.chars().take(127).collect();
            (u16::from(*class & 7) * 100 + u16::from(*number), printable(&shown))
        }
        _ => (0, "without an error code".to_owned()),
    }
}

#[cfg(test)]
mod tests;
