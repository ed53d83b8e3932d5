//! An association after its handshake: what came under which number, and what is sent under the next.

use std::ops::Range;

use super::hello::MESSAGE_HEADER;
use super::keys::{Key, PLAIN_MAX, Secrets, TAG};
use super::record::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, DTLS_1_2, HANDSHAKE, HEADER, Header, Records,
    Window,
};

/// Bytes of a Finished message (RFC 5246 §7.4.9).
const FINISHED: usize = MESSAGE_HEADER + 12;
const FINISHED_TYPE: u8 = 20;
/// Bytes of a ChangeCipherSpec record.
const CHANGE: usize = HEADER + 1;

/// The longest header with the explicit part of a nonce.
const PREFIX_MAX: usize = HEADER + 8;
/// Room for the server's last flight: ChangeCipherSpec and Finished.
pub const LAST_FLIGHT_MAX: usize = CHANGE + PREFIX_MAX + FINISHED + TAG;
/// Room for an alert.
pub const ALERT_MAX: usize = PREFIX_MAX + 2 + TAG;

/// 2^48: the first number that a record cannot have.
const NUMBERS: u64 = 1 << 48;

/// An association whose handshake is complete: its keys, and what the records so far were.
///
/// It holds no buffer and no part of OpenSSL, so that one that is idle costs little more than its
/// keys. Both directions work in place.
pub struct Session {
    client: Key,
    server: Key,
    window: Window,
    /// The number of the next record.
    sequence: u64,
    /// The same in the clear, for repetitions of ChangeCipherSpec.
    plain_sequence: u64,
    /// The server's Finished, for a client that has not got it.
    finished: [u8; FINISHED],
    /// The client's random, by which late repetitions of its hello are known.
    random: [u8; 32],
}

/// What a record was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Application data, at this place in the record.
    Data(Range<usize>),
    /// The client repeats its last flight: it has not got [`Session::last_flight`].
    Repeated,
    /// The client wants to negotiate anew, which [`Alert::NO_RENEGOTIATION`] denies.
    Renegotiation,
    /// The client has closed the association.
    Closed(Alert),
    /// Nothing to do.
    Nothing,
}

/// Why a record is discarded without an answer (RFC 6347 §4.1.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// Not under this session's keys, or altered on the way.
    Forged,
    /// It came before, or is too old to tell.
    Replayed,
}

/// An alert: level and description (RFC 5246 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert(pub [u8; 2]);

impl Alert {
    /// The end, in order.
    pub const CLOSE_NOTIFY: Self = Self([1, 0]);
    /// Keys are never changed.
    pub const NO_RENEGOTIATION: Self = Self([1, 100]);

    /// Whether it ends the association.
    const fn ends(self) -> bool {
        let [level, description] = self.0;
        level != 1 || description == 0
    }
}

/// How a handshake ended on the server's side.
pub(super) struct Outcome<'a> {
    pub(super) secrets: Secrets<'a>,
    /// The server's last flight, as it is sent.
    pub(super) flight: &'a [u8],
}

impl Session {
    /// Takes over from a handshake. `None` when its suite is not known here, or the flight is not
    /// what it has to be: both would be our own fault.
    pub(super) fn new(outcome: &Outcome<'_>) -> Option<Self> {
        let [client, server] = outcome.secrets.keys()?;
        let mut session = Self {
            client,
            server,
            window: Window::default(),
            sequence: 0,
            plain_sequence: 0,
            finished: [0; FINISHED],
            random: *outcome.secrets.client_random,
        };
        session.read_last_flight(&mut outcome.flight.to_vec()).then_some(session)
    }

