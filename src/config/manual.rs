//! The reference file as a page to read: `docs/configuration.md`.

use std::fmt::Write as _;

/// The whole configuration, commented, with each default.
pub const REFERENCE: &str = include_str!("../../config/turnwire.toml");

const HEAD: &str = "\
# Every key of the configuration

This page is made of [config/turnwire.toml](../config/turnwire.toml), which `turnwire check-config --reference`
prints as well: `turnwire check-config --reference=markdown > docs/configuration.md` writes it anew. What is
said to be a default is in force when the key is not there.

";

/// The page about all keys that the documentation has.
pub fn reference_page() -> String {
    let mut page = Page { text: HEAD.to_owned(), ..Page::default() };
    // The title is the page's own.
    for line in REFERENCE.lines().skip(1) {
        page.take(line);
    }
    page.end_of_block();
    format!("{}\n", page.text.trim_end())
}

/// The page as far as it is written, and what waits for the line that says what it is about.
#[derive(Default)]
struct Page {
    text: String,
    section: String,
    /// Comment lines without their `#`.
    prose: Vec<&'static str>,
    /// Keys and values that stand together.
    keys: Vec<(&'static str, &'static str, bool)>,
}

impl Page {
    fn take(&mut self, line: &'static str) {
        let example =
            line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
        let code = example.unwrap_or(line);
        if line.is_empty() {
            self.end_of_block();
        } else if example.is_none() && line.starts_with('#') {
            if !self.keys.is_empty() {
                self.end_of_block();
            }
            self.prose.push(line[1..].strip_prefix(' ').unwrap_or(""));
        } else if code.starts_with('[') {
            self.section = code.trim_matches(['[', ']']).to_owned();
            let _ = write!(self.text, "## `{code}`\n\n");
            self.end_of_block();
        } else if let Some((key, value)) = code.split_once(" = ") {
            self.keys.push((key, value, example.is_some()));
        }
    }

    /// Writes what was about to be said, above the keys that it is about.
    fn end_of_block(&mut self) {
        if !self.keys.is_empty() {
            let mut names: Vec<String> = Vec::new();
            for (key, ..) in &self.keys {
                let name = self.name(key);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            // Nothing that is written to a string fails.
            let _ = write!(self.text, "### {}\n\n", names.join(", "));
        }
        self.write_prose();
        for (key, value, example) in std::mem::take(&mut self.keys) {
            let what = if example { "for example" } else { "the default" };
            let _ = writeln!(self.text, "- `{key} = {value}`, {what}");
        }
        self.blank_line();
    }

    /// As `section.key`; tables whose keys the operator names are told by themselves.
    fn name(&self, key: &str) -> String {
        let known = super::known_keys().any(|known| {
            known.strip_prefix(self.section.as_str()).and_then(|rest| rest.strip_prefix('.'))
                == Some(key)
        });
        if known {
            format!("`{}.{key}`", self.section)
        } else {
            format!("entries of `[{}]`", self.section)
        }
    }

    /// Paragraphs as they stand; lines that are set in become a block, and what begins with a word
    /// and a colon above all sections a list.
    fn write_prose(&mut self) {
        let mut block = false;
        for line in std::mem::take(&mut self.prose) {
            let set_in = line.starts_with("  ");
            if set_in != block {
                self.text.push_str(if block { "```\n" } else { "" });
                self.blank_line();
                self.text.push_str(if set_in { "```text\n" } else { "" });
                block = set_in;
            }
            let word = line.split(' ').next().filter(|word| word.ends_with(':'));
            match (line, word) {
                ("", _) => self.blank_line(),
                (_, Some(_)) if self.section.is_empty() => {
                    let _ = writeln!(self.text, "- {line}");
                }
                _ => {
                    let _ = writeln!(self.text, "{}", line.strip_prefix("  ").unwrap_or(line));
                }
            }
        }
        if block {
            self.text.push_str("```\n");
        }
        self.blank_line();
    }

    fn blank_line(&mut self) {
        if !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }
}
