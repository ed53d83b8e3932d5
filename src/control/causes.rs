//! The page about refusals, made of the table of causes.

use std::fmt::Write as _;

use crate::turn::{Cause, NOTICES};

const HEAD: &str = "\
# Why a request was refused, and what to do

Each refusal has a cause. It stands in the log (`cause=`), counts in the metric
`turnwire_refusals_total{cause=\"...\",code=\"...\"}`, is kept with the session (its last line in the log
has `refusals=` and `last_refusal=`), and is told in words to a client that has proved its address with
a nonce: browsers show those words as `errorText` of `icecandidateerror`, and so does the trickle-ICE
page. `turn.explain = false` keeps them to the log: then a client cannot tell an unknown user from a wrong
password by the answer, whose bytes are the same but for the nonce.

## One client that does not work

```
turnwire explain --user alice            # or --address 198.51.100.7, for 10 minutes
```

follows it live: each request with what it asks for, the decision, the reason and a hint, and what is
dropped of its data. Nothing is changed by it, and no packet waits for it. `turnwire sessions show` has
the last refusal of a session that is there, `turnwire explain CAUSE` one line of the table below.

## The line in the log

At `info`, the first refusal of each cause and client address in a minute has a line, at most {notices} of
them; `untold=` says how many were not told since the one before. Private peers, which browsers offer in
every call, have one line a minute for each range. Challenges, old nonces and redirections (300) have none. At `debug` each
refusal has one.

```
INFO request refused: wrong password for user \"alice\" client=198.51.100.7:4000 cause=\"wrong_password\" code=401 ...
```

`client=` and `cause=` stand in this order in every line, right behind the sentence, and nothing that a
client sends can put a `cause=\"` there: names are quoted, with their own quotes taken out or escaped. A
line at `info` is only about a client that has proved its address: nobody gets another one banned by
forging a sender. A filter for fail2ban:

```
[Definition]
failregex = request refused: .* client=\\[?<ADDR>\\]?:\\d+ cause=\"(?:unknown_user|wrong_password|wrong_secret)\"
```

";

const TABLE: &str = "\
## All causes

| code | cause | what it means | what to do |
|---|---|---|---|
";

/// The page about refusals that the documentation has.
pub fn causes_page() -> String {
    let head = HEAD.replace("{notices}", &NOTICES.to_string());
    let mut page = format!("{head}{TABLE}");
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
