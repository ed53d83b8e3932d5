//! Leading OpenSSL through a handshake: datagrams in, flights out, repetitions by the caller's clock, and at the end a
//! [`Session`] without it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use openssl::ssl::{ErrorCode, NameType, SslStream};

use super::acceptor::Acceptor;
use super::assembly::Assembly;
use super::failure;
use super::ffi;
use super::hello::{ClientHello, Fragment};
use super::keys::Secrets;
use super::record::{APPLICATION_DATA, HANDSHAKE, Records};
use super::session::{Outcome, Session};
use crate::time::Mono;
use crate::tls::{Cause, Failure};

/// How long the client may be silent before a flight is repeated the first time; each time it is
/// twice as long (RFC 6347 §4.2.4.1).
const SILENCE: Duration = Duration::from_secs(1);
/// A client that repeats its own flight is answered at once, but not more often than this, nor
/// more than so many times: what it is answered is longer than what it repeats.
const HASTE: Duration = Duration::from_millis(100);
const HASTY: u32 = 8;

/// Bytes that are looked at in one handshake; a client without a certificate needs a few hundred,
/// and OpenSSL keeps what it cannot use yet.
const INPUT: usize = 16 << 10;
/// The longest message behind the hello, in bytes: the key exchange with the largest group of DHE that
/// OpenSSL has. For each of ten messages to come it reserves as much as a fragment says that there is.
const MESSAGE: usize = 1 << 10 | 64;

/// A handshake of a client that has proved its address.
///
/// OpenSSL leads it and is then let go: the [`Session`] works on the keys alone, and a thousand
/// idle ones cost what one of OpenSSL's does.
pub struct Handshake {
    stream: SslStream<Pipe>,
    random: [u8; 32],
    /// The hello, until OpenSSL has seen it.
    hello: Option<Assembly>,
    /// How much more of the client's is looked at.
    room: usize,
    /// What was sent last.
    flight: Vec<Vec<u8>>,
    /// Whether it waits to be sent, for the first time or again.
    unsent: bool,
    /// The number of the next record in the clear.
    sequence: u64,
    sent: Mono,
    silence: Duration,
    hasty: u32,
}

/// What [`Handshake::advance`] has come to.
pub enum Progress {
    /// The client is to say more.
    Waiting,
    /// The association is there.
    Complete(Box<Session>),
}

impl Handshake {
    /// Begins a handshake with the datagram of a ClientHello, or of its first fragment, whose
    /// cookie was found good. Cheap: the work is left to [`Self::advance`].
    ///
    /// # Errors
    /// When it is no such hello, or OpenSSL is out of memory.
    pub fn new(acceptor: &Acceptor, now: Mono, datagram: &[u8]) -> Result<Self, Failure> {
        let both = ClientHello::parse(datagram).zip(Assembly::begin(datagram));
        let (hello, assembly) = both.ok_or(Failure::new(Cause::Malformed))?;
        let pipe = Pipe { input: VecDeque::new(), output: Vec::new() };
        let stream = acceptor.session().and_then(|ssl| SslStream::new(ssl, pipe));
        Ok(Self {
            stream: stream.map_err(|errors| failure::of(&errors))?,
            random: *hello.random,
            hello: Some(assembly),
            room: INPUT,
            flight: Vec::new(),
            unsent: false,
            sequence: hello.sequence,
            sent: now,
            silence: SILENCE,
            hasty: HASTY,
        })
    }

    /// Whether the hello that it began with has this random.
    pub fn began_with(&self, random: &[u8; 32]) -> bool {
        self.random == *random
    }

    /// The name that the client has asked for (SNI).
    pub fn asked_name(&self) -> Option<&str> {
        self.stream.ssl().servername(NameType::HOST_NAME)
    }

    /// Takes a datagram of the client's, for [`Self::advance`]. What is too much is dropped: the
    /// client repeats what matters.
    pub fn push(&mut self, now: Mono, datagram: &[u8]) {
        if let Some(assembly) = &mut self.hello {
            assembly.add(datagram);
            return;
        }
        if ClientHello::parse(datagram).is_some() {
            // RFC 6347 §4.2.4: the client has not got the flight. OpenSSL would not care.
            if self.hasty > 0 && self.sent + HASTE <= now && !self.flight.is_empty() {
                self.hasty -= 1;
                self.repeat(now);
            }
            return;
        }
        let mut records = Records::new();
        let mut input = Vec::new();
        while let Some((header, place)) = records.next(datagram) {
            let length = place.len();
            let record = &datagram[place.clone()];
            let short = header.kind != HANDSHAKE
                || !header.is_plain()
                || Fragment::are_short(record, MESSAGE);
            // Data has no place before the server's last flight, and OpenSSL would keep it.
            if header.kind != APPLICATION_DATA && short && length <= self.room {
                self.room -= length;
                input.extend_from_slice(record);
            }
        }
        if !input.is_empty() {
            self.stream.get_mut().input.push_back(input);
        }
    }

