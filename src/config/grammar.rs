//! A file that is no TOML: the parser's words, in those of somebody who writes a configuration.

use std::ops::Range;

use toml::de::Error;

use super::import;
use super::keys::{is_section, known};
use super::value::Wrong;

/// The parser's words for a bracket that is open to the end of the file.
const UNCLOSED: [&str; 2] = ["unclosed array", "unclosed inline table"];

/// What is wrong with a text, with its place where it has one. One mistake is told once: what follows from it on the
/// same line, or behind a bracket that is not closed, is not told.
pub(super) fn told(text: &str, errors: &[Error]) -> Vec<(Option<Range<usize>>, Wrong)> {
    let mut all = Vec::new();
    let mut last = None;
    let mut errors: Vec<_> = errors.iter().map(|error| (error.span(), error.message())).collect();
    errors.sort_by_key(|(span, _)| span.as_ref().map_or(0, |span| span.start));
    let is_unclosed =
        errors.iter().any(|(_, message)| UNCLOSED.iter().any(|part| message.contains(part)));
    for (span, message) in errors {
        let line = span.as_ref().map(|span| line_of(text, span.start));
        if line.is_some() && line == last {
            continue;
        }
        last = line;
        let (wrong, may_be_open) = one(text, span.clone().unwrap_or_default(), message);
        all.push((span, wrong));
        if may_be_open && is_unclosed {
            break;
        }
    }
    all
}

/// A file of coturn's in the place of one of ours.
pub(super) fn coturns(text: &str) -> Option<Wrong> {
    import::is_coturns(text).then(|| {
        Wrong::new("this is a configuration of coturn's").hint(
            "make one for Turnwire of it: turnwire import turnserver.conf --output turnwire.toml",
        )
    })
}

/// One of them, and whether the rest of the file cannot be judged if a bracket is not closed: this may be the place.
fn one(text: &str, span: Range<usize>, message: &str) -> (Wrong, bool) {
    let is = |part: &str| message.contains(part);
    let line = line(text, span.start);
    let before = before(text, span.start);
    let wrong = |what: &str, hint: &str| Wrong::new(what).hint(hint);
    let told = if is("duplicate key") {
        twice(text, &span)
    } else if is("missing comma between key-value") || is("inline table") && is(", expected `,`") {
        let hint =
            "write { KEY = \"...\", KEY = \"...\" }, with a comma between two and } at the end";
        let is_first = before.trim().is_empty();
        return (wrong("a comma or the end of the table is missing", hint), is_first);
    } else if is("missing comma") || is("unclosed array") {
        let hint = "write [\"...\", \"...\"], with a comma between two and ] at the end";
        let is_first = before.trim().is_empty();
        return (wrong("a comma or the end of the list is missing", hint), is_first);
    } else if is("unclosed inline table") {
        wrong("there is no } at the end of the table", "write { KEY = \"...\", KEY = \"...\" }")
    } else if is("unclosed table") {
        wrong("there is no ] behind the name of the section", "write it like [listen]")
    } else if is("characters") && (is(" string") || is("comment")) {
        let hint = "take it out, or write it as \\uXXXX in a string in double quotes";
        wrong("there is a control character", hint)
    } else if is("basic string") || is("literal string") && !is("must be quoted") {
        return (wrong("the string does not end", "a quote is missing at its end"), true);
    } else if is("escape") {
        let hint = "write it twice, or put the string in single quotes";
        wrong("a backslash begins an escape in a string in double quotes", hint)
    } else if is("unquoted key") || is("key with no value") {
        name(line)
    } else if is("unexpected key or value") {
        let hint = "one key on a line, no comma or point within a number, and a comment behind #";
        wrong("there is more behind the value", hint)
    } else if is("leading zero") || is("must be quoted") || is("invalid") && !is("table") {
        value(text, span.start)
    } else {
        Wrong::new(message.lines().collect::<Vec<_>>().join(", "))
    };
    (told, false)
}

/// A section or a key that is there for the second time.
fn twice(text: &str, span: &Range<usize>) -> Wrong {
    let name = text.get(span.clone()).unwrap_or_default();
    let lines = || text.lines().zip(1..).take(line_of(text, span.start) - 1);
    let header = line(text, span.start).trim();
    if header.starts_with('[') {
        let first = lines().find(|(line, _)| line.trim() == header).map(|(_, number)| number);
        return Wrong::new(match first.filter(|_| is_known_header(header)) {
            Some(number) => format!("{header} is there twice, first on line {number}"),
            None => "this section is there twice".to_owned(),
        })
        .hint("write it once, with all its keys below it");
    }
    let of_section = lines().collect::<Vec<_>>();
    let own = of_section.iter().rev().take_while(|(line, _)| !line.trim().starts_with('['));
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let first = own.filter(|(line, _)| key(line) == name).map(|(_, number)| number).last();
    let section = of_section.iter().rfind(|(line, _)| line.trim().starts_with('['));
    let section = section.map_or("", |(line, _)| line.trim().trim_matches(['[', ']']));
    // Of a file that is not understood only names of ours are shown.
    let shown = known(&format!("{section}.{name}")).map(|_| format!("{name:?}"));
    let shown = shown.unwrap_or_else(|| "this name".to_owned());
    let first = first.map_or(String::new(), |number| format!(", first on line {number}"));
    Wrong::new(format!("{shown} is there twice{first}")).hint("keep one of them")
}

fn is_known_header(header: &str) -> bool {
    let name = header.trim_start_matches('[').trim_end_matches(']');
    is_section(name) || known(name).is_some()
}

/// What stands in the place of `NAME =`.
fn name(line: &str) -> Wrong {
    if line.trim_start().starts_with([';', '/']) {
        return Wrong::new("this is no key").hint("a comment begins with #");
    }
    if !line.contains('=') {
        let what = if line.contains(':') { "a colon in the place of =" } else { "there is no =" };
        return Wrong::new(what).hint("write KEY = VALUE, and [SECTION] above its keys");
    }
    Wrong::new("a name with other characters than letters, digits, - and _ needs quotes")
        .hint("write \"NAME\" = VALUE")
}

/// What stands behind the `=`, or on a line of its own in a list.
fn value(text: &str, offset: usize) -> Wrong {
    let (line, before) = (line(text, offset), before(text, offset));
    let behind = before.find('=').map(|equals| &line[equals + 1..]);
    let value = behind.unwrap_or(line).trim();
    if value.is_empty() || value.starts_with('#') {
        return Wrong::new("there is no value behind the =")
            .hint("leave the line out for the default");
    }
    if matches!(&*value.to_ascii_lowercase(), "true" | "false" | "yes" | "no" | "on" | "off") {
        return Wrong::new("this is no value").hint("write true or false, in small letters");
    }
    if value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Wrong::new("a number does not begin with 0").hint("leave the 0 in front out");
    }
    let form = if behind.is_none() || value.starts_with('[') {
        "[\"...\", \"...\"]"
    } else {
        "KEY = \"...\""
    };
    Wrong::new("this is neither a string nor a number")
        .hint(format!("a string stands in quotes, and so does a number with a unit: {form}"))
}

fn line_of(text: &str, offset: usize) -> usize {
    let offset = text.floor_char_boundary(offset);
    text[..offset].matches('\n').count() + 1
}

fn line(text: &str, offset: usize) -> &str {
    text.lines().nth(line_of(text, offset) - 1).unwrap_or_default()
}

/// What stands on the same line in front of it.
fn before(text: &str, offset: usize) -> &str {
    let text = &text[..text.floor_char_boundary(offset)];
    text.rsplit('\n').next().unwrap_or_default()
}
