use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::{Broken, Link};
use crate::client::{
    Credentials, Data, DataHeader, Event, Failure, Request, Session, Source, Timing, Transport,
    error_of,
};
use crate::stun::{Class, Message, TransactionId, attribute, decode_address, decode_xor_address};
use crate::text::printable;
use crate::time::Mono;

/// Five transmissions in 3 s, given up after 4.2 s.
const TIMING: Timing = Timing { rto: Duration::from_millis(200), requests: 5, last: 6 };
/// Data that nobody has asked for yet.
const WAITING: usize = 64;

/// A client's session with what carries it.
pub(super) struct Dialogue {
    link: Link,
    session: Session,
    start: Instant,
    buffer: Vec<u8>,
    heard: Heard,
    data: VecDeque<(Source, Vec<u8>)>,
}

/// What the server has told besides.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) software: Option<String>,
    /// Realms, in the order in which they were named; each once.
    pub(super) realms: Vec<String>,
    pub(super) nonce: bool,
    /// Where the last refusal sends the client, and the name in the certificate there (RFC 8489 §10).
    pub(super) alternate: Option<(std::net::SocketAddr, Option<String>)>,
}

/// Why a request has no good answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nothing came.
    Silent,
    /// Something came that was not signed.
    Forged,
    Refused {
        code: u16,
        reason: String,
    },
    /// What an answer lacks.
    Incomplete(&'static str),
    Broken(Broken),
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Dialogue {
    pub(super) fn new(link: Link, credentials: Option<Arc<Credentials>>) -> Self {
        let transport = if link.is_stream() { Transport::Tcp } else { Transport::Udp };
        Self {
            session: Session::new(transport, credentials, TIMING),
            link,
            start: Instant::now(),
            buffer: vec![0; crate::client::REQUEST_MAX],
            heard: Heard::default(),
            data: VecDeque::new(),
        }
    }

    /// Goes on as somebody else, over the same link.
    pub(super) fn known_as(self, credentials: Option<Arc<Credentials>>) -> Self {
        Self { heard: self.heard, ..Self::new(self.link, credentials) }
    }

    pub(super) const fn heard(&self) -> &Heard {
        &self.heard
    }

    pub(super) const fn session(&self) -> &Session {
        &self.session
    }

    /// Asks, and waits for the answer; tells how long the last exchange took.
    pub(super) fn ask(&mut self, request: Request) -> Result<Duration, Trouble> {
        let (mut sent, before) = (Instant::now(), self.session.unauthentic());
        let length = self.session.begin(self.now(), id()?, request, &mut self.buffer);
        self.write(length.unwrap_or(0))?;
        loop {
            let end = self.session.deadline().map_or(sent, |due| self.start + age(due));
            let Some(message) = self.link.receive(end)? else {
                match self.session.expire(self.now(), &mut self.buffer) {
                    crate::client::Expiry::Send(length) => self.write(length)?,
                    crate::client::Expiry::Failed(_) if self.session.unauthentic() > before => {
                        return Err(Trouble::Forged);
                    }
                    crate::client::Expiry::Failed(_) => return Err(Trouble::Silent),
                    crate::client::Expiry::Nothing => {}
                }
                continue;
            };
            self.listen(&message);
            match self.session.receive(&message) {
                Event::Done(_) => return Ok(sent.elapsed()),
                Event::Challenged => {
                    sent = Instant::now();
                    let length = self.session.repeat(self.now(), id()?, &mut self.buffer);
                    self.write(length.unwrap_or(0))?;
                }
                Event::Failed(Failure::Refused { code, reason, .. }) => {
                    return Err(Trouble::Refused { code, reason });
                }
                Event::Failed(Failure::NoAnswer { .. }) => return Err(Trouble::Silent),
                Event::Failed(Failure::Incomplete { what, .. }) => {
                    return Err(Trouble::Incomplete(what));
                }
                Event::Data(data) => self.keep(data, &message),
                Event::Ignored => self.foreign(&message)?,
            }
        }
    }

    /// Sends data behind a header that was made for their length.
    pub(super) fn send(&mut self, header: &DataHeader, payload: &[u8]) -> Result<(), Broken> {
        let mut message = header.bytes().to_vec();
        message.extend_from_slice(payload);
        message.resize(header.message_len(self.link.is_stream()), 0);
        self.link.send(&message)
    }

    /// The next data that come within `wait`.
    pub(super) fn data(&mut self, wait: Duration) -> Result<Option<(Source, Vec<u8>)>, Broken> {
        let end = Instant::now() + wait;
        loop {
            if let Some(data) = self.data.pop_front() {
                return Ok(Some(data));
            }
            let Some(message) = self.link.receive(end)? else {
                return Ok(None);
            };
            if let Ok(Some(data)) = Data::parse(&message) {
                self.keep(data, &message);
            }
        }
    }

    fn keep(&mut self, data: Data, message: &[u8]) {
        if self.data.len() < WAITING {
            self.data.push_back((data.source, message[data.payload].to_vec()));
        }
    }

    fn write(&mut self, length: usize) -> Result<(), Broken> {
        self.link.send(&self.buffer[..length])
    }

    /// What is not a message at all says that another server is there.
    fn foreign(&self, message: &[u8]) -> Result<(), Broken> {
        match Message::parse(message) {
            Ok(_) => Ok(()),
            Err(error) => Err(Broken::Foreign(error.to_string())),
        }
    }

    /// Notes what the server tells besides the answer itself.
    fn listen(&mut self, packet: &[u8]) {
        let Ok(message) = Message::parse(packet) else {
            return;
        };
        let text = |kind| message.attribute(kind).map(shown);
        if let Some(software) = text(attribute::SOFTWARE) {
            self.heard.software = Some(software);
        }
        if message.kind().class != Class::Error {
            return;
        }
        if let Some(realm) = text(attribute::REALM)
            && !self.heard.realms.contains(&realm)
            && self.heard.realms.len() < 4
        {
            self.heard.realms.push(realm);
        }
        self.heard.nonce |= message.attribute(attribute::NONCE).is_some();
        if error_of(&message).0 == 300 {
            let place = message.attribute(attribute::ALTERNATE_SERVER);
            let name = || message.attribute(attribute::ALTERNATE_DOMAIN).and_then(domain);
            self.heard.alternate =
                place.and_then(|value| decode_address(value).ok()).map(|place| (place, name()));
        }
    }

    fn now(&self) -> Mono {
        Mono::default() + self.start.elapsed()
    }
}

/// The address that a Binding response tells, for a socket without a session.
pub(super) fn mapped(packet: &[u8], id: &TransactionId) -> Option<std::net::SocketAddr> {
    let message = Message::parse(packet).ok()?;
    if message.transaction_id() != *id || message.kind().class != Class::Success {
        return None;
    }
    decode_xor_address(message.attribute(attribute::XOR_MAPPED_ADDRESS)?, id).ok()
}

/// A new transaction ID.
pub(super) fn id() -> Result<TransactionId, Broken> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|error| Broken::System(std::io::Error::other(error)))?;
    Ok(TransactionId::new(bytes))
}

fn age(due: Mono) -> Duration {
    Duration::from_micros(due.as_micros())
}

/// RFC 8489 §14.16: at most 255 bytes; what could be no name is as good as none.
fn domain(value: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(value).ok()?;
    let fits = (1..=255).contains(&name.len()) && name.bytes().all(|it| it.is_ascii_graphic());
    fits.then(|| name.to_owned())
}

/// For a terminal.
fn shown(value: &[u8]) -> String {
    printable(&String::from_utf8_lossy(value).chars().take(127).collect::<String>())
}