    /// Goes on as far as the datagrams so far allow; what is to be sent then waits in
    /// [`Self::transmit`]. This is where the work is: a signature and a key exchange.
    ///
    /// # Errors
    /// The handshake is over; the alert that waits in [`Self::transmit`] should still be sent.
    pub fn advance(&mut self, now: Mono) -> Result<Progress, Failure> {
        if let Some(hello) = &self.hello {
            let Some(datagram) = hello.datagram() else {
                return Ok(Progress::Waiting);
            };
            self.hello = None;
            self.stream.get_mut().input.push_back(datagram);
            if !ffi::listen(&mut self.stream) {
                return Err(Failure::new(Cause::Malformed));
            }
        }
        let outcome = self.stream.do_handshake();
        self.collect(now);
        match outcome {
            Ok(()) => {
                let session = self.complete().ok_or(Failure::new(Cause::Internal))?;
                Ok(Progress::Complete(Box::new(session)))
            }
            Err(error) if error.code() == ErrorCode::WANT_READ => Ok(Progress::Waiting),
            // RFC 6347 §4.1.2.7: what makes no sense is discarded, and OpenSSL has nothing to say.
            Err(error) if error.code() == ErrorCode::SYSCALL && error.ssl_error().is_none() => {
                Ok(Progress::Waiting)
            }
            Err(error) => Err(failure::of_handshake(&error)),
        }
    }

    /// What is to be sent, if anything: one datagram after the other.
    pub fn transmit(&mut self) -> impl Iterator<Item = &[u8]> {
        let unsent = std::mem::take(&mut self.unsent);
        self.flight.iter().filter(move |_| unsent).map(Vec::as_slice)
    }

    /// When [`Self::repeat`] is due.
    pub fn deadline(&self) -> Mono {
        self.sent + self.silence
    }

    /// Lets [`Self::transmit`] send the last flight again, because the client is silent.
    pub fn repeat(&mut self, now: Mono) {
        self.sent = now;
        self.silence *= 2;
        self.unsent = true;
        self.number();
    }

    /// Takes what OpenSSL has written.
    fn collect(&mut self, now: Mono) {
        let output = std::mem::take(&mut self.stream.get_mut().output);
        if !output.is_empty() {
            self.flight = output;
            self.unsent = true;
            self.sent = now;
            self.silence = SILENCE;
            self.number();
        }
    }

    /// Numbers the flight's records in the clear. RFC 6347 §4.2.4: a message that is repeated
    /// comes in a new record.
    fn number(&mut self) {
        for datagram in &mut self.flight {
            let mut records = Records::new();
            while let Some((header, place)) = records.next(datagram) {
                if header.is_plain() {
                    datagram[place][5..11].copy_from_slice(&self.sequence.to_be_bytes()[2..]);
                    self.sequence += 1;
                }
            }
        }
    }

    fn complete(&self) -> Option<Session> {
        let ssl = self.stream.ssl();
        let (mut server_random, mut master) = ([0; 32], [0; 48]);
        ssl.server_random(&mut server_random);
        let length = ssl.session()?.master_key(&mut master);
        let suite = ssl.current_cipher()?.protocol_id();
        let secrets = Secrets {
            suite,
            master: &master[..length],
            client_random: &self.random,
            server_random: &server_random,
        };
        let flight = self.flight.concat();
        let session = Session::new(&Outcome { secrets, flight: &flight });
        zeroize::Zeroize::zeroize(&mut master);
        session
    }
}

/// A network of one datagram a time, for OpenSSL.
pub(super) struct Pipe {
    pub(super) input: VecDeque<Vec<u8>>,
    pub(super) output: Vec<Vec<u8>>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.input.pop_front().ok_or(ErrorKind::WouldBlock)?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok(length)
    }
}

impl Write for Pipe {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.output.push(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
