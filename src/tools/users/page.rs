//! What is printed.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use crate::auth::Secret;
use crate::store::{Entry, Listed};
use crate::text::printable;

/// Characters of a secret that tell it from others and are no use to anybody.
const START: usize = 4;

pub(super) fn added(entry: &Entry, changed: bool, made: Option<&Secret>) -> String {
    let (name, realm) = (entry.name(), entry.realm());
    let mut text = if changed {
        format!("{name:?} of realm {realm:?} has a new password\n")
    } else {
        format!("added {name:?} to realm {realm:?}\n")
    };
    if let Some(password) = made {
        // Writing to a string does not fail.
        let _ = writeln!(text, "password: {}", password.expose());
    }
    text
}

/// With what is to be said about a database that has just been made.
pub(super) fn with_news(text: String, made: Option<&Path>) -> String {
    match made {
        Some(path) => format!(
            "{text}made {}: a server that runs already looks there after `turnwire reload`\n",
            path.display()
        ),
        None => text,
    }
}

pub(super) fn removed(entry: &Entry) -> String {
    format!("removed {:?} from realm {:?}\n", entry.name(), entry.realm())
}

pub(super) fn secret_added(realm: &str, new: bool, made: Option<&Secret>) -> String {
    let mut text = match new {
        true => format!("added a secret to realm {realm:?}\n"),
        false => format!("realm {realm:?} has had that secret before\n"),
    };
    if let Some(secret) = made {
        let _ = writeln!(text, "secret: {}", secret.expose());
    }
    text
}

pub(super) fn users(users: &[Listed], json: bool) -> String {
    if json {
        let row = |user: &Listed| json!({ "realm": user.realm, "name": user.name, "sha256": user.sha256 });
        return format!("{}\n", json!(users.iter().map(row).collect::<Vec<_>>()));
    }
    // Other programs write into the database as well.
    let rows: Vec<_> = users
        .iter()
        .map(|user| {
            let keys = if user.sha256 { "MD5, SHA-256" } else { "MD5" };
            [printable(&user.name), printable(&user.realm), keys.to_owned()]
        })
        .collect();
    table(["USER", "REALM", "KEYS"], &rows)
}

pub(super) fn secrets(realm: &str, secrets: &[Secret], show: bool, json: bool) -> String {
    let word = |secret: &Secret| match show {
        true => secret.expose().to_owned(),
        // Of a short one nothing: its start would be most of it.
        false if secret.expose().chars().count() < 4 * START => "…".to_owned(),
        false => secret.expose().chars().take(START).chain(['…']).collect(),
    };
    if json {
        let row = |secret: &Secret| json!({ "realm": realm, "secret": word(secret) });
        return format!("{}\n", json!(secrets.iter().map(row).collect::<Vec<_>>()));
    }
    let rows: Vec<_> =
        secrets.iter().map(|secret| [printable(&word(secret)), printable(realm)]).collect();
    table(["SECRET", "REALM"], &rows)
}

fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    });
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    let body = rows.iter().map(|row| line(std::array::from_fn(|column| row[column].as_str())));
    std::iter::once(line(head)).chain(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, sha256: bool) -> Listed {
        Listed { realm: "north.gov".to_owned(), name: name.to_owned(), sha256 }
    }

    #[test]
    fn users_stand_in_columns_and_no_name_moves_the_cursor() {
        let users = [listed("gorst", true), listed("a\u{1b}[2Jb", false)];
        assert_eq!(
            super::users(&users, false),
            "USER         REALM      KEYS\n\
             gorst        north.gov  MD5, SHA-256\n\
             a\\u{1b}[2Jb  north.gov  MD5\n"
        );
        let json = super::users(&users[..1], true);
        assert_eq!(json, "[{\"name\":\"gorst\",\"realm\":\"north.gov\",\"sha256\":true}]\n");
    }

    #[test]
    fn of_a_secret_only_the_start_is_shown_unless_asked_for() {
        let secrets = [Secret::new("0123456789abcdefgh"), Secret::new("short")];
        assert_eq!(
            super::secrets("r", &secrets, false, false),
            "SECRET  REALM\n0123…   r\n…       r\n"
        );
        assert!(super::secrets("r", &secrets, true, false).contains("short"));
    }
}
