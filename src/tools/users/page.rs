//! What is printed.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use crate::auth::Secret;
use crate::store::{Entry, Listed};
use crate::text::printable;
use crate::tools::admin::table::table;

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

/// With what is to be said about a database that has just been made, the server's `own` one or another.
pub(super) fn with_news(text: String, made: Option<&Path>, own: bool) -> String {
    let Some(path) = made.map(Path::display) else { return text };
    match own {
        true => format!(
            "{text}made {path}: a server that runs already looks there after `turnwire reload`\n"
        ),
        false => format!("{text}made {path}\n"),
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
            vec![printable(&user.name), printable(&user.realm), keys.to_owned()]
        })
        .collect();
    table(&["USER", "REALM", "KEYS"], &[false; 3], &rows)
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
        secrets.iter().map(|secret| vec![printable(&word(secret)), printable(realm)]).collect();
    table(&["SECRET", "REALM"], &[false; 2], &rows)
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
