use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bits of a ticket's number; the name of its allocation has the others of 64.
const NUMBER_BITS: u32 = 24;
/// The highest number. An allocation that has moved so often moves no more.
pub(super) const LAST_NUMBER: u32 = (1 << NUMBER_BITS) - 1;
/// Says what the key is used for.
const PURPOSE: &[u8] = b"MOBILITY-TICKET";

/// The value of MOBILITY-TICKET as it stands on the wire.
///
/// It is text, and this short, because coturn's client keeps tickets of at most 32 bytes, and as a
/// C string.
pub(super) type Ticket = [u8; 32];

/// What is sealed in a ticket: an allocation, and which of its tickets this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// Names a mobile allocation; no two of one process have the same name.
    pub(super) allocation: u64,
    pub(super) number: u32,
}

/// Where a mobile allocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) worker: u32,
    /// `None` while it is on its way there.
    pub(super) slot: Option<u32>,
}

/// Makes and opens tickets, and knows where their allocations are (RFC 8016).
///
/// Shared by all workers, and asked when an allocation begins, moves or ends, never for a packet.
///
/// A ticket is sealed with AES-256-GCM-SIV under the key of this process. Its nonce is fixed: no
/// two tickets hold the same, and that is all this cipher asks for (RFC 8452 §9). So a ticket is
/// opaque and cannot be altered, two of them have nothing in common, and the same one can be made
/// again for a retransmission. To whom it belongs stands in the allocation that it names.
pub(super) struct Tickets {
    cipher: Aes256GcmSiv,
    names: AtomicU64,
    holders: Mutex<HashMap<u64, Holder>>,
}

impl Tickets {
    /// `key` must be random.
    pub(super) fn new(key: [u8; 32]) -> Self {
        let cipher = Aes256GcmSiv::new(&key.into());
        Self { cipher, names: AtomicU64::new(0), holders: Mutex::default() }
    }

    /// A name that no other allocation has. There are a million million of them.
    pub(super) fn name(&self) -> u64 {
        self.names.fetch_add(1, Ordering::Relaxed) & (u64::MAX >> NUMBER_BITS)
    }

    /// The ticket of a grant.
    pub(super) fn seal(&self, grant: Grant) -> Ticket {
        let state = grant.allocation << NUMBER_BITS | u64::from(grant.number);
        let mut sealed = [0; 24];
        let (body, tag) = sealed.split_at_mut(8);
        body.copy_from_slice(&state.to_be_bytes());
        let made = self.cipher.encrypt_inout_detached(&Nonce::default(), PURPOSE, body.into());
        // unwrap: it fails for messages of gigabytes only.
        tag.copy_from_slice(&made.expect("a short message"));
        let mut ticket = [0; 32];
        // unwrap: 24 bytes are always 32 characters of base64.
        URL_SAFE_NO_PAD.encode_slice(sealed, &mut ticket).expect("32 characters");
        ticket
    }

    /// What a ticket grants. `None` when it was not made here, or was altered.
    pub(super) fn open(&self, ticket: &[u8]) -> Option<Grant> {
        let ticket = Ticket::try_from(ticket).ok()?;
        let mut sealed = [0; 24];
        let length = URL_SAFE_NO_PAD.decode_slice(ticket, &mut sealed).ok()?;
        if length != sealed.len() {
            return None;
        }
        let (body, tag) = sealed.split_first_chunk_mut::<8>()?;
        let tag = Tag::try_from(&*tag).ok()?;
        let nonce = Nonce::default();
        self.cipher
            .decrypt_inout_detached(&nonce, PURPOSE, body.as_mut_slice().into(), &tag)
            .ok()?;
        let state = u64::from_be_bytes(*body);
        let number = state as u32 & LAST_NUMBER;
        Some(Grant { allocation: state >> NUMBER_BITS, number })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Holder>> {
        // A map is whole at every moment.
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where an allocation is; `None` when it has ended.
    pub(super) fn holder(&self, allocation: u64) -> Option<Holder> {
        self.lock().get(&allocation).copied()
    }

    /// Notes where an allocation is now.
    pub(super) fn settle(&self, allocation: u64, holder: Holder) {
        self.lock().insert(allocation, holder);
    }

    /// Notes that an allocation has ended.
    pub(super) fn forget(&self, allocation: u64) {
        self.lock().remove(&allocation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const GRANT: Grant = Grant { allocation: 77, number: 3 };

    proptest! {
        #[test]
        fn what_is_sealed_comes_out_and_what_was_altered_does_not(
            allocation in 0_u64..1 << 40,
            number in 0..=LAST_NUMBER,
            place in 0_usize..32,
            other: u8,
        ) {
            let tickets = Tickets::new([3; 32]);
            let grant = Grant { allocation, number };
            let mut ticket = tickets.seal(grant);
            prop_assert_eq!(tickets.open(&ticket), Some(grant));
            prop_assert_eq!(tickets.seal(grant), ticket);
            let before = std::mem::replace(&mut ticket[place], other);
            prop_assert_eq!(tickets.open(&ticket).is_some(), before == other);
        }

        #[test]
        fn any_bytes_may_come(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(Tickets::new([3; 32]).open(&bytes), None);
        }
    }

    #[test]
    fn a_ticket_is_good_in_its_own_process_only() {
        let ticket = Tickets::new([3; 32]).seal(GRANT);
        assert_eq!(Tickets::new([4; 32]).open(&ticket), None);
        assert_eq!(Tickets::new([3; 32]).open(&ticket[..31]), None);
        assert_eq!(Tickets::new([3; 32]).open(b""), None);
    }

    #[test]
    fn tickets_are_text_without_anything_in_common() {
        let tickets = Tickets::new([3; 32]);
        let seal = |number| tickets.seal(Grant { number, ..GRANT });
        let all: Vec<Ticket> = (0..200).map(seal).collect();
        for place in 0..32 {
            let seen: HashSet<u8> = all.iter().map(|ticket| ticket[place]).collect();
            assert!(seen.len() > 20, "{seen:?}");
            assert!(seen.iter().all(u8::is_ascii_graphic));
        }
    }

    #[test]
    fn names_are_new() {
        let tickets = Tickets::new([3; 32]);
        let names: HashSet<u64> = (0..1000).map(|_| tickets.name()).collect();
        assert_eq!(names.len(), 1000);
    }
}
