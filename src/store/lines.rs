//! Users on the lines of a plain file: `NAME:PASSWORD`, `NAME:0xMD5KEY`, or the same as coturn's
//! configuration has it, `user=NAME:PASSWORD`.

use std::collections::HashMap;

use super::Found;
use super::file::Users;
use crate::auth::prepare;

/// Reads the users of such a file.
///
/// # Errors
/// What is wrong first, with its line; nothing of the line is shown.
pub(super) fn read(text: &str) -> Result<Users, (usize, String)> {
    let mut users = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.trim_end().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, found) = one(line).map_err(|wrong| (number + 1, wrong.to_owned()))?;
        if users.insert(name, found).is_some() {
            return Err((number + 1, "the user of this line is there twice".to_owned()));
        }
    }
    Ok(Users { users, secrets: Vec::new() })
}

fn one(line: &str) -> Result<(Box<str>, Found), &'static str> {
    let entry = line.strip_prefix("user").map_or(line, |rest| {
        // A user may be called "user" as well.
        rest.trim_start().strip_prefix('=').map_or(line, str::trim_start)
    });
    let (name, password) = entry
        .split_once(':')
        .ok_or("there is no colon on this line: write NAME:PASSWORD or NAME:0xKEY")?;
    user(name, password)
}

/// A user by name and password, or by name and `0x` with the hexadecimal digits of an MD5 key.
pub(super) fn user(name: &str, password: &str) -> Result<(Box<str>, Found), &'static str> {
    let name = prepare(name)
        .filter(|name| name.len() <= 508)
        .ok_or("a user name must have 1 to 508 bytes and no control characters")?;
    let found = match password.strip_prefix("0x") {
        Some(hex) => Found::hmackey(hex.trim_end())
            .ok_or("an MD5 key is 0x and 32 hexadecimal digits: md5(NAME:REALM:PASSWORD)")?,
        None if prepare(password).is_none() => {
            return Err("a password must not be empty and have no control characters");
        }
        None => Found::password(password),
    };
    Ok((name.into(), found))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0xbd32e5fa2a6e8fbaee9e9adae7dfba1f";

    #[test]
    fn names_and_passwords_and_keys_are_read() {
        let text = format!(
            "# who may come in\n\nalice:wonder:land \nuser=bob:{KEY}\n  user = carol:x\nuser:secret\r\n"
        );
        let users = read(&text).unwrap().users;
        // Whatever stands behind the colon is the password, blanks as well.
        assert_eq!(users["alice"], Found::password("wonder:land "));
        assert_eq!(users["bob"], Found::hmackey(&KEY[2..]).unwrap());
        assert_eq!(users["carol"], Found::password("x"));
        assert_eq!(users["user"], Found::password("secret"));
        assert_eq!(users.len(), 4);
    }

    #[test]
    fn a_line_that_is_none_is_named_without_its_words() {
        let twice = "a:x\na:y";
        for (text, line) in [
            ("alice", 1),
            ("a:x\n\n:y", 3),
            ("a:", 1),
            ("a:0x12", 1),
            (twice, 2),
            ("#\nb\u{7}b:y", 2),
        ] {
            let (found, wrong) = read(text).err().unwrap();
            assert_eq!(found, line, "{text}");
            assert!(!wrong.contains("alice") && !wrong.contains("0x12"), "{wrong}");
        }
    }
}
