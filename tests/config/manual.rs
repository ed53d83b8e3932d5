//! The page of every key is the reference file's.

use std::collections::BTreeSet;

use turnwire::config::{REFERENCE, known_keys, reference_page};

#[test]
fn the_page_of_all_keys_is_in_the_documentation() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let hint = "write it anew: turnwire check-config --reference=markdown > docs/configuration.md";
    assert!(std::fs::read_to_string(kept).unwrap_or_default() == reference_page(), "{hint}");
}

#[test]
fn the_page_has_a_heading_for_every_key() {
    let page = reference_page();
    let headings: String = page.lines().filter(|line| line.starts_with("### ")).collect();
    let tables = ["auth.users", "auth.tokens.keys", "redirect.servers", "stores.ask"];
    let missing: BTreeSet<&str> = known_keys()
        .filter(|key| !headings.contains(&format!("`{key}`")))
        .filter(|key| !headings.contains(&format!("entries of `[{key}]`")))
        .collect();
    assert_eq!(missing, BTreeSet::new());
    for table in tables {
        assert!(headings.contains(&format!("entries of `[{table}]`")), "{table}");
    }
}

#[test]
fn the_page_leaves_out_nothing_that_the_file_says() {
    let page = reference_page();
    for line in REFERENCE.lines().skip(1) {
        let said = line.trim_start_matches(['#', ' ']);
        assert!(page.contains(said), "{line}");
    }
}
