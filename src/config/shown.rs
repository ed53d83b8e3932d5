//! The configuration as somebody may see it: by the names of its keys, with all defaults, and without what is secret.

use std::fmt;

use toml::{Table, Value};

use super::keys::{all, settled};
use super::realms;

/// The reference file says the default of each key that has one; a test keeps it so.
const REFERENCE: &str = include_str!("../../config/turnwire.toml");
/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// What was written for each key, with what is secret taken out.
#[derive(Clone, Default)]
pub struct Shown(Table);

impl Shown {
    /// What a file says.
    pub(super) fn of(text: &str) -> Self {
        // What cannot be read is no configuration, and is shown to nobody.
        let mut table = text.parse::<Table>().unwrap_or_default();
        for key in all() {
            if let Some(value) = find_mut(&mut table, key.path) {
                redact(value, key.secret);
            }
        }
        if let Some(Value::Array(realms)) = table.get_mut(realms::TABLE) {
            realms.iter_mut().filter_map(Value::as_table_mut).for_each(redact_realm);
        }
        Self(table)
    }

    /// A flag takes the place of what the file says.
    pub(super) fn put(&mut self, key: &'static str, texts: &[&String]) {
        let list = matches!(find(&defaults(), key), Some(Value::Array(_))) || texts.len() > 1;
        let mut values: Vec<_> = texts.iter().map(|text| Value::String((*text).clone())).collect();
        let value = match (list, values.len()) {
            (false, 1) => values.remove(0),
            _ => Value::Array(values),
        };
        self.set(key, value);
    }

    /// A flag adds to what the file says; `name` names a secret.
    pub(super) fn add(&mut self, key: &'static str, name: Option<&str>, text: Option<&str>) {
        let value = Value::String(text.unwrap_or(REDACTED).to_owned());
        let mut all = find(&self.0, key).cloned();
        match (&mut all, name) {
            (Some(Value::Table(table)), Some(name)) => drop(table.insert(name.to_owned(), value)),
            (Some(Value::Array(values)), None) => values.push(value),
            (_, Some(name)) => {
                all = Some(Value::Table(Table::from_iter([(name.to_owned(), value)])));
            }
            (_, None) => all = Some(Value::Array(vec![value])),
        }
        if let Some(all) = all {
            self.set(key, all);
        }
    }

    fn set(&mut self, key: &str, mut value: Value) {
        redact(&mut value, false);
        let mut table = &mut self.0;
        let (sections, name) = key.rsplit_once('.').unwrap_or(("", key));
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = inner else {
                return;
            };
            table = inner;
        }
        table.insert(name.to_owned(), value);
    }

    /// Every key, as it is in force, and all realms as one; nothing for one that is not set and has no default.
    pub fn entries(&self) -> Vec<(&'static str, Option<Value>)> {
        let defaults = defaults();
        let value = |key| find(&self.0, key).or_else(|| find(&defaults, key)).cloned();
        settled().chain([realms::TABLE]).map(|key| (key, value(key))).collect()
    }
}

/// Two configurations that mean the same are written in many ways.
impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

fn defaults() -> Table {
    REFERENCE.parse().unwrap_or_default()
}

fn find<'t>(table: &'t Table, key: &str) -> Option<&'t Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((section, rest)) => find(table.get(section)?.as_table()?, rest),
    }
}

fn find_mut<'t>(table: &'t mut Table, key: &str) -> Option<&'t mut Value> {
    match key.split_once('.') {
        None => table.get_mut(key),
        Some((section, rest)) => find_mut(table.get_mut(section)?.as_table_mut()?, rest),
    }
}

/// The same for a realm, which has what other tables have.
fn redact_realm(realm: &mut Table) {
    for key in realms::keys() {
        let (_, path) = key.split_once('.').unwrap_or_default();
        if let Some(value) = find_mut(realm, path) {
            redact(value, realms::is_secret(key));
        }
    }
}

/// Takes out what is secret: of a secret key everything but the names, and passwords in addresses anywhere.
fn redact(value: &mut Value, secret: bool) {
    match value {
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| redact(value, secret)),
        Value::Array(values) => values.iter_mut().for_each(|value| redact(value, secret)),
        value if secret => *value = Value::String(REDACTED.to_owned()),
        Value::String(text) => {
            if let Some(clean) = without_password(text) {
                *text = clean;
            }
        }
        _ => {}
    }
}

