//! The page that is written: sections with keys and notes, each with the lines it comes from.

use std::fmt::Write as _;

use super::grammar::Line;
use toml::Value;

/// Everything that may get a header, in the order of the reference file.
const SECTIONS: [&str; 20] = [
    "listen",
    "tls",
    "https",
    "relay",
    "auth",
    "auth.users",
    "auth.tokens",
    "auth.tokens.keys",
    "stores.ask",
    "turn",
    "peers",
    "redirect",
    "redirect.servers",
    "limits",
    "limits.streams",
    "limits.dtls",
    "admin",
    "log",
    "process",
    "",
];

/// What a further realm has, and the headers there.
const REALM_SECTIONS: [(&str, &str); 5] = [
    ("realm", "[[realm]]"),
    ("auth.tokens", "[realm.tokens]"),
    ("auth.tokens.keys", "[realm.tokens.keys]"),
    ("peers", "[realm.peers]"),
    ("limits", "[realm.limits]"),
];

/// The longest line of a comment.
const WIDTH: usize = 100;

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It is the same here without a word in the file.
    Same,
    /// There is no equal, and somebody may miss it.
    Lost,
    /// Somebody must look at it: access, users, or a server that would not start or be reached.
    Act,
}

/// What is said about lines of coturn's file, or about what it does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The options and their lines, in words; empty when it is about what is not there.
    pub place: String,
    /// The options alone; empty too for a line that has none of coturn's.
    pub options: String,
    /// The first of these lines.
    pub line: Option<usize>,
    /// Whether it is about a row of coturn's database.
    pub database: bool,
    /// What is said. Never shows a password or a secret.
    pub text: String,
    /// How much it matters.
    pub weight: Weight,
}

/// The file in the making.
#[derive(Default)]
pub(super) struct Page {
    items: Vec<Entry>,
    /// The further realm that is being written, and how many there are.
    realm: Option<usize>,
    realms: usize,
    /// The lines of which something has been made or said.
    seen: Vec<usize>,
}

/// An item with its section, of a further realm or of the server.
struct Entry {
    realm: Option<usize>,
    section: &'static str,
    item: Item,
}

enum Item {
    Key { place: String, key: String, value: Value },
    Note(Note),
}

