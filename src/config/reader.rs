//! Walks the TOML by the table of keys, and says what was meant by what it does not know.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::{Draft, Place};
use super::found::Found;
use super::grammar;
use super::keys::{is_section, known, section_and_name, sections, settled};
use super::nearest::nearest;
use super::realms;
use super::value::Wrong;

/// Reads the text of a file into the draft. A broken grammar is all that is then said of it:
/// what the rest means cannot be known.
pub(super) fn read(text: &str, draft: &mut Draft) {
    let (document, errors) = DeTable::parse_recoverable(text);
    draft.broken = !errors.is_empty();
    if let Some(wrong) = grammar::coturns(text) {
        draft.broken = true;
        draft.complain(Place::Whole, wrong);
        return;
    }
    for (span, wrong) in grammar::told(text, &errors) {
        draft.complain(span.map_or(Place::Whole, Place::Nameless), wrong);
    }
    if !draft.broken {
        section("", document.get_ref(), draft);
    }
}

fn section(path: &str, table: &DeTable<'_>, draft: &mut Draft) {
    for (name, value) in table {
        let inner = match path {
            "" => name.get_ref().to_string(),
            path => format!("{path}.{}", name.get_ref()),
        };
        // A dot within quotes does not lead into a section.
        let known = known(&inner).filter(|_| !name.get_ref().contains('.'));
        if let Some(key) = known {
            if key.secret {
                draft.hide(value);
            }
            let mut found = Found::new(value);
            (key.read)(draft, &mut found);
            let Found { spans, wrongs, .. } = found;
            draft.note(key.path, spans.into_iter().map(|span| Place::File(key.path, span)));
            for (span, wrong) in wrongs {
                draft.unread(key.path);
                draft.complain(Place::File(key.path, span), wrong);
            }
        } else if inner == realms::TABLE && !is_plain(value.get_ref()) {
            realms::read(value, draft);
        } else if is_section(&inner) && !name.get_ref().contains('.') {
            subsection(&inner, value, draft);
        } else {
            draft.hide(value);
            let wrong = match value.get_ref() {
                DeValue::Table(_) => unknown_section(&inner),
                _ => unknown_key(path, name.get_ref()),
            };
            draft.complain(Place::Nameless(name.span()), wrong);
        }
    }
}

/// Whether it is one value; `realm = "..."` in no section is not meant as a further realm.
const fn is_plain(value: &DeValue<'_>) -> bool {
    !matches!(value, DeValue::Table(_) | DeValue::Array(_))
}

fn subsection(path: &str, value: &Spanned<DeValue<'_>>, draft: &mut Draft) {
    match value.get_ref() {
        DeValue::Table(table) => section(path, table, draft),
        _ => {
            draft.hide(value);
            let wrong = Wrong::new(format!("{path:?} is a section, not a value"));
            draft.complain(
                Place::Nameless(value.span()),
                wrong.hint(format!("write [{path}] once, and its keys below it")),
            );
        }
    }
}

/// A key that nothing is known by, and what may have been meant.
fn unknown_key(section: &str, name: &str) -> Wrong {
    let wrong = Wrong::new(match section {
        "" => format!("the key {name:?} stands in no section"),
        section => format!("unknown key {name:?} in [{section}]"),
    });
    let all = || settled().map(section_and_name);
    let here = || all().filter(|(of, _)| *of == section).map(|(_, key)| key);
    if let Some(name) = nearest(name, here()) {
        return wrong.hint(format!("did you mean {name:?}?"));
    }
    match all().find(|(_, key)| *key == name) {
        Some((section, _)) => wrong.hint(format!("it belongs in [{section}]")),
        None if section.is_empty() => {
            wrong.hint(format!("there are {}", join(tables().map(in_brackets))))
        }
        None => wrong.hint(format!("there are {}", join(here()))),
    }
}

/// The same for a section.
fn unknown_section(path: &str) -> Wrong {
    let meant = tables()
        .find(|table| last_part(table) == last_part(path))
        .or_else(|| nearest(path, tables()))
        .or_else(|| tables().find(|table| nearest(last_part(path), [last_part(table)]).is_some()));
    let wrong = Wrong::new(format!("unknown section [{path}]"));
    match meant {
        Some(table) => wrong.hint(format!("did you mean [{table}]?")),
        None => wrong.hint(format!("there are {}", join(tables().map(in_brackets)))),
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Everything that may stand in brackets.
fn tables() -> impl Iterator<Item = &'static str> {
    let named =
        ["auth.users", "auth.tokens.keys", "redirect.servers", "stores.ask", "web.keys", "[realm]"];
    sections().chain(named)
}

fn in_brackets(section: &str) -> String {
    format!("[{section}]")
}

fn join(names: impl Iterator<Item = impl fmt::Display>) -> String {
    names.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}