/// `scheme://user:password@host` and `password=...` without the password; nothing when there is none.
fn without_password(text: &str) -> Option<String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let at = rest[..end].rfind('@').or_else(|| rest.rfind('@'))?;
        let (user, _) = rest[..at].split_once(':')?;
        return Some(format!("{scheme}://{user}:{REDACTED}{}", &rest[at..]));
    }
    let (before, rest) = text.split_once("password=")?;
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    Some(format!("{before}password={REDACTED}{}", &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shown: &Shown, key: &str) -> Option<Value> {
        shown.entries().into_iter().find(|(name, _)| *name == key).and_then(|(_, value)| value)
    }

    #[test]
    fn nothing_secret_of_a_realm_is_in_it() {
        let text = "[[realm]]\nname = \"r\"\nsecrets = [\"hunter2\"]\nsha256 = false\n\
                    [realm.users]\nalice = \"hunter2\"\n\
                    [realm.tokens.keys]\nk = { key = \"hunter2\" }\n";
        let shown = Shown::of(text);
        let realms = of(&shown, "realm").unwrap().to_string();
        assert!(realms.contains("alice") && realms.contains("sha256"), "{realms}");
        assert!(!format!("{:?}{realms}", shown.0).contains("hunter2"), "{realms}");
    }

    #[test]
    fn every_key_is_there_with_its_default_or_what_was_written() {
        let shown = Shown::of("[auth]\nrealm = \"here\"\n");
        assert_eq!(shown.entries().len(), settled().count() + 1);
        assert_eq!(of(&shown, "auth.realm"), Some("here".into()));
        assert_eq!(of(&shown, "log.level"), Some("info".into()));
        assert_eq!(of(&shown, "admin.listen"), None);
    }

    #[test]
    fn no_secret_is_in_it() {
        let text = "[auth]\nsecrets = [\"hunter2\"]\nusers.alice = \"hunter2\"\n[auth.tokens.keys]\nk = { key = \"hunter2\" }\n[redirect]\ncredentials = \"a:hunter2\"\n[https]\nbackend = \"postgres://me:hunter2@host/db\"\n";
        let mut shown = Shown::of(text);
        shown.add("auth.users", Some("bob"), None);
        shown.add("auth.secrets", None, None);
        let all = format!("{:?}", shown.entries());
        assert!(!all.contains("hunter2"), "{all}");
        let users = of(&shown, "auth.users").unwrap();
        assert_eq!(users["alice"].as_str(), Some(REDACTED));
        assert_eq!(users["bob"].as_str(), Some(REDACTED));
        assert_eq!(of(&shown, "auth.secrets").unwrap().as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn passwords_are_taken_out_of_addresses() {
        let cases = [
            ("redis://:pw@h:1/0", Some("redis://:[redacted]@h:1/0")),
            ("mysql://u:p@ss@h/db", Some("mysql://u:[redacted]@h/db")),
            ("mysql://u:p/w@h/db", Some("mysql://u:[redacted]@h/db")),
            ("ip=1 password=pw dbname=2", Some("ip=1 password=[redacted] dbname=2")),
            ("https://host/path", None),
            ("127.0.0.1:80", None),
        ];
        for (text, clean) in cases {
            assert_eq!(without_password(text).as_deref(), clean, "{text}");
        }
    }

    #[test]
    fn flags_stand_over_the_file_and_beside_it() {
        let mut shown =
            Shown::of("[listen]\naddresses = [\"0.0.0.0:1\"]\n[peers]\ndeny = [\"10.0.0.0/8\"]");
        shown.put("listen.addresses", &[&"127.0.0.1:0".to_owned()]);
        shown.put("admin.listen", &[&"127.0.0.1:9641".to_owned()]);
        shown.add("peers.deny", None, Some("192.0.2.0/24"));
        let list = |texts: &[&str]| Value::Array(texts.iter().map(|&text| text.into()).collect());
        assert_eq!(of(&shown, "listen.addresses"), Some(list(&["127.0.0.1:0"])));
        assert_eq!(of(&shown, "admin.listen"), Some("127.0.0.1:9641".into()));
        assert_eq!(of(&shown, "peers.deny"), Some(list(&["10.0.0.0/8", "192.0.2.0/24"])));
    }
}