impl Page {
    /// A key, from these lines.
    pub(super) fn key(
        &mut self,
        section: &'static str,
        key: &str,
        value: impl Into<Value>,
        from: &[&Line<'_>],
    ) {
        self.see(from);
        let item = Item::Key { place: cite(from), key: key.to_owned(), value: value.into() };
        self.items.push(Entry { realm: self.realm, section, item });
    }

    /// A note on these lines.
    pub(super) fn note(
        &mut self,
        section: &'static str,
        weight: Weight,
        from: &[&Line<'_>],
        text: impl Into<String>,
    ) {
        self.see(from);
        let line = from.iter().map(|line| line.number).filter(|number| *number > 0).min();
        let database = from.iter().any(|line| line.number == 0);
        let options = names(from).join(", ");
        let note = Note { place: cite(from), options, line, database, text: text.into(), weight };
        self.items.push(Entry { realm: self.realm, section, item: Item::Note(note) });
    }

    /// Begins a further realm: what follows is of it.
    pub(super) const fn open_realm(&mut self) {
        self.realm = Some(self.realms);
        self.realms += 1;
    }

    /// What follows is the server's again.
    pub(super) const fn close_realm(&mut self) {
        self.realm = None;
    }

    fn see(&mut self, lines: &[&Line<'_>]) {
        self.seen.extend(lines.iter().map(|line| line.number));
    }

    /// Whether something has been made of a line, or said about it.
    #[cfg(test)]
    pub(super) fn has_seen(&self, number: usize) -> bool {
        self.seen.contains(&number)
    }

    /// The notes, in the order of coturn's file; those about what is not there come last.
    pub(super) fn notes(&self) -> Vec<Note> {
        let notes = self.items.iter().filter_map(|entry| match &entry.item {
            Item::Note(note) => Some(note.clone()),
            Item::Key { .. } => None,
        });
        let mut notes: Vec<_> = notes.collect();
        notes.sort_by_key(|note| note.line.unwrap_or(usize::MAX));
        notes
    }

    /// How many keys it has.
    pub(super) fn keys(&self) -> usize {
        self.items.iter().filter(|entry| matches!(entry.item, Item::Key { .. })).count()
    }

    /// The text, with `head` as a comment in front.
    pub(super) fn render(&self, head: &str) -> String {
        let mut text = String::new();
        comment(&mut text, head);
        for section in SECTIONS {
            match section {
                "" => {
                    self.render_realms(&mut text);
                    self.section(None, section, "# Other lines of coturn's file", &mut text);
                }
                _ => self.section(None, section, &format!("[{section}]"), &mut text),
            }
        }
        text
    }

    fn render_realms(&self, text: &mut String) {
        for realm in 0..self.realms {
            for (section, header) in REALM_SECTIONS {
                self.section(Some(realm), section, header, text);
            }
        }
    }

    fn section(&self, realm: Option<usize>, section: &str, header: &str, text: &mut String) {
        let own = |entry: &&Entry| entry.realm == realm && entry.section == section;
        let mut items = self.items.iter().filter(own).peekable();
        if items.peek().is_some() {
            let _ = writeln!(text, "\n\n{header}");
        }
        for entry in items {
            text.push('\n');
            entry.item.render(text);
        }
    }
}

impl Item {
    fn render(&self, text: &mut String) {
        match self {
            Self::Key { place, key, value } => {
                comment(text, place);
                let _ = writeln!(text, "{} = {}", name(key), written(value));
            }
            Self::Note(note) => comment(text, &note.to_string()),
        }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.weight {
            Weight::Act => f.write_str("LOOK HERE: ")?,
            Weight::Lost => f.write_str("No equal: ")?,
            Weight::Same => {}
        }
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.text)
    }
}

/// A key with its quotes, if it needs them.
fn name(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { quoted(key) }
}

/// A value; a long list goes over several lines.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) if items.len() > 3 => {
            let lines: Vec<_> =
                items.iter().map(|item| format!("    {},\n", written(item))).collect();
            format!("[\n{}]", lines.concat())
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", "))
        }
        Value::Table(table) => {
            let entry = |(key, value): (&String, &Value)| format!("{key} = {}", written(value));
            format!("{{ {} }}", table.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A string on one line, as a key may stand in too.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The text as a comment; a character that could end or disturb it is left out.
fn comment(text: &mut String, words: &str) {
    for paragraph in words.lines() {
        let mut column = 0;
        for word in paragraph.split(' ') {
            let word: String = word.chars().filter(|c| !c.is_control()).collect();
            if column > 0 && column + 1 + word.chars().count() > WIDTH {
                text.push('\n');
                column = 0;
            }
            text.push_str(if column == 0 { "# " } else { " " });
            text.push_str(&word);
            column += 1 + word.chars().count();
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
}

/// The options with their lines: `line 3 (realm)`, `lines 4-6, 9 (user)`.
fn cite(lines: &[&Line<'_>]) -> String {
    let one = |name: &&str| {
        let of_name = lines.iter().filter(|line| line.name == *name);
        let mut numbers: Vec<usize> = of_name.map(|line| line.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let word = if numbers.len() == 1 { "line" } else { "lines" };
        match *name {
            name if numbers == [0] => format!("the database's {name}"),
            "" => format!("{word} {}", spans(&numbers)),
            name => format!("{word} {} ({name})", spans(&numbers)),
        }
    };
    names(lines).iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The options of the lines, each once.
fn names<'t>(lines: &[&Line<'t>]) -> Vec<&'t str> {
    let mut names = Vec::new();
    for line in lines {
        if !names.contains(&line.name) {
            names.push(line.name);
        }
    }
    names
}

fn spans(numbers: &[usize]) -> String {
    let chunks = numbers.chunk_by(|a, b| a + 1 == *b);
    let shown = chunks.map(|chunk| match chunk {
        [first, .., last] => format!("{first}-{last}"),
        _ => chunk[0].to_string(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::grammar::lines;
    use super::*;

    #[test]
    fn a_page_reads_like_one_that_was_written() {
        let text = "user=a:b\nuser=c:d\nrealm=x\nuser=e:f";
        let lines: Vec<_> = lines(text).collect();
        let all: Vec<_> = lines.iter().collect();
        let mut page = Page::default();
        page.key("auth.users", "a b", "it's \"quoted\"", &all);
        page.note("listen", Weight::Act, &all[2..3], "word ".repeat(30).trim());
        let text = page.render("head\nand shoulders");
        let expected = format!(
            "# head\n# and shoulders\n\n\n[listen]\n\n# LOOK HERE: line 3 (realm):{}\n# {}\n\n\n[auth.users]\n\n\
             # lines 1-2, 4 (user), line 3 (realm)\n\"a b\" = \"it's \\\"quoted\\\"\"\n",
            " word".repeat(14),
            ["word"; 16].join(" "),
        );
        assert_eq!(text, expected);
        assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
    }
}
