//! Who may come in.

use std::collections::HashSet;

use toml::Table;

use super::databases::{self, DATABASES, Fate};
use super::facts::{Facts, OFF};
use super::grammar::Line;
use super::page::Page;
use super::page::Weight::{Act, Lost, Same};
use super::tenants::Tenants;
use crate::auth::prepare;

/// Writes users, secrets and what belongs to them. Says whether somebody whom coturn let in is not
/// taken along.
pub(super) fn auth<'t>(
    facts: &Facts<'t>,
    tenants: Option<&Tenants<'t>>,
    keys: &mut Keys<'_>,
    page: &mut Page,
) -> bool {
    realm(facts, page);
    separator(facts, page);
    nonces(facts, page);
    if facts.on("stun-only") {
        stun_only(facts, page);
        return false;
    }
    if !facts.all("stun-only").is_empty() {
        page.note("auth", Same, &facts.all("stun-only"), OFF);
    }
    let by_secret = facts.on("use-auth-secret") || facts.value("static-auth-secret").is_some();
    let database = databases::databases(facts, tenants.map(Tenants::stock), page);
    let mut left = tokens(facts, tenants, page) | (database == Fate::Left);
    match tenants {
        Some(tenants) => left |= tenants.people(by_secret, page) | tenants.realms(facts, page),
        None => unread(facts, page),
    }
    let has_users = if by_secret {
        left |= secrets(facts, database, page);
        false
    } else {
        let (has_users, left_users) = users(facts, keys, page);
        left |= left_users;
        has_users
    };
    left | mechanism(facts, by_secret, has_users, database, page)
}

fn realm(facts: &Facts<'_>, page: &mut Page) {
    let from = facts.all("realm");
    match facts.value("realm") {
        Some(realm) if is_realm(realm) => page.key("auth", "realm", realm, &from),
        Some(_) => {
            let text = "a realm has 1 to 127 characters and no control characters: left out";
            page.note("auth", Act, &from, text);
        }
        None => {
            let text = "There is no realm in coturn's file, so it was this host's domain, or \
                        none: here it is \"turnwire\". Clients do not mind.";
            page.note("auth", Same, &[], text);
        }
    }
}

fn is_realm(text: &str) -> bool {
    prepare(text).is_some_and(|it| it.chars().count() <= 127)
}

fn separator(facts: &Facts<'_>, page: &mut Page) {
    let from = facts.all("rest-api-separator");
    match facts.value("rest-api-separator").and_then(|value| value.chars().next()) {
        Some(c) if !c.is_ascii_digit() && !c.is_control() => {
            page.key("auth", "separator", c.to_string(), &from);
        }
        Some(_) => page.note("auth", Act, &from, "a digit cannot separate: \":\" is taken"),
        None => {}
    }
}

fn nonces(facts: &Facts<'_>, page: &mut Page) {
    let from = facts.all("stale-nonce");
    let seconds = match facts.value("stale-nonce") {
        None => return,
        Some("") => 600,
        Some(_) => facts.number("stale-nonce", page).unwrap_or(600),
    };
    let kept = if seconds == 0 { 86400 } else { seconds.clamp(10, 86400) };
    if kept != seconds {
        page.note("auth", Same, &from, "a nonce is good for 10 seconds to a day, never for ever");
    }
    page.key("auth", "nonce_lifetime", kept as i64, &from);
}

/// Without credentials that anybody has, nobody gets a relay.
fn stun_only(facts: &Facts<'_>, page: &mut Page) {
    let text = "there is no switch against TURN, but nobody gets a relay without credentials: no \
                user and no secret is taken along, and nobody knows the secret that is made";
    let names = ["stun-only", "user", "static-auth-secret", "lt-cred-mech", "use-auth-secret"];
    let rest = ["no-auth", "oauth", "server-name", "no-dynamic-ip-list", "no-dynamic-realms"];
    let from = [facts.all_of(&names), facts.all_of(&rest), facts.all_of(&DATABASES)].concat();
    page.note("auth", Same, &from, text);
}

