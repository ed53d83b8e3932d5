//! One connection's TLS as a state machine over the caller's buffers; how it is driven stands in the room's page.

use std::sync::Arc;

use rustls::server::ServerConnectionData;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, WriteTraffic,
};
use rustls::{HandshakeKind, ProtocolVersion};

use super::failure::{Cause, Failure};
use super::identities::take_asked_name;
use super::server::{Protocol, Server, Version};

/// The most bytes that can wait for the rest of a record or of a handshake message.
///
/// RFC 5246 §6.2.3 allows a record of this size; no handshake message of a client is near it.
pub const INPUT_MAX: usize = 5 + (16 << 10) + 2048;

/// The plaintext of one record (RFC 8446 §5.1).
const RECORD: usize = 16 << 10;
/// Header, explicit nonce or content type, and tag of a record in either version.
const RECORD_OVERHEAD: usize = 5 + 8 + 1 + 16;

/// One connection's TLS, of the server's side. It keeps no buffers and knows no socket. rustls allocates once for each
/// record, either way (tests/zero_allocation.rs).
pub struct Session {
    connection: UnbufferedServerConnection,
    phase: Phase,
    /// We have said close_notify: nothing more is sent, and what comes is still read.
    finished: bool,
    /// The name in the client's SNI extension.
    asked_name: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshake,
    Open,
    /// The client has said close_notify.
    PeerClosed,
    /// It has failed, or was given up in the handshake.
    Over,
}

/// What [`Session::receive`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the input that are done with; those behind them must come again, unchanged and in
    /// front of what follows them.
    pub consumed: usize,
    /// Bytes written to the front of the plaintext buffer.
    pub plain: usize,
    /// The handshake has been completed by this input.
    pub opened: bool,
    /// The client has closed its side in order (close_notify): no plaintext follows.
    pub closed: bool,
}

