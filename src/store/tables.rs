//! Users in a TOML file:
//!
//! ```toml
//! secrets = ["north"]          # of applications that mint ephemeral credentials
//!
//! [users]
//! alice = "wonderland"
//! bob = "0xbd32e5fa2a6e8fbaee9e9adae7dfba1f"
//! carol = { key_md5 = "…", key_sha256 = "…" }
//! ```

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::Users;
use super::lines::user;
use super::{Found, Proof, key_of};
use crate::auth::Secret;

/// What is wrong, and where.
type Wrong = (Range<usize>, String);

/// Reads the users of such a file.
///
/// # Errors
/// What is wrong first, with its line; nothing of the line is shown.
pub(super) fn read(text: &str) -> Result<Users, (usize, String)> {
    parse(text).map_err(|(span, what)| {
        let before = text.get(..span.start).unwrap_or(text);
        (before.matches('\n').count() + 1, what)
    })
}

fn parse(text: &str) -> Result<Users, Wrong> {
    let document = DeTable::parse(text).map_err(|error| {
        let words = error.message().lines().collect::<Vec<_>>().join(", ");
        (error.span().unwrap_or_default(), words)
    })?;
    let mut found = Users { users: HashMap::new(), secrets: Vec::new() };
    for (key, value) in document.get_ref() {
        match (&**key.get_ref(), value.get_ref()) {
            ("users", DeValue::Table(table)) => users(table, &mut found)?,
            ("secrets", DeValue::Array(items)) => {
                for item in items.iter() {
                    found.secrets.push(secret(item)?);
                }
            }
            ("users", _) => return Err((key.span(), "users must be a section".to_owned())),
            ("secrets", _) => return Err((key.span(), "secrets must be a list".to_owned())),
            (other, _) => {
                let what = format!("{other:?} is unknown here: there are users and secrets");
                return Err((key.span(), what));
            }
        }
    }
    Ok(found)
}

fn users(table: &DeTable<'_>, found: &mut Users) -> Result<(), Wrong> {
    for (name, value) in table {
        let wrong = |what: &str| (name.span(), what.to_owned());
        let (prepared, what) = match value.get_ref() {
            DeValue::String(password) => user(name.get_ref(), password).map_err(wrong)?,
            // The name is looked at with a password that is one.
            DeValue::Table(keys) => {
                (user(name.get_ref(), "x").map_err(wrong)?.0, self::keys(name.span(), keys)?)
            }
            _ => return Err(wrong("a user is a password in quotes, or a table with its keys")),
        };
        // OpaqueString makes one name of several.
        if found.users.insert(prepared, what).is_some() {
            return Err(wrong("this user is there twice"));
        }
    }
    Ok(())
}

fn keys(place: Range<usize>, table: &DeTable<'_>) -> Result<Found, Wrong> {
    let (mut md5, mut sha256) = (None, None);
    for (name, value) in table {
        let wrong = |what: &str| (name.span(), what.to_owned());
        let hex = value.get_ref().as_str();
        let hex = hex.ok_or_else(|| wrong("a key is hexadecimal digits in quotes"))?;
        match &**name.get_ref() {
            "key_md5" => {
                let key = key_of(hex);
                md5 = Some(key.ok_or_else(|| wrong("an MD5 key is 32 hexadecimal digits"))?);
            }
            "key_sha256" => {
                let key = key_of(hex);
                sha256 = Some(key.ok_or_else(|| wrong("a SHA-256 key is 64 hexadecimal digits"))?);
            }
            _ => return Err(wrong("a user's table has key_md5 and key_sha256 in it")),
        }
    }
    if md5.is_none() && sha256.is_none() {
        return Err((place, "a user without a key can never come in".to_owned()));
    }
    Ok(Found { proof: Proof::Keys { md5, sha256 }, keep: None })
}

fn secret(item: &Spanned<DeValue<'_>>) -> Result<Secret, Wrong> {
    let text = item.get_ref().as_str().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| (item.span(), "a secret is a string with something in it"));
    text.map(Secret::new).map_err(|(span, what)| (span, what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_keys_and_secrets_are_read() {
        let (md5, sha256) = ("ab".repeat(16), "CD".repeat(32));
        let text = format!(
            "secrets = [\"north\"]\n[users]\nalice = \"wonderland\"\nbob = \"0x{md5}\"\n\
             carol = {{ key_md5 = \"{md5}\", key_sha256 = \"{sha256}\" }}\n"
        );
        let Users { users, secrets } = read(&text).unwrap();
        assert_eq!(secrets, [Secret::new("north")]);
        assert_eq!(users["alice"], Found::password("wonderland"));
        assert_eq!(users["bob"], Found::hmackey(&md5).unwrap());
        let Proof::Keys { md5: Some(md5), sha256: Some(sha256) } = &users["carol"].proof else {
            panic!("carol has both keys");
        };
        assert_eq!((**md5, **sha256), ([0xAB; 16], [0xCD; 32]));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line() {
        for (text, line) in [
            ("[users]\nalice = 7", 2),
            ("\n[people]\n", 2),
            ("[users]\na = \"x\"\n\"\" = \"y\"", 3),
            ("[users]\na = { key_md5 = \"12\" }", 2),
            ("[users]\na = { key = \"12\" }", 2),
            ("[users]\n\na = {}", 3),
            ("secrets = [\"\"]", 1),
            ("[users]\na = 1 2", 2),
        ] {
            assert_eq!(read(text).err().map(|(line, _)| line), Some(line), "{text}");
        }
    }
}
