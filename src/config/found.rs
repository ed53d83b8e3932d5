//! The value of one key as the file has it: read as what it is to be, with what is wrong with it and where.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::value::{Wrong, number};
use crate::auth::{Secret, User};

/// The value of one key, as the file has it, with what is wrong with it.
pub(super) struct Found<'v, 'i> {
    value: &'v Spanned<DeValue<'i>>,
    /// The places of the values: one, or one for each of a list.
    pub(super) spans: Vec<Range<usize>>,
    pub(super) wrongs: Vec<(Range<usize>, Wrong)>,
}

impl<'v, 'i> Found<'v, 'i> {
    pub(super) const fn new(value: &'v Spanned<DeValue<'i>>) -> Self {
        Self { value, spans: Vec::new(), wrongs: Vec::new() }
    }

    pub(super) const fn value(&self) -> &'v Spanned<DeValue<'i>> {
        self.value
    }

    /// A string.
    pub(super) fn text<T>(&mut self, read: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        self.one(|value| match value {
            DeValue::String(text) => one_line(text).and_then(&read),
            other => Err(expected("a string", other)),
        })
    }

    /// A string with a unit, or a number without one.
    pub(super) fn quantity<T>(&mut self, read: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        self.one(|value| match value {
            DeValue::String(text) => one_line(text).and_then(&read),
            DeValue::Integer(integer) => read(&decimal(integer)),
            other => Err(expected("a number with its unit in quotes", other)),
        })
    }

    /// A whole number.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, range: RangeInclusive<u64>) -> Option<T> {
        self.one(|value| match value {
            DeValue::Integer(integer) => number(&decimal(integer), range),
            other => Err(expected("a whole number", other)),
        })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self) -> Option<bool> {
        self.one(|value| match value {
            DeValue::Boolean(value) => Ok(*value),
            other => Err(expected("true or false", other)),
        })
    }

    /// Strings; `None` when one of them cannot be read.
    pub(super) fn list<T>(&mut self, read: impl Fn(&str) -> Result<T, Wrong>) -> Option<Vec<T>> {
        let DeValue::Array(items) = self.value.get_ref() else {
            let wrong = expected("a list of strings", self.value.get_ref());
            self.wrongs.push((self.value.span(), wrong.hint("put it in brackets: [\"...\"]")));
            return None;
        };
        let mut values = Vec::new();
        for item in items.iter() {
            let value = match item.get_ref() {
                DeValue::String(text) => one_line(text).and_then(&read),
                other => Err(expected("a string", other)),
            };
            self.spans.push(item.span());
            match value {
                Ok(value) => values.push(value),
                Err(wrong) => self.wrongs.push((item.span(), wrong)),
            }
        }
        self.wrongs.is_empty().then_some(values)
    }

    /// The same, at least one.
    pub(super) fn some<T>(&mut self, read: impl Fn(&str) -> Result<T, Wrong>) -> Option<Vec<T>> {
        let values = self.list(read)?;
        if values.is_empty() {
            let wrong = Wrong::new("the list is empty").hint("leave the key out for the default");
            self.wrongs.push((self.value.span(), wrong));
            return None;
        }
        Some(values)
    }

    /// A table of names and passwords, in the order of the file; those that can be read.
    pub(super) fn users(&mut self) -> Option<Vec<User>> {
        let DeValue::Table(table) = self.value.get_ref() else {
            let wrong = expected(
                "a section with a line NAME = \"PASSWORD\" for each user",
                self.value.get_ref(),
            );
            self.wrongs.push((self.value.span(), wrong));
            return None;
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut users = Vec::new();
        for (name, password) in entries {
            let DeValue::String(password) = password.get_ref() else {
                let what = format!("the password of {:?} must be a string", name.get_ref());
                self.wrongs.push((name.span(), Wrong::new(what).hint("put it in quotes")));
                continue;
            };
            self.spans.push(name.span());
            let password = Secret::new(&**password);
            users.push(User { name: name.get_ref().to_string(), password });
        }
        Some(users)
    }

    fn one<T>(&mut self, read: impl FnOnce(&DeValue<'_>) -> Result<T, Wrong>) -> Option<T> {
        self.spans.push(self.value.span());
        match read(self.value.get_ref()) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.wrongs.push((self.value.span(), wrong));
                None
            }
        }
    }
}

/// The integer in decimal digits; its own text when it is beyond all numbers.
pub(super) fn decimal(integer: &DeInteger<'_>) -> String {
    match i128::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) => number.to_string(),
        Err(_) => integer.to_string(),
    }
}

/// A quote that is missing or too many swallows lines, with whatever stands on them.
fn one_line(text: &str) -> Result<&str, Wrong> {
    if text.contains('\n') { Err(Wrong::new("goes on over several lines")) } else { Ok(text) }
}

pub(super) fn expected(what: &str, found: &DeValue<'_>) -> Wrong {
    let found = match found {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    };
    Wrong::new(format!("expected {what}, found {found}"))
}
