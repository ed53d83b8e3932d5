//! A certificate for the servers of one run.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The files of the chain and of its key, ECDSA on P-256.
pub(crate) fn files() -> &'static [PathBuf; 2] {
    static FILES: OnceLock<[PathBuf; 2]> = OnceLock::new();
    FILES.get_or_init(|| {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let [chain, key] =
            ["compare-chain.pem", "compare-key.pem"].map(|name| directory.join(name));
        fs::write(&chain, made.cert.pem()).expect("a file");
        fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
        [chain, key]
    })
}
