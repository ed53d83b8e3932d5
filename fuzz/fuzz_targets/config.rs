//! A configuration file from anybody: a configuration or problems, each with its place, and never
//! a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(problems) = turnwire::config::parse(text, "fuzz") {
        assert!(!problems.as_slice().is_empty());
        assert!(!problems.to_string().is_empty());
    }
});
