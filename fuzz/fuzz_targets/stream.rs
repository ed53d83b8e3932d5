//! A byte stream from anybody, in pieces of any size: there is progress or an end, within the
//! limit, and the pieces make no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turnwire::stun::{Frame, Framer, Hopeless};

/// The messages of a stream that comes in pieces, and how it ends.
fn messages(framer: Framer, stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, Option<Hopeless>) {
    let (mut found, mut buffer) = (Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match framer.next(&buffer) {
                Ok(Frame::Message { length, consumed }) => {
                    assert!(length >= 4 && length <= consumed && consumed <= framer.limit);
                    assert_eq!(consumed, length.next_multiple_of(4));
                    found.push(buffer[..length].to_vec());
                    buffer.drain(..consumed);
                }
                Ok(Frame::Partial { need }) => {
                    assert!(need > buffer.len() && need <= framer.limit.max(4));
                    break;
                }
                Err(why) => return (found, Some(why)),
            }
        }
    }
    (found, None)
}

fuzz_target!(|input: (u16, u8, &[u8])| {
    let (limit, piece, stream) = input;
    let framer = Framer { limit: usize::from(limit) };
    let (whole, end) = messages(framer, stream, stream.len().max(1));
    let (pieces, early) = messages(framer, stream, usize::from(piece).max(1));
    assert_eq!(whole, pieces);
    assert_eq!(end.is_some(), early.is_some());
});
