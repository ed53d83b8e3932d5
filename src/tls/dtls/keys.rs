//! The keys of an association and what is done with one record under them. Which number a record has, and whether it
//! may come, is `session`'s to know.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::tls_prf::{self, P_SHA256, P_SHA384, Secret};

use super::record::{DTLS_1_2, HEADER, Header};

/// The longest plaintext of a record (RFC 5246 §6.2.1).
pub(super) const PLAIN_MAX: usize = 1 << 14;
/// Bytes of the tag behind each record, in every suite.
pub(super) const TAG: usize = 16;
/// Bytes of the part of an AES-GCM nonce that each record carries (RFC 5288 §3).
const EXPLICIT: usize = 8;

/// What a cipher suite makes of a master secret.
#[derive(Clone, Copy)]
pub(super) struct Suite {
    aead: &'static Algorithm,
    prf: &'static tls_prf::Algorithm,
    /// Bytes of the nonce that the keys fix.
    fixed: usize,
}

/// One direction's key.
pub(super) struct Key {
    aead: LessSafeKey,
    /// The fixed part of the nonce, at its front.
    iv: [u8; 12],
    /// Whether records carry the rest of the nonce.
    explicit: bool,
}

/// What both sides know when the handshake is over.
pub(super) struct Secrets<'a> {
    pub(super) suite: [u8; 2],
    pub(super) master: &'a [u8],
    pub(super) client_random: &'a [u8; 32],
    pub(super) server_random: &'a [u8; 32],
}

impl Suite {
    const fn new(aead: &'static Algorithm, prf: &'static tls_prf::Algorithm, fixed: usize) -> Self {
        Self { aead, prf, fixed }
    }

    /// The suites that are offered: forward secrecy and AEAD, as with TLS.
    fn of(id: [u8; 2]) -> Option<Self> {
        Some(match id {
            // RFC 5288, RFC 5289
            [0xC0, 0x2B | 0x2F] | [0x00, 0x9E] => Self::new(&AES_128_GCM, &P_SHA256, 4),
            [0xC0, 0x2C | 0x30] => Self::new(&AES_256_GCM, &P_SHA384, 4),
            // RFC 7905
            [0xCC, 0xA8 | 0xA9] => Self::new(&CHACHA20_POLY1305, &P_SHA256, 12),
            _ => return None,
        })
    }
}

impl Secrets<'_> {
    /// The client's and the server's keys (RFC 5246 §6.3).
    pub(super) fn keys(&self) -> Option<[Key; 2]> {
        let suite = Suite::of(self.suite)?;
        let (size, fixed) = (suite.aead.key_len(), suite.fixed);
        let block = Secret::new(suite.prf, self.master)
            .and_then(|master| {
                let length = 2 * (size + fixed);
                let (first, second) = (self.server_random, self.client_random);
                master.derive_with_seed_concatination(b"key expansion", first, second, length)
            })
            .ok()?;
        let (keys, ivs) = block.as_ref().split_at(2 * size);
        let key = |keys: &[u8], ivs: &[u8]| {
            let aead = LessSafeKey::new(UnboundKey::new(suite.aead, keys).ok()?);
            let mut iv = [0; 12];
            iv[..fixed].copy_from_slice(ivs);
            Some(Key { aead, iv, explicit: fixed == 4 })
        };
        let client = key(&keys[..size], &ivs[..fixed])?;
        let server = key(&keys[size..], &ivs[fixed..])?;
        Some([client, server])
    }
}

impl Key {
    /// Bytes in front of a record's ciphertext: the header, and the nonce's explicit part.
    pub(super) const fn prefix(&self) -> usize {
        HEADER + if self.explicit { EXPLICIT } else { 0 }
    }

    /// Decrypts a record in its place; the plaintext stands [`Self::prefix`] bytes behind its
    /// front. Returns the plaintext's length.
    pub(super) fn open(&self, header: Header, record: &mut [u8]) -> Result<usize, Unspecified> {
        let prefix = self.prefix();
        let length = header.length.checked_sub(prefix - HEADER + TAG).ok_or(Unspecified)?;
        let (front, body) = record.split_at_mut_checked(prefix).ok_or(Unspecified)?;
        let nonce = match front[HEADER..].try_into() {
            Ok(explicit) if self.explicit => explicit,
            _ => number(header),
        };
        let aad = additional_data(Header { length, ..header });
        self.aead.open_in_place(self.nonce(nonce), aad, body)?;
        Ok(length)
    }