impl Session {
    /// A session that waits for a ClientHello.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(server: &Server) -> Result<Self, Failure> {
        let connection = UnbufferedServerConnection::new(Arc::clone(&server.config))?;
        Ok(Self { connection, phase: Phase::Handshake, finished: false, asked_name: None })
    }

    /// Takes ciphertext. What there is to answer is appended to `output`, also on failure.
    ///
    /// `input` begins with what the last call has not consumed. `plain` must be as long as `input`
    /// at least.
    ///
    /// # Errors
    /// The session is over; what is in `output` (an alert) should still be sent.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        plain: &mut [u8],
        output: &mut Vec<u8>,
    ) -> Result<Received, Failure> {
        let mut received = Received::default();
        match self.phase {
            Phase::Over => return Err(Failure::new(Cause::Over)),
            // RFC 8446 §6.1: what follows close_notify is ignored.
            Phase::PeerClosed => {
                received.consumed = input.len();
                return Ok(received);
            }
            Phase::Handshake | Phase::Open => {}
        }
        let mut done = self.process(input, plain, output, &mut received);
        if self.phase == Phase::Handshake {
            self.asked_name = take_asked_name().or(self.asked_name.take());
            received.opened = done.is_ok() && !self.connection.is_handshaking();
        }
        if received.opened {
            self.phase = Phase::Open;
        }
        if received.closed {
            self.phase = Phase::PeerClosed;
            received.consumed = input.len();
        }
        let rest = &mut input[received.consumed..];
        done = done.and_then(|()| self.check_rest(rest));
        if let Err(failure) = done {
            self.phase = Phase::Over;
            self.alert(rest, output);
            let spoke_tls = self.connection.protocol_version().is_some();
            return Err(if spoke_tls { failure.of_a_peer() } else { failure });
        }
        Ok(received)
    }

    /// Encrypts plaintext for the client, in as few records as possible.
    ///
    /// # Errors
    /// When the handshake is not complete, or the session is over.
    pub fn send(&mut self, plain: &[u8], output: &mut Vec<u8>) -> Result<(), Failure> {
        if !self.is_open() || self.finished {
            return Err(Failure::new(Cause::Over));
        }
        for record in plain.chunks(RECORD) {
            let room = record.len() + RECORD_OVERHEAD;
            self.write(output, room, |traffic, room| traffic.encrypt(record, room))?;
        }
        Ok(())
    }

    /// The most bytes that so much plaintext becomes.
    pub const fn sealed_length(plain: usize) -> usize {
        plain + plain.div_ceil(RECORD) * RECORD_OVERHEAD
    }

    /// Says close_notify, after which nothing can be sent; what the client sends is received as
    /// before (RFC 8446 §6.1). Says nothing before the handshake is complete or after a failure:
    /// the session is over then.
    pub fn close(&mut self, output: &mut Vec<u8>) {
        if !self.is_open() {
            self.phase = Phase::Over;
        } else if !std::mem::replace(&mut self.finished, true) {
            // A session that cannot say goodbye sends nothing more all the same.
            let _ = self.write(output, 2 + RECORD_OVERHEAD, |traffic, room| {
                traffic.queue_close_notify(room)
            });
        }
    }

    /// What it means that the connection ends now, if it means anything: the client has left in
    /// the middle of the handshake, when it had seen the certificate.
    pub fn abandoned(&self) -> Option<Failure> {
        let answered = self.connection.protocol_version().is_some();
        (self.phase == Phase::Handshake && answered).then(|| Failure::new(Cause::LeftSilently))
    }

    /// Whether the handshake is complete, so that plaintext can go both ways.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::PeerClosed)
    }

    /// The version, as soon as it is known.
    pub fn version(&self) -> Option<Version> {
        match self.connection.protocol_version()? {
            ProtocolVersion::TLSv1_3 => Some(Version::Tls13),
            _ => Some(Version::Tls12),
        }
    }

    /// The application protocol that was agreed on; `None` for a client that named none.
    pub fn protocol(&self) -> Option<Protocol> {
        Protocol::of(self.connection.alpn_protocol()?)
    }

    /// The name that the client has asked for (SNI).
    pub fn asked_name(&self) -> Option<&str> {
        self.asked_name.as_deref()
    }

    /// Whether the handshake was a short one, with a ticket.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Goes on until there is nothing more to do with `input`.
    fn process(
        &mut self,
        input: &mut [u8],
        plain: &mut [u8],
        output: &mut Vec<u8>,
        received: &mut Received,
    ) -> Result<(), Failure> {
        loop {
            let status = self.connection.process_tls_records(&mut input[received.consumed..]);
            let mut discard = status.discard;
            let mut more = true;
            let done = match status.state {
                Err(error) => Err(error.into()),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut done = Ok(());
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                done = done.and(copy(record.payload, plain, &mut received.plain));
                            }
                            Err(error) => done = Err(error.into()),
                        }
                    }
                    done
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    fill(output, 0, |room| data.encode(room))
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Ok(())
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    received.closed = true;
                    more = false;
                    Ok(())
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                    more = false;
                    Ok(())
                }
                // Early data is off, and there is no other state.
                Ok(_) => Err(Failure::new(Cause::Internal)),
            };
            received.consumed += discard;
            done?;
            if !more {
                return Ok(());
            }
        }
    }

    /// What may wait for more of its kind.
    fn check_rest(&self, rest: &[u8]) -> Result<(), Failure> {
        if rest.len() >= INPUT_MAX {
            return Err(Failure::new(Cause::Malformed));
        }
        // A whole record that is not done with is a piece of a handshake message. After the
        // handshake all of them are tiny, and `send` could not show the piece to rustls again.
        let whole = matches!(rest, [_, _, _, high, low, body @ ..]
            if body.len() >= usize::from(u16::from_be_bytes([*high, *low])));
        if whole && self.phase == Phase::Open {
            return Err(Failure::new(Cause::Malformed));
        }
        Ok(())
    }

    /// Writes what rustls still wants to say after a failure, and asks it for nothing else: it
    /// panics when it meets the same broken record again.
    fn alert(&mut self, rest: &mut [u8], output: &mut Vec<u8>) {
        while self.connection.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(mut data)) =
                self.connection.process_tls_records(rest).state
            else {
                return;
            };
            if fill(output, 0, |room| data.encode(room)).is_err() {
                return;
            }
        }
    }

    /// Lets rustls write traffic, behind what it has to say itself (the answer to a KeyUpdate).
    fn write<E: Into<Unfilled>>(
        &mut self,
        output: &mut Vec<u8>,
        room: usize,
        encrypt: impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, E>,
    ) -> Result<(), Failure> {
        let mut encrypt = encrypt;
        loop {
            // Nothing of the input is needed: `check_rest` saw to it.
            match self.connection.process_tls_records(&mut []).state? {
                ConnectionState::EncodeTlsData(mut data) => {
                    fill(output, 0, |room| data.encode(room))?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(mut traffic) => {
                    return fill(output, room, |room| encrypt(&mut traffic, room));
                }
                _ => return Err(Failure::new(Cause::Over)),
            }
        }
    }
}

/// Why there is no output yet.
enum Unfilled {
    Needs(usize),
    Failed,
}

/// Appends to `output` what `write` puts into the room it is given, `room` bytes or as many as it
/// asks for.
fn fill<E: Into<Unfilled>>(
    output: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), Failure> {
    let start = output.len();
    // The second time it gets what it has asked for.
    for _ in 0..2 {
        output.resize(start + room, 0);
        match write(&mut output[start..]).map_err(Into::into) {
            Ok(written) => {
                output.truncate(start + written);
                return Ok(());
            }
            Err(Unfilled::Needs(size)) => room = size,
            Err(Unfilled::Failed) => break,
        }
    }
    output.truncate(start);
    Err(Failure::new(Cause::Internal))
}

fn copy(record: &[u8], plain: &mut [u8], at: &mut usize) -> Result<(), Failure> {
    let room = plain.get_mut(*at..*at + record.len()).ok_or(Failure::new(Cause::Internal))?;
    room.copy_from_slice(record);
    *at += record.len();
    Ok(())
}

impl From<EncodeError> for Unfilled {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Needs(required_size)
            }
            EncodeError::AlreadyEncoded => Self::Failed,
        }
    }
}

impl From<EncryptError> for Unfilled {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Needs(required_size)
            }
            // RFC 5246 has no new keys for a connection that has used its own up.
            EncryptError::EncryptExhausted => Self::Failed,
        }
    }
}

#[cfg(test)]
#[path = "session/tests.rs"]
mod tests;