    /// Learns from the last flight what it takes to repeat and to follow it.
    fn read_last_flight(&mut self, flight: &mut [u8]) -> bool {
        let mut records = Records::new();
        let mut complete = false;
        while let Some((header, place)) = records.next(flight) {
            match (header.kind, header.epoch) {
                (_, 0) => self.plain_sequence = self.plain_sequence.max(header.sequence + 1),
                (HANDSHAKE, 1) => {
                    self.sequence = header.sequence + 1;
                    let record = &mut flight[place];
                    let at = self.server.prefix();
                    if self.server.open(header, record) == Ok(FINISHED) {
                        self.finished.copy_from_slice(&record[at..at + FINISHED]);
                        complete = self.finished[0] == FINISHED_TYPE;
                    }
                }
                _ => return false,
            }
        }
        complete
    }

    /// Whether this is the random of the hello that the association began with.
    pub fn began_with(&self, random: &[u8; 32]) -> bool {
        self.random == *random
    }

    /// Decrypts a record that is not in the clear, in its place.
    ///
    /// # Errors
    /// When it is to be discarded; its bytes are then of no use any more.
    pub fn open(&mut self, header: Header, record: &mut [u8]) -> Result<Content, Discarded> {
        if header.epoch != 1 {
            return Err(Discarded::Forged);
        }
        if !self.window.admits(header.sequence) {
            return Err(Discarded::Replayed);
        }
        let length = self.client.open(header, record).map_err(|_| Discarded::Forged)?;
        self.window.note(header.sequence);
        let place = self.client.prefix()..self.client.prefix() + length;
        let plain = &record[place.clone()];
        Ok(match (header.kind, plain) {
            (APPLICATION_DATA, _) => Content::Data(place),
            (HANDSHAKE, [FINISHED_TYPE, ..]) => Content::Repeated,
            (HANDSHAKE, _) => Content::Renegotiation,
            (ALERT, &[level, description]) if Alert([level, description]).ends() => {
                Content::Closed(Alert([level, description]))
            }
            _ => Content::Nothing,
        })
    }

    /// Bytes in front of the plaintext in a record.
    pub const fn prefix(&self) -> usize {
        self.server.prefix()
    }

    /// Bytes of a record with so much plaintext; `None` when it is too long for one.
    pub const fn record_len(&self, plain: usize) -> Option<usize> {
        if plain > PLAIN_MAX { None } else { Some(self.prefix() + plain + TAG) }
    }

    /// Encrypts application data in its place. `record` is as long as [`Self::record_len`] says,
    /// with the plaintext at [`Self::prefix`]. False when the association is worn out: 2^48
    /// records have been sent.
    pub fn seal(&mut self, record: &mut [u8]) -> bool {
        self.seal_kind(APPLICATION_DATA, record)
    }

    /// Writes an alert to the front of `out`, and returns its length.
    pub fn alert(&mut self, alert: Alert, out: &mut [u8; ALERT_MAX]) -> usize {
        self.write(ALERT, &alert.0, out)
    }

    /// Writes the server's last flight once more (RFC 6347 §4.2.4), and returns its length.
    pub fn last_flight(&mut self, out: &mut [u8; LAST_FLIGHT_MAX]) -> usize {
        let sequence = self.plain_sequence;
        self.plain_sequence += 1;
        let change = Header { kind: CHANGE_CIPHER_SPEC, epoch: 0, sequence, length: 1 };
        out[..HEADER].copy_from_slice(&change.bytes(DTLS_1_2));
        out[HEADER] = 1;
        CHANGE + self.write(HANDSHAKE, &self.finished.clone(), &mut out[CHANGE..])
    }

    fn write(&mut self, kind: u8, plain: &[u8], out: &mut [u8]) -> usize {
        let prefix = self.prefix();
        let length = prefix + plain.len() + TAG;
        out[prefix..prefix + plain.len()].copy_from_slice(plain);
        if self.seal_kind(kind, &mut out[..length]) { length } else { 0 }
    }

    fn seal_kind(&mut self, kind: u8, record: &mut [u8]) -> bool {
        let sequence = self.sequence;
        if sequence >= NUMBERS {
            return false;
        }
        // Even one that fails has used up its number.
        self.sequence += 1;
        self.server.seal(kind, sequence, record).is_ok()
    }
}
