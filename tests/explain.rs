//! Every refusal says why: to the operator, and to a client that has proved its address.

use std::fs;

use turnwire::config::known_keys;
use turnwire::control::causes_page;
use turnwire::turn::Cause;

#[test]
fn every_cause_says_what_it_is_and_what_to_do() {
    for (place, entry) in Cause::ENTRIES.iter().enumerate() {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(entry.label.chars().all(word), "{entry:?}");
        assert!((300..700).contains(&entry.code), "{entry:?}");
        assert!(!entry.phrase.is_empty() && !entry.phrase.ends_with('.'), "{entry:?}");
        assert!(entry.hint.len() > 20 && entry.hint.ends_with('.'), "{entry:?}");
        // RFC 8489 §14.8
        assert!(entry.phrase.chars().count() < 128, "{entry:?}");
        // They stand in a table.
        assert!(!entry.phrase.contains('|') && !entry.hint.contains('|'), "{entry:?}");
        let same = Cause::ENTRIES.iter().position(|other| other.label == entry.label);
        assert_eq!(same, Some(place), "two causes of one name");
    }
}

#[test]
fn the_keys_that_the_hints_name_are_keys() {
    let keys: Vec<_> = known_keys().collect();
    let mut named = 0;
    for entry in Cause::ENTRIES {
        let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
        for word in entry.hint.split(|c| !part(c)).map(|word| word.trim_end_matches('.')) {
            if word.contains('.') && word.starts_with(|c: char| c.is_ascii_lowercase()) {
                let is_section = || keys.iter().any(|key| key.starts_with(&format!("{word}.")));
                assert!(keys.contains(&word) || is_section(), "{word} in {entry:?}");
                named += 1;
            }
        }
    }
    assert!(named > 10, "{named}");
}

#[test]
fn the_page_of_all_causes_is_in_the_documentation() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/troubleshooting.md");
    let hint = "write it anew: turnwire explain --causes > docs/troubleshooting.md";
    assert_eq!(fs::read_to_string(kept).unwrap_or_default(), causes_page(), "{hint}");
}
