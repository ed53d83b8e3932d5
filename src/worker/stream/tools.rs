//! Buffers that connections share, so that an idle one has none.

/// Buffers kept for the next connection that needs one.
const SPARES: usize = 32;
/// Size of such a buffer: room for the longest message, or for four records of TLS. One that grew is given back to
/// the system.
pub(in crate::worker) const SPARE_SIZE: usize = 66 << 10;
/// Bytes of TLS that are looked at together.
const CIPHER: usize = 64 << 10;

/// What the connections of one worker work with, one at a time.
#[derive(Default)]
pub(in crate::worker) struct Tools {
    pub(in crate::worker) spares: Spares,
    /// Empty until somebody speaks TLS.
    cipher: Vec<u8>,
}

impl Tools {
    /// Room for ciphertext that has just been read.
    pub(super) fn cipher(&mut self) -> &mut [u8] {
        self.cipher.resize(CIPHER, 0);
        &mut self.cipher
    }
}

/// Empty buffers that go round between connections, of which most need none at a time.
#[derive(Default)]
pub(in crate::worker) struct Spares(Vec<Vec<u8>>);

impl Spares {
    pub(in crate::worker) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(SPARE_SIZE))
    }

    /// Keeps a buffer for the next connection.
    pub(in crate::worker) fn give_back(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < SPARES && buffer.capacity() == SPARE_SIZE {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
