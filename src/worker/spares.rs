/// Buffers kept for the next connection that needs one.
const SPARES: usize = 32;
/// Size of such a buffer: room for the longest message. One that grew is given back to the system.
pub(super) const SPARE_SIZE: usize = 66 << 10;

/// Empty buffers that go round between connections, of which most need none at a time.
#[derive(Default)]
pub(super) struct Spares(Vec<Vec<u8>>);

impl Spares {
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(SPARE_SIZE))
    }

    /// Keeps a buffer for the next connection.
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < SPARES && buffer.capacity() == SPARE_SIZE {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