    /// Encrypts what stands in `record` between [`Self::prefix`] and the room for the tag, and
    /// writes the header. The number must never have been used with this key.
    pub(super) fn seal(
        &self,
        kind: u8,
        sequence: u64,
        record: &mut [u8],
    ) -> Result<(), Unspecified> {
        let prefix = self.prefix();
        let length = record.len().checked_sub(prefix + TAG).ok_or(Unspecified)?;
        let header = Header { kind, epoch: 1, sequence, length: record.len() - HEADER };
        let (front, body) = record.split_at_mut(prefix);
        let (plain, tag) = body.split_at_mut(length);
        let nonce = self.nonce(number(header));
        let aad = additional_data(Header { length, ..header });
        let made = self.aead.seal_in_place_separate_tag(nonce, aad, plain)?;
        tag.copy_from_slice(made.as_ref());
        front[..HEADER].copy_from_slice(&header.bytes(DTLS_1_2));
        if self.explicit {
            front[HEADER..].copy_from_slice(&number(header));
        }
        Ok(())
    }

    /// The nonce of a record with this number, its own or its explicit one.
    fn nonce(&self, number: [u8; 8]) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(number) {
            // RFC 5288 §3 appends the number to the fixed part, RFC 7905 §2 adds it to that.
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Epoch and sequence number: `seq_num` of RFC 5246 in the words of RFC 6347 §4.1.2.1.
fn number(header: Header) -> [u8; 8] {
    (u64::from(header.epoch) << 48 | header.sequence).to_be_bytes()
}

/// RFC 5246 §6.2.3.3; the header's length is the plaintext's.
fn additional_data(header: Header) -> Aad<[u8; HEADER]> {
    let [e0, e1, s0, s1, s2, s3, s4, s5] = number(header);
    let [l0, l1] = (header.length as u16).to_be_bytes();
    let [v0, v1] = DTLS_1_2;
    Aad::from([e0, e1, s0, s1, s2, s3, s4, s5, header.kind, v0, v1, l0, l1])
}

#[cfg(test)]
mod tests {
    use super::super::record::APPLICATION_DATA;
    use super::*;

    fn keys(suite: [u8; 2]) -> Option<[Key; 2]> {
        let secrets =
            Secrets { suite, master: &[1; 48], client_random: &[2; 32], server_random: &[3; 32] };
        secrets.keys()
    }

    fn sealed(key: &Key, sequence: u64, plain: &[u8]) -> Vec<u8> {
        let mut record = vec![0; key.prefix()];
        record.extend(plain);
        record.extend([0; TAG]);
        key.seal(APPLICATION_DATA, sequence, &mut record).unwrap();
        record
    }

    #[test]
    fn a_record_opens_with_its_key_and_as_it_was() {
        let suites = [0xC02B_u16, 0xC02F, 0xC02C, 0xC030, 0xCCA8, 0xCCA9, 0x009E];
        for suite in suites {
            let [client, server] = keys(suite.to_be_bytes()).unwrap();
            let record = sealed(&client, 5, b"what a client says");
            let (header, place) = super::super::record::Records::new().next(&record).unwrap();
            assert_eq!((place, header.epoch, header.sequence), (0..record.len(), 1, 5));
            let mut copy = record.clone();
            assert_eq!(client.open(header, &mut copy), Ok(18));
            assert_eq!(&copy[client.prefix()..][..18], b"what a client says");
            assert!(server.open(header, &mut record.clone()).is_err());
            for changed in [
                Header { sequence: 6, ..header },
                Header { kind: 21, ..header },
                Header { epoch: 2, ..header },
                Header { length: 0, ..header },
            ] {
                // AES-GCM takes the nonce from the record; the number is under the tag all the same.
                assert!(client.open(changed, &mut record.clone()).is_err(), "{changed:?}");
            }
            for place in HEADER..record.len() {
                let mut damaged = record.clone();
                damaged[place] ^= 0x10;
                assert!(client.open(header, &mut damaged).is_err(), "{suite:x} {place}");
            }
        }
        assert!(keys([0xC0, 0x13]).is_none());
    }

    #[test]
    fn the_same_words_never_look_the_same() {
        let [_, server] = keys([0xC0, 0x2B]).unwrap();
        let [one, two] = [1, 2].map(|number| sealed(&server, number, &[0; 100]));
        assert_ne!(one[server.prefix()..], two[server.prefix()..]);
    }
}
