//! A section whose keys the operator names, each with a table of its own.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::found::{Found, expected};
use super::value::Wrong;

/// What such an entry is called in a problem, and how it is written.
pub(super) struct Entry {
    pub(super) what: &'static str,
    pub(super) form: &'static str,
    /// The keys that it may have.
    pub(super) keys: &'static [&'static str],
}

impl Found<'_, '_> {
    /// A table of tables, in the order of the file; those that can be read.
    pub(super) fn tables<T>(
        &mut self,
        entry: &Entry,
        read: impl Fn(&str, &DeTable<'_>) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let Entry { what, form, .. } = entry;
        let DeValue::Table(table) = self.value().get_ref() else {
            let wrong =
                expected(&format!("a section with a line for each {what}"), self.value().get_ref());
            self.wrongs.push((self.value().span(), wrong.hint(*form)));
            return None;
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut values = Vec::new();
        for (name, value) in entries {
            let table = match value.get_ref() {
                DeValue::Table(table) => only(table, entry.keys).map(|()| table),
                _ => Err(Wrong::new("must be a table").hint(*form)),
            };
            match table.and_then(|table| read(name.get_ref(), table)) {
                Ok(value) => {
                    self.spans.push(name.span());
                    values.push(value);
                }
                Err(Wrong { what: wrong, hint }) => {
                    let what = format!("the {what} {:?} {wrong}", name.get_ref());
                    self.wrongs.push((name.span(), Wrong { what, hint }));
                }
            }
        }
        Some(values)
    }
}

fn only(table: &DeTable<'_>, known: &[&str]) -> Result<(), Wrong> {
    match table.iter().find(|(name, _)| !known.contains(&&**name.get_ref())) {
        None => Ok(()),
        Some((other, _)) => {
            let what = format!("has {:?} in it, which is unknown here", other.get_ref());
            Err(Wrong::new(what).hint(format!("there are {}", known.join(", "))))
        }
    }
}

/// A value of the table.
pub(super) fn get<'t>(table: &'t DeTable<'_>, name: &str) -> Option<&'t DeValue<'t>> {
    table.get(name).map(Spanned::get_ref)
}

/// The same, if it is a string.
pub(super) fn text<'t>(table: &'t DeTable<'_>, name: &str) -> Result<Option<&'t str>, Wrong> {
    match get(table, name) {
        None => Ok(None),
        Some(DeValue::String(text)) => Ok(Some(text)),
        Some(_) => Err(Wrong::new(format!("must have a string as {name}"))),
    }
}
