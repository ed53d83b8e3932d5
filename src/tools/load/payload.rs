//! What each payload carries, so that everything that can happen to it on its way is found out.

/// The least bytes of a payload: all of the stamp.
pub(super) const MIN: usize = 32;

/// Where a payload comes from, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The client's number.
    pub(super) client: u32,
    /// The packet's number in its flow, from 1 on.
    pub(super) number: u64,
    /// When it was meant to be sent, in nanoseconds since the start.
    pub(super) nanos: u64,
}

/// What is wrong with a payload that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not what was sent: the checksum or the length does not match.
    Corrupted,
    /// It is whole, and of an earlier run: its allocation had the same port.
    Stray,
}

/// Writes and reads the payloads of one run.
///
/// ```text
///  0      4      8        12       16       24      32
///  | crc  | run  | client | length | number | nanos | filler ...
/// ```
/// The checksum (CRC-32) is over everything behind it. Native byte order: they come back to this process.
pub(super) struct Payloads {
    run: u32,
    /// Longer than any payload, so that each can begin at another place of it.
    filler: Vec<u8>,
}

impl Payloads {
    /// `run` tells this run from others, `size` is the length of each payload.
    pub(super) fn new(run: u32, size: u16) -> Self {
        let mut state = run | 1;
        let filler = (0..usize::from(size) + 64).map(|_| {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            (state >> 24) as u8
        });
        Self { run, filler: filler.collect() }
    }

    /// Fills `out` (at least [`MIN`] bytes) with the payload of a packet.
    pub(super) fn write(&self, stamp: &Stamp, out: &mut [u8]) {
        let length = out.len();
        let (head, body) = out.split_at_mut(MIN);
        let shift = (stamp.number % 64) as usize;
        body.copy_from_slice(&self.filler[shift..][..length - MIN]);
        head[4..8].copy_from_slice(&self.run.to_ne_bytes());
        head[8..12].copy_from_slice(&stamp.client.to_ne_bytes());
        head[12..16].copy_from_slice(&(length as u32).to_ne_bytes());
        head[16..24].copy_from_slice(&stamp.number.to_ne_bytes());
        head[24..32].copy_from_slice(&stamp.nanos.to_ne_bytes());
        let crc = crc32fast::hash(&out[4..]);
        out[..4].copy_from_slice(&crc.to_ne_bytes());
    }

    /// Checks all of a payload and says what it is.
    pub(super) fn read(&self, payload: &[u8]) -> Result<Stamp, Wrong> {
        let word = |at| u32_at(payload, at).ok_or(Wrong::Corrupted);
        let whole = payload.len() >= MIN
            && word(0)? == crc32fast::hash(&payload[4..])
            && word(12)? as usize == payload.len();
        if !whole {
            return Err(Wrong::Corrupted);
        }
        if word(4)? != self.run {
            return Err(Wrong::Stray);
        }
        let long = |at| u64_at(payload, at).ok_or(Wrong::Corrupted);
        Ok(Stamp { client: word(8)?, number: long(16)?, nanos: long(24)? })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { client: 7, number: 1 << 40, nanos: u64::MAX };

    #[test]
    fn a_whole_payload_tells_its_stamp() {
        for size in [32, 33, 1200, 65_400] {
            let payloads = Payloads::new(5, size);
            let mut payload = vec![0; size.into()];
            payloads.write(&STAMP, &mut payload);
            assert_eq!(payloads.read(&payload), Ok(STAMP));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_found() {
        let payloads = Payloads::new(5, 100);
        let mut payload = vec![0; 100];
        payloads.write(&STAMP, &mut payload);
        for bit in 0..800 {
            payload[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(payloads.read(&payload), Err(Wrong::Corrupted), "bit {bit}");
            payload[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..100 {
            assert_eq!(payloads.read(&payload[..length]), Err(Wrong::Corrupted));
        }
        payload.push(0);
        assert_eq!(payloads.read(&payload), Err(Wrong::Corrupted));
    }

    #[test]
    fn a_payload_of_another_run_is_not_taken_for_one_of_this() {
        let mut payload = vec![0; 64];
        Payloads::new(4, 64).write(&STAMP, &mut payload);
        assert_eq!(Payloads::new(5, 64).read(&payload), Err(Wrong::Stray));
    }
}
