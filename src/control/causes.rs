use std::fmt::Write as _;

use crate::turn::Cause;

const HEAD: &str = "\
# Why a request was refused, and what to do

Each refusal has a cause. It stands in the log (`cause=`), counts in the metric
`turnwire_refusals_total{cause=\"...\",code=\"...\"}`, is kept with the session (its last line in the log
has `refusals=` and `last_refusal=`), and is told in words to a client that has proved its address with
a nonce: browsers show those words as `errorText` of `icecandidateerror`, and so does the trickle-ICE
page. `turn.explain = false` keeps them to the log.

";

const TABLE: &str = "\
## All causes

| code | cause | what it means | what to do |
|---|---|---|---|
";

/// The page about refusals that the documentation has.
pub fn causes_page() -> String {
    let mut page = format!("{HEAD}{TABLE}");
    for entry in Cause::ENTRIES {
        // Nothing that is written to a string fails.
        let _ = writeln!(
            page,
            "| {} | `{}` | {} | {} |",
            entry.code, entry.label, entry.phrase, entry.hint
        );
    }
    page
}

/// One cause by its name in the log.
///
/// # Errors
/// There is none of this name.
pub fn cause_in_words(label: &str) -> Result<String, String> {
    let found = Cause::ENTRIES.iter().find(|entry| entry.label == label);
    let entry = found.ok_or_else(|| {
        let near = Cause::ENTRIES.iter().filter(|entry| {
            entry.label.split('_').any(|word| label.split('_').any(|other| other == word))
        });
        let near: Vec<_> = near.map(|entry| entry.label).collect();
        let near =
            if near.is_empty() { "turnwire explain --causes".into() } else { near.join(", ") };
        format!("there is no cause {label:?}; see {near}")
    })?;
    Ok(format!("{} {}: {}\n{}\n", entry.code, entry.label, entry.phrase, entry.hint))
}