fn secrets(facts: &Facts<'_>, database: Fate, page: &mut Page) -> bool {
    let from = facts.all("static-auth-secret");
    if !from.is_empty() {
        page.key("auth", "secrets", values(&from), &from);
    }
    let users = facts.all("user");
    if !users.is_empty() {
        let text = "coturn lets no user in by a password when there are shared secrets, so they \
                    are left out. Here both work side by side: write them into [auth.users] if \
                    they shall come in";
        page.note("auth.users", Lost, &users, text);
    }
    let switch = facts.all("use-auth-secret");
    if !from.is_empty() {
        if !switch.is_empty() {
            page.note("auth", Same, &switch, "auth.secrets says so");
        }
        return false;
    }
    let asked = match database {
        Fate::None => databases::own(&switch, page),
        other => other,
    };
    if asked == Fate::Asked {
        page.note("auth", Same, &switch, "the secrets are asked for in coturn's database");
    } else {
        let text = "coturn has the shared secrets in its database: they are not taken along. List \
                    them with turnadmin -S and write them into auth.secrets";
        page.note("auth", Act, &switch, text);
    }
    asked != Fate::Asked
}

/// What stands in the lines, each once where it stands there twice in a row.
pub(super) fn values<'t>(lines: &[&Line<'t>]) -> Vec<&'t str> {
    let mut values: Vec<&str> = lines.iter().map(|line| line.value).collect();
    values.dedup();
    values
}

/// Whether there are users, and whether one of them is left behind.
fn users(facts: &Facts<'_>, keys: &mut Keys<'_>, page: &mut Page) -> (bool, bool) {
    let (mut found, mut names, mut left) = (Vec::new(), HashSet::new(), false);
    // From the last one on: it counts where a name is there twice.
    for line in facts.all("user").into_iter().rev() {
        match user(line.value) {
            Ok((name, _)) if !names.insert(prepare(name)) => {
                page.note("auth.users", Same, &[line], "a later line has the same user");
            }
            Ok((name, password)) => found.push((name, password, line)),
            Err(why) => {
                left = true;
                page.note("auth.users", Act, &[line], why);
            }
        }
    }
    found.reverse();
    let (by_key, found): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(_, password, _)| password.starts_with("0x"));
    for (name, password, line) in &found {
        page.key("auth.users", name, *password, &[line]);
    }
    let kept = keys.take(facts, &by_key, page);
    (!found.is_empty() || (kept && !by_key.is_empty()), left || !kept)
}

fn user(value: &str) -> Result<(&str, &str), &'static str> {
    let form = "that is not NAME:PASSWORD: left out";
    let (name, password) = value.split_once(':').ok_or(form)?;
    let password = password.trim_start_matches([' ', '\t']);
    if name.is_empty() || password.is_empty() {
        return Err(form);
    }
    let digits = password.strip_prefix("0x");
    if digits.is_some_and(|it| it.len() != 32 || !it.bytes().all(|it| it.is_ascii_hexdigit())) {
        return Err("that is not an MD5 key: 0x and 32 hexadecimal digits. The user is left out");
    }
    if name.len() > 508 || prepare(name).is_none_or(|name| name.len() > 508) {
        return Err("a name has 1 to 508 bytes and no control characters: left out");
    }
    if prepare(password).is_none() {
        return Err("there are characters in the password that RFC 8265 forbids: left out");
    }
    Ok((name, password))
}

/// Users without a password, known by the MD5 key of one realm: they go into a file of their own, which is asked as a
/// store.
pub(super) struct Keys<'p> {
    /// What the file is to be called, beside the configuration; nobody has a place for it when absent.
    pub(super) file: Option<&'p str>,
    /// What is to stand there.
    pub(super) text: Option<String>,
}

