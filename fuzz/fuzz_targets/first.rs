//! The first bytes of a connection: told apart soon, and the same in pieces of any size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turnwire::stun::{Framer, Hopeless};
use turnwire::worker::first::{Speaks, speaks};

fuzz_target!(|bytes: &[u8]| {
    let outcome = speaks(bytes);
    assert!(outcome != Ok(None) || bytes.len() < 20, "waits for ever");
    let early = (0..bytes.len()).map(|end| speaks(&bytes[..end])).find(|it| *it != Ok(None));
    assert!(early.is_none_or(|early| early == outcome));
    // The next layer takes what it is given.
    if outcome == Ok(Some(Speaks::Turn)) {
        let next = Framer { limit: 4096 }.next(bytes);
        assert!(!matches!(next, Err(Hopeless::Tls | Hopeless::FirstByte(_))));
    }
});
