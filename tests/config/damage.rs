//! Whatever stands in the file: no panic, places that exist, and no secret shown.

use proptest::prelude::*;
use turnwire::config::{Origin, parse};

use super::REFERENCE;
use super::everything::EVERYTHING;

/// A text with up to `most` pieces of it replaced.
fn damaged(text: &'static str, most: usize) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[\\[\\]{}=\"'#.,\n\r\t 0-9a-z:/-]{0,3}",
        "\\PC{0,4}",
        Just(String::new()),
        Just("\"\"\"".to_owned()),
        Just("[auth]\n".to_owned()),
    ];
    let damage = (any::<prop::sample::Index>(), 0_usize..8, piece);
    prop::collection::vec(damage, 1..=most).prop_map(move |damages| {
        let mut text = text.to_owned();
        for (place, length, piece) in damages {
            let start = text.floor_char_boundary(place.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, &piece);
        }
        text
    })
}

/// Every word of the form `Pw0123` is a secret.
const SECRETIVE: &str = r#"
[listen]
addresses = ["0.0.0.0:3478"]
workers = 2
[auth]
realm = "example.org"
secrets = ["Pw0001", "Pw0002"]
on_expiry = "keep"
users.zoe = "Pw0003"
[turn]
software = "x"
[auth.users]
alice = "Pw0004"
bob = 'Pw0005'
"c d" = """Pw0006"""
[log]
level = "info"
"#;

const SECRETIVE_INLINE: &str = r#"
auth = { realm = "example.org", users = { alice = "Pw0001" }, secrets = [
    "Pw0002",
    "Pw0003", # the old one
] }
log = { level = "info" }
"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_makes_it_panic(text in damaged(REFERENCE, 5)) {
        if let Err(problems) = parse(&text, "t.toml") {
            prop_assert!(!problems.as_slice().is_empty());
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn no_garbage_makes_it_panic(text in "\\PC{0,200}|[\\[\\]{}=\"#.,\na-c0-9]{0,100}") {
        let shown = parse(&text, "t.toml").map_err(|problems| problems.to_string());
        prop_assert!(shown.is_ok() || shown.is_err_and(|shown| shown.contains("t.toml")));
    }

    #[test]
    fn a_problem_stands_where_it_says(text in damaged(EVERYTHING, 5)) {
        if let Err(problems) = parse(&text, "t.toml") {
            for problem in problems.as_slice() {
                if let Origin::File { line, column, .. } = problem.origin {
                    let shown = text.split('\n').nth(line - 1);
                    prop_assert!(shown.is_some_and(|it| column <= it.chars().count() + 1));
                }
            }
        }
    }

    #[test]
    fn no_damage_shows_a_secret(
        text in prop_oneof![damaged(SECRETIVE, 1), damaged(SECRETIVE_INLINE, 1)]
    ) {
        if let Err(problems) = parse(&text, "t.toml") {
            let shown = problems.to_string();
            prop_assert!(!shown.contains("Pw00"), "{}\n{}", text, shown);
        }
    }
}