impl Keys<'_> {
    /// Takes them; whether that could be done.
    fn take(
        &mut self,
        facts: &Facts<'_>,
        users: &[(&str, &str, &Line<'_>)],
        page: &mut Page,
    ) -> bool {
        if users.is_empty() {
            return true;
        }
        let from: Vec<&Line<'_>> = users.iter().map(|(.., line)| *line).collect();
        let realm = facts.value("realm").filter(|it| is_realm(it));
        let (Some(file), Some(realm)) = (self.file, realm) else {
            let text = if realm.is_none() {
                "only an MD5 key is there (0x...), made for a realm that this file does not name: write the line \
                 realm=... into it and import again, or NAME = \"PASSWORD\" into [auth.users]"
            } else {
                "only an MD5 key is there (0x...), which is kept in a file beside the configuration: import again \
                 with --output, or write NAME = \"PASSWORD\" into [auth.users]"
            };
            page.note("auth.users", Act, &from, text);
            return false;
        };
        let mut entry = Table::new();
        for (key, value) in [("kind", "file"), ("path", file), ("realm", realm)] {
            entry.insert(key.to_owned(), value.into());
        }
        page.key("stores.ask", "coturn_users", entry, &from);
        let text = "only their MD5 keys are there, which cannot be turned into passwords: they are in the file of \
                    this store, and come in without SHA-256. A line NAME:PASSWORD there makes one whole";
        page.note("stores.ask", Same, &from, text);
        let line = |(name, key, _): &(&str, &str, _)| format!("user={name}:{key}\n");
        let head = "# Users from coturn's file who are known by their MD5 keys: as good as their passwords.\n";
        self.text = Some(head.to_owned() + &users.iter().map(line).collect::<String>());
        true
    }
}

/// What says how coturn reads its database, which was not read.
fn unread(facts: &Facts<'_>, page: &mut Page) {
    let from = facts.all_of(&["no-dynamic-ip-list", "no-dynamic-realms"]);
    if !from.is_empty() {
        let text = "it is about how coturn reads its database: [stores] says here which are asked, and for how long \
                    answers are remembered";
        page.note("auth", Same, &from, text);
    }
}

fn tokens<'t>(facts: &Facts<'t>, tenants: Option<&Tenants<'t>>, page: &mut Page) -> bool {
    let from = facts.all("oauth");
    let name = facts.all("server-name");
    let usable = |text: &&str| text.len() <= 255;
    if let Some(server) = facts.value("server-name").filter(usable).filter(|_| facts.on("oauth")) {
        page.key("auth.tokens", "server_name", server, &name);
    } else if !name.is_empty() {
        page.note("auth.tokens", Same, &name, "it is of use with access tokens only");
    }
    if let Some(tenants) = tenants {
        let text = if facts.on("oauth") { "its keys are taken from the database" } else { OFF };
        if !from.is_empty() {
            page.note("auth.tokens", Same, &from, text);
        }
        return tenants.tokens(facts, None, page);
    }
    if facts.on("oauth") {
        let text = "the keys of access tokens are in coturn's database (oauth_key): they are not \
                    taken along. Import again with --database, or write them into [auth.tokens.keys]";
        page.note("auth.tokens", Act, &from, text);
    } else if !from.is_empty() {
        page.note("auth.tokens", Same, &from, OFF);
    }
    facts.on("oauth")
}

/// What there is for those who have nothing to show, and for users who are in the default database.
fn mechanism(
    facts: &Facts<'_>,
    by_secret: bool,
    has_users: bool,
    database: Fate,
    page: &mut Page,
) -> bool {
    let from = facts.all("lt-cred-mech");
    // A database alone says nothing of the file.
    let told = facts.on("lt-cred-mech") || (facts.has_no_file() && database == Fate::Asked);
    let open = !by_secret && facts.all("user").is_empty() && !told;
    let no_auth = facts.all("no-auth");
    if open && !facts.on("oauth") {
        let text = "coturn relays for everybody without credentials: such an open relay is used \
                    for attacks within hours, and is never made here. Without a user and a secret \
                    a secret is made at start, and credentials are printed to try it with";
        page.note("auth", Act, &[no_auth, from].concat(), text);
        return false;
    }
    if !no_auth.is_empty() {
        page.note("auth", Same, &no_auth, "there are credentials: they are asked for");
    }
    let hidden = facts.on("lt-cred-mech") && !by_secret && !has_users && database == Fate::None;
    if hidden && facts.all("user").is_empty() {
        return databases::own(&from, page) == Fate::Left;
    }
    if !from.is_empty() {
        page.note("auth", Same, &from, "credentials are always asked for");
    }
    false
}
