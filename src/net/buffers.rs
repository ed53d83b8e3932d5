//! One arena of equal slots: a datagram is received into a slot, given a header in place, and sent from it.

use std::ops::Range;

/// Bytes in front of each received payload, free for a header that is written in place.
///
/// A ChannelData header takes 4 (RFC 8656 §12.4), a Data indication with an IPv6 peer 48.
pub const HEADROOM: usize = 64;

/// Bytes of one slot: [`HEADROOM`], then room for the largest UDP payload (65,527 bytes over IPv6) and padding.
///
/// One cache line more than 64 KiB, so that the heads of neighbouring slots fall into different cache sets.
pub const SLOT_SIZE: usize = HEADROOM + 65_536;

/// A fixed number of slots in one zeroed allocation, whose pages become resident only when touched.
#[derive(Debug)]
pub struct Buffers {
    arena: Vec<u8>,
    slots: usize,
}

impl Buffers {
    /// Makes `slots` slots. Costs address space, not memory: 65,600 bytes of it per slot.
    pub fn new(slots: usize) -> Self {
        // Zeroed and large, so it comes straight from the kernel and no page of it is touched here.
        let mut arena = vec![0; slots.saturating_mul(SLOT_SIZE)];
        refuse_huge_pages(&mut arena);
        Self { arena, slots }
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The whole of slot `i`, headroom included. Panics if there is no such slot.
    pub fn slot(&self, i: usize) -> &[u8] {
        &self.arena[i * SLOT_SIZE..][..SLOT_SIZE]
    }

    /// The whole of slot `i`, headroom included. Panics if there is no such slot.
    pub fn slot_mut(&mut self, i: usize) -> &mut [u8] {
        &mut self.arena[i * SLOT_SIZE..][..SLOT_SIZE]
    }

    /// Copies a part of one slot to a place in another, or in the same. Panics if either is not within its slot.
    pub fn copy(&mut self, (from, part): (usize, Range<usize>), (to, start): (usize, usize)) {
        assert!(
            part.end <= SLOT_SIZE && start + part.len() <= SLOT_SIZE && from.max(to) < self.slots
        );
        let part = from * SLOT_SIZE + part.start..from * SLOT_SIZE + part.end;
        self.arena.copy_within(part, to * SLOT_SIZE + start);
    }

    /// `len` bytes of slot `i` from `start` on, if they lie within the slot.
    pub(super) fn range(&self, i: usize, start: usize, len: usize) -> Option<&[u8]> {
        if i >= self.slots {
            return None;
        }
        self.slot(i).get(start..)?.get(..len)
    }

    /// The first byte of slot 0; slot `i` begins `i * SLOT_SIZE` bytes on.
    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.arena.as_mut_ptr()
    }
}

/// Keeps the kernel from backing a touched slot with a 2 MiB page, which would make 31 untouched ones resident too.
fn refuse_huge_pages(arena: &mut [u8]) {
    const PAGE: usize = 4096;
    let start = arena.as_mut_ptr();
    let skip = start.align_offset(PAGE);
    if let Some(inner) = arena.len().checked_sub(skip) {
        // A kernel without huge pages refuses; then there is nothing to keep it from.
        // SAFETY: the range lies within the arena, and this advice changes no byte of it.
        unsafe { libc::madvise(start.wrapping_add(skip).cast(), inner, libc::MADV_NOHUGEPAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of the arena that the kernel holds in memory.
    fn resident(buffers: &mut Buffers) -> usize {
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let start = buffers.as_mut_ptr();
        let aligned = start.wrapping_sub(start as usize % page);
        let length = start as usize % page + buffers.arena.len();
        let mut pages = vec![0_u8; length.div_ceil(page)];
        // SAFETY: the range is mapped (it holds the arena), and `pages` has a byte for each page of it.
        let asked = unsafe { libc::mincore(aligned.cast(), length, pages.as_mut_ptr()) };
        assert_eq!(asked, 0, "{}", std::io::Error::last_os_error());
        pages.iter().filter(|page| **page & 1 == 1).count()
    }

    #[test]
    fn untouched_slots_are_not_resident() {
        let mut buffers = Buffers::new(1024);
        assert!(resident(&mut buffers) <= 2);
        for i in (0..1024).step_by(16) {
            buffers.slot_mut(i)[HEADROOM..HEADROOM + 100].fill(7);
        }
        let touched = resident(&mut buffers);
        assert!((64..=64 * 2 + 2).contains(&touched), "{touched} pages for 64 small datagrams");
    }

    #[test]
    fn slots_are_apart_and_hold_the_largest_payload() {
        let mut buffers = Buffers::new(3);
        buffers.slot_mut(1).fill(0xff);
        assert!(buffers.slot(0).iter().chain(buffers.slot(2)).all(|byte| *byte == 0));
        assert!(buffers.slot(1).len() - HEADROOM >= 65_527);
    }

    #[test]
    fn parts_are_copied_between_slots() {
        let mut buffers = Buffers::new(2);
        buffers.slot_mut(0)[10..13].copy_from_slice(b"abc");
        buffers.copy((0, 10..13), (1, SLOT_SIZE - 3));
        assert_eq!(&buffers.slot(1)[SLOT_SIZE - 3..], b"abc");
        buffers.copy((0, 10..13), (0, 11));
        assert_eq!(&buffers.slot(0)[10..14], b"aabc");
    }

    #[test]
    #[should_panic(expected = "SLOT_SIZE")]
    fn a_copy_never_leaves_its_slot() {
        Buffers::new(2).copy((0, 10..13), (0, SLOT_SIZE - 2));
    }

    #[test]
    fn a_range_never_leaves_its_slot() {
        let buffers = Buffers::new(2);
        assert_eq!(buffers.range(1, HEADROOM, 65_536).map(<[u8]>::len), Some(65_536));
        assert!(buffers.range(0, HEADROOM + 1, 65_536).is_none());
        assert!(buffers.range(0, SLOT_SIZE + 1, 0).is_none());
        assert!(buffers.range(2, 0, 0).is_none());
        assert!(buffers.range(usize::MAX, usize::MAX, usize::MAX).is_none());
    }
}
