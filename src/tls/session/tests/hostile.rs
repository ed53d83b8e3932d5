//! Clients that mean harm, or are broken: whatever they send, the session ends in order.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use proptest::prelude::*;
use rustls::ConnectionTrafficSecrets;

use super::*;

/// A client that writes records of its own making on the keys of a real handshake.
struct Forger {
    cipher: Aes256Gcm,
    iv: [u8; 12],
    sequence: u64,
}

const HANDSHAKE: u8 = 22;
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

impl Forger {
    /// Takes the client's place in a TLS 1.3 session.
    fn replace(ends: &Ends) -> (Session, Self) {
        let Wire { client, session, .. } = connected(ends, "a.test");
        let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
            panic!("another cipher suite was agreed on");
        };
        let cipher = Aes256Gcm::new_from_slice(key.as_ref()).unwrap();
        (session, Self { cipher, iv: iv.as_ref().try_into().unwrap(), sequence })
    }

    /// RFC 8446 §5.2 and §5.3.
    fn record(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let inner = [content, &[kind]].concat();
        let mut header = [23, 3, 3, 0, 0];
        header[3..].copy_from_slice(&u16::try_from(inner.len() + 16).unwrap().to_be_bytes());
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        self.sequence += 1;
        let payload = Payload { msg: &inner, aad: &header };
        let nonce = Nonce::try_from(&nonce[..]).unwrap();
        [&header[..], &self.cipher.encrypt(&nonce, payload).unwrap()].concat()
    }
}

/// Feeds a session, and has it send something as if nothing were wrong.
fn feed_and_send(session: &mut Session, bytes: &[u8]) -> Result<usize, Failure> {
    let (mut input, mut plain) = (bytes.to_vec(), vec![0; bytes.len()]);
    let received = session.receive(&mut input, &mut plain, &mut Vec::new())?;
    session.send(b"answer", &mut Vec::new())?;
    Ok(received.plain)
}

fn tls13() -> Ends {
    ends(&version::TLS13, |client| client.enable_secret_extraction = true)
}

#[test]
fn the_forger_writes_records_that_are_understood() {
    let (mut session, mut forger) = Forger::replace(&tls13());
    assert_eq!(feed_and_send(&mut session, &forger.record(23, b"hello")).unwrap(), 5);
    assert_eq!(feed_and_send(&mut session, &forger.record(HANDSHAKE, &KEY_UPDATE)).unwrap(), 0);
}

#[test]
fn a_piece_of_a_handshake_message_after_the_handshake_ends_the_session() {
    let ends = tls13();
    for length in 1..KEY_UPDATE.len() {
        let (mut session, mut forger) = Forger::replace(&ends);
        // Beside data, so that something of the input is consumed before it.
        let bytes = [forger.record(23, b"hi"), forger.record(HANDSHAKE, &KEY_UPDATE[..length])];
        let failure = feed_and_send(&mut session, &bytes.concat()).unwrap_err();
        assert_eq!(failure.cause, Cause::Malformed);
        // Two whole ones and a piece in one record: RFC 8446 §5.1 forbids it at once.
        let (mut session, mut forger) = Forger::replace(&ends);
        let content = [&KEY_UPDATE, &KEY_UPDATE, &KEY_UPDATE[..length]].concat();
        let failure = feed_and_send(&mut session, &forger.record(HANDSHAKE, &content)).unwrap_err();
        assert_eq!(failure.cause, Cause::Malformed);
    }
}

#[test]
fn records_of_a_kind_that_does_not_belong_there_end_the_session() {
    let ends = tls13();
    for kind in [0, 20, 22, 24, 255] {
        let (mut session, mut forger) = Forger::replace(&ends);
        let failure = feed_and_send(&mut session, &forger.record(kind, &[1, 0, 0, 0])).unwrap_err();
        assert_eq!(failure.cause, Cause::Malformed, "{kind}");
    }
    // Endless news of nothing.
    let (mut session, mut forger) = Forger::replace(&ends);
    let ended = (0..200).any(|_| feed_and_send(&mut session, &forger.record(23, b"")).is_err());
    assert!(ended);
}

/// What is done to the bytes of a client.
#[derive(Clone, Debug)]
enum Harm {
    Flip(usize, u8),
    Cut(usize),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize),
}

impl Harm {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len().max(1);
        match self {
            Self::Flip(at, with) => {
                if let Some(byte) = bytes.get_mut(at % length) {
                    *byte ^= with;
                }
            }
            Self::Cut(at) => bytes.truncate(at % length),
            Self::Insert(at, what) => {
                let at = at % length.min(bytes.len() + 1);
                bytes.splice(at..at, what.iter().copied());
            }
            Self::Repeat(at, count) => {
                let from = at % length;
                let again = bytes[from.min(bytes.len())..].iter().take(*count).copied();
                let again: Vec<_> = again.collect();
                bytes.extend(again);
            }
        }
    }
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        4 => (0..600usize, 1..=255u8).prop_map(|(at, with)| Harm::Flip(at, with)),
        1 => (0..600usize).prop_map(Harm::Cut),
        1 => (0..600usize, prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, what)| Harm::Insert(at, what)),
        1 => (0..600usize, 1..400usize).prop_map(|(at, count)| Harm::Repeat(at, count)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// In whichever flight, in whatever pieces: it fails or goes on, and says so; it neither
    /// panics nor takes more than it was given.
    #[test]
    fn a_handshake_with_harm_done_to_it_ends_in_order(
        old in any::<bool>(),
        flight in 0..3usize,
        harms in prop::collection::vec(harm(), 1..3),
        step in 1..700usize,
    ) {
        thread_local! {
            static ENDS: [Ends; 2] = BOTH.map(|(version, _)| ends(version, |_| ()));
        }
        ENDS.with(|ends| {
            let mut wire = Wire::new(&ends[usize::from(old)], "a.test");
            for round in 0..4 {
                let mut sent = Vec::new();
                while wire.client.wants_write() {
                    wire.client.write_tls(&mut sent).unwrap();
                }
                if round == flight {
                    harms.iter().for_each(|harm| harm.apply(&mut sent));
                }
                let mut output = Vec::new();
                for piece in sent.chunks(step) {
                    let fed = wire.feed(piece, &mut output);
                    let _ = wire.session.send(b"answer", &mut output);
                    if fed.is_err() {
                        wire.session.close(&mut output);
                        return;
                    }
                }
                let mut output = &output[..];
                while !output.is_empty() && wire.client.read_tls(&mut output).is_ok() {
                    let _ = wire.client.process_new_packets();
                }
                let _ = wire.client.writer().write_all(b"some data");
            }
        });
    }

    #[test]
    fn noise_ends_in_order(bytes in prop::collection::vec(any::<u8>(), 0..300), open in any::<bool>()) {
        thread_local! {
            static ENDS: Ends = tls13();
        }
        ENDS.with(|ends| {
            let mut session = match open {
                true => connected(ends, "a.test").session,
                false => Session::new(&ends.server).unwrap(),
            };
            // Bytes that begin like a record come further.
            let framed = [&[22, 3, 1, 0, bytes.len() as u8][..], &bytes].concat();
            for bytes in [&bytes, &framed] {
                let _ = feed_and_send(&mut session, bytes);
            }
        });
    }
}
