//! A PROXY header from a proxy that is not what it should be: it is a header or none, within its bounds, the pieces
//! make no difference, and who is in it is written again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turnwire::worker::proxy::{HEADER_MAX, Version, parse};

fuzz_target!(|bytes: &[u8]| {
    let outcome = parse(bytes);
    // Its first kilobyte decides what follows it, and more would only be slower.
    let pieces = bytes.len().min(1024);
    if let Some(early) = (0..pieces).map(|end| parse(&bytes[..end])).find(|it| *it != Ok(None)) {
        assert_eq!(early, outcome);
    }
    let Ok(Some(header)) = outcome else {
        return;
    };
    assert!(header.length <= bytes.len().min(HEADER_MAX));
    let Some(addresses) = header.addresses else {
        return;
    };
    for version in [Version::V1, Version::V2] {
        let mut out = Vec::new();
        version.append(&mut out, addresses);
        let again = parse(&out).expect("a header").expect("a whole one");
        assert_eq!((again.length, again.addresses), (out.len(), Some(addresses)));
    }
});
