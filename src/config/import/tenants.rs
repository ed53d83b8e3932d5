//! What lies in coturn's database besides users and shared secrets: realms with limits and peers of their own, the
//! origins that lead to them, and keys of access tokens. coturn reads them while it runs; here they are configured.
//!
//! A row is a line of coturn's file that has no number: what stands there about the default realm, or about every realm,
//! joins the lines of the file, and each other realm gets a page of its own.

use std::collections::{BTreeMap, BTreeSet};

use toml::value::Datetime;
use toml::{Table, Value};

use super::facts::Facts;
use super::grammar::Line;
use super::options::Shape;
use super::page::Page;
use super::page::Weight::{Act, Lost, Same};
use super::{limits, peers};
use crate::auth::{TokenAlgorithm, TokenKey, canonical_origin, decode_base64, prepare};
use crate::store::{Inventory, Settings, Stocked, StockedToken};

/// A database of coturn's, as it was read.
#[derive(Clone, Debug)]
pub struct Stock {
    /// Where it is.
    pub settings: Settings,
    /// What stands in it.
    pub inventory: Inventory,
}

/// Its tables as they are called in notes.
const USERS: &str = "turnusers_lt";
const SECRETS: &str = "turn_secret";
const OPTIONS: &str = "turn_realm_option";
const ALLOWED: &str = "allowed_peer_ip";
const DENIED: &str = "denied_peer_ip";
const ORIGINS: &str = "turn_origin_to_realm";
const TOKENS: &str = "oauth_key";
const ADMINS: &str = "admin_user";

/// Days from the year 0 (beginning in March) to 1970.
const EPOCH: u64 = 719_468;
/// The end of the year 9999: the last that TOML can write.
const LAST: u64 = 253_402_300_799;

/// The realms of a database, as coturn would serve them by this file.
pub(super) struct Tenants<'t> {
    stock: &'t Stock,
    /// coturn's own realm, which everybody gets whom no origin leads elsewhere.
    default: Option<&'t str>,
    /// The others, each with the origins that lead there.
    others: BTreeMap<&'t str, Vec<&'t str>>,
    /// Whether there is a file of coturn's that says how the database is read.
    by_file: bool,
}

impl<'t> Tenants<'t> {
    /// The database.
    pub(super) const fn stock(&self) -> &Stock {
        self.stock
    }

    /// Sorts them, and adds to the facts what is about the default realm.
    pub(super) fn of(stock: &'t Stock, facts: &mut Facts<'t>, page: &mut Page) -> Self {
        let by_file = !facts.has_no_file();
        let realms = realms(&stock.inventory);
        let default = facts.value("realm").or_else(|| sole(&realms, facts, page));
        let mut others = BTreeMap::new();
        for realm in realms.iter().filter(|realm| default != Some(**realm)) {
            let origins = stock.inventory.origins.iter().filter(|(_, to)| to == realm);
            others.insert(*realm, origins.map(|(origin, _)| &**origin).collect());
        }
        let tenants = Self { stock, default, others, by_file };
        tenants.ignored(facts, page);
        let limited = facts.all("no-dynamic-realms").is_empty();
        let ruled = facts.all("no-dynamic-ip-list").is_empty();
        if limited && let Some(default) = default {
            options(&stock.inventory, default, facts);
        }
        if ruled {
            rules(&stock.inventory, "", facts);
            let before = facts.all("allowed-peer-ip").len();
            if let Some(default) = default {
                rules(&stock.inventory, default, facts);
            }
            if !tenants.others.is_empty() && facts.all("allowed-peer-ip").len() > before {
                let text = "what the default realm may reach stands in [peers], and so counts for the other realms as \
                            well: deny it there if they shall not";
                page.note("peers", Act, &[&row(ALLOWED, "")], text);
            }
        }
        tenants
    }

    /// What coturn does not look at by its own word.
    fn ignored(&self, facts: &Facts<'t>, page: &mut Page) {
        let text = "coturn does not look at these tables, so nothing is taken of them";
        let realms = facts.all("no-dynamic-realms");
        if !realms.is_empty() {
            page.note("auth", Same, &realms, text);
        }
        let peers = facts.all("no-dynamic-ip-list");
        if !peers.is_empty() {
            page.note("peers", Same, &peers, text);
        }
    }

    /// Says who is in it, and what of it is nobody's. True when somebody whom coturn lets in is left behind.
    pub(super) fn people(&self, by_secret: bool, page: &mut Page) -> bool {
        let Inventory { users, secrets, admins, unread, .. } = &self.stock.inventory;
        let row = [row(USERS, "")];
        let text = format!(
            "{} and {} are asked for there as they are, and stay there: it is asked again and again",
            count(users.len(), "user"),
            count(secrets.len(), "shared secret"),
        );
        page.note("stores.ask", Same, &[&row[0], &self::row(SECRETS, "")], text);
        if by_secret && !users.is_empty() {
            let text = "coturn lets no user in by a password when there are shared secrets; here both come in. \
                        Remove the users from the database if they shall not";
            page.note("stores.ask", Act, &[&row[0]], text);
        }
        let left = self.unfit(page);
        for (table, error) in unread {
            page.note("stores.ask", Act, &[&self::row(table, "")], format!("not read: it {error}"));
        }
        if !admins.is_empty() {
            let text = "users of coturn's web page: in its place there are turnwire status, sessions and users, and \
                        an API with a token (admin.listen)";
            page.note("stores.ask", Lost, &[&self::row(ADMINS, "")], text);
        }
        left || !unread.is_empty()
    }

    /// Users whom nobody can be here.
    fn unfit(&self, page: &mut Page) -> bool {
        let users = &self.stock.inventory.users;
        let nobody = |user: &&Stocked| prepared(&user.name, 508).is_none();
        let (keyless, nameless) =
            (users.iter().filter(|user| !user.usable), users.iter().filter(nobody));
        let homeless = users.iter().filter(|user| user.realm.is_empty()).count()
            + self.stock.inventory.secrets.iter().filter(|realm| realm.is_empty()).count();
        let (keyless, nameless) = (keyless.count(), nameless.count());
        let from = [&row(USERS, "")];
        if keyless > 0 {
            let text = format!(
                "{} without a key of 32 hexadecimal digits, who can come in neither there nor here",
                count(keyless, "user")
            );
            page.note("stores.ask", Lost, &from, text);
        }
        if nameless > 0 {
            let text = format!(
                "{} with a name that RFC 8265 forbids, or of more than 508 bytes: nobody can come by it",
                count(nameless, "user")
            );
            page.note("stores.ask", Act, &from, text);
        }
        if homeless > 0 {
            let text = format!(
                "{} of the empty realm, which no realm here can be: their keys were made for it, so they need new \
                 passwords",
                count(homeless, "user or secret")
            );
            page.note("stores.ask", Act, &from, text);
        }
        nameless + homeless > 0
    }

    /// Writes the other realms. True when somebody is left behind.
    pub(super) fn realms(&self, facts: &Facts<'t>, page: &mut Page) -> bool {
        let mut left = false;
        let dynamic = facts.all("no-dynamic-realms").is_empty();
        for (realm, origins) in &self.others {
            let from = row(if origins.is_empty() { USERS } else { ORIGINS }, "");
            if prepared(realm, 127).is_none() {
                let text = "a realm has 1 to 127 characters and no control characters: left out";
                page.note("auth", Act, &[&from], text);
                left = true;
            } else if self.by_file && (origins.is_empty() || !dynamic) {
                let text = format!(
                    "no origin leads to the realm {realm:?}, so nobody comes in by it at this coturn: left out. \
                     Another coturn may serve it; if it is to be served here, write a [[realm]] of that name"
                );
                page.note("auth", Act, &[&from], text);
            } else {
                left |= self.realm(realm, origins, facts, page);
            }
        }
        left
    }

    fn realm(
        &self,
        realm: &'t str,
        origins: &[&'t str],
        facts: &Facts<'t>,
        page: &mut Page,
    ) -> bool {
        page.open_realm();
        let inventory = &self.stock.inventory;
        let own = [row(USERS, ""), row(SECRETS, "")];
        page.key("realm", "name", realm, &[&own[0], &own[1]]);
        let of =
            |realms: &mut dyn Iterator<Item = &String>| realms.filter(|of| *of == realm).count();
        let users = of(&mut inventory.users.iter().map(|user| &user.realm));
        let secrets = of(&mut inventory.secrets.iter());
        let text = format!("{}, {}", count(users, "user"), count(secrets, "shared secret"));
        page.note("realm", Same, &[&own[0]], text);
        let rows: Vec<Line<'_>> = origins.iter().map(|origin| row(ORIGINS, origin)).collect();
        let (fit, unfit): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| canonical_origin(row.value).is_some());
        if !unfit.is_empty() {
            page.note("realm", Act, &unfit, "what stands there is no origin: left out");
        }
        if !fit.is_empty() {
            let values: Vec<&str> = fit.iter().map(|row| row.value).collect();
            page.key("realm", "origins", values, &fit);
        }
        let mut own = Facts::default();
        options(inventory, realm, &mut own);
        if facts.all("no-dynamic-ip-list").is_empty() {
            rules(inventory, realm, &mut own);
        }
        limits::quotas(&own, page);
        peers::realm(&own, facts, page);
        let left = self.tokens(facts, Some(realm), page);
        page.close_realm();
        left
    }

    /// Writes the keys of access tokens, of a realm or of the default one. True when one is left behind.
    pub(super) fn tokens(&self, facts: &Facts<'t>, realm: Option<&str>, page: &mut Page) -> bool {
        let is_own = |token: &&StockedToken| match realm {
            Some(realm) => token.realm == realm,
            None => token.realm.is_empty() || self.default == Some(&*token.realm),
        };
        let tokens: Vec<_> = self.stock.inventory.tokens.iter().filter(is_own).collect();
        let from = row(TOKENS, "");
        if tokens.is_empty() {
            return false;
        }
        if !facts.on("oauth") {
            let text = "coturn takes access tokens only with oauth in its file: the keys are left out. Write them \
                        into [auth.tokens.keys] if they shall be taken";
            page.note("auth.tokens", if self.by_file { Same } else { Act }, &[&from], text);
            return !self.by_file;
        }
        let mut left = false;
        for token in tokens {
            match entry(token) {
                Ok(entry) => page.key("auth.tokens.keys", &token.kid, entry, &[&from]),
                Err(why) => {
                    page.note("auth.tokens.keys", Act, &[&from], why);
                    left = true;
                }
            }
        }
        left
    }
}

/// The realm that counts where coturn's file has none: the only one in the database.
fn sole<'t>(realms: &BTreeSet<&'t str>, facts: &mut Facts<'t>, page: &mut Page) -> Option<&'t str> {
    let fit = || realms.iter().filter(|realm| prepared(realm, 127).is_some());
    let (first, second) = (fit().next(), fit().nth(1));
    match (first, second) {
        (Some(realm), None) => {
            facts.row("realm", Shape::Value, row(USERS, realm));
            Some(realm)
        }
        (Some(_), Some(_)) => {
            let text = "there are several realms, and the file of coturn's that says which is asked of \
                        everybody does not name one: write it into auth.realm, and take its [[realm]] out";
            page.note("auth", Act, &[&row(USERS, "")], text);
            None
        }
        _ => None,
    }
}

/// All that have something in the database, but for the empty one.
fn realms(inventory: &Inventory) -> BTreeSet<&str> {
    let Inventory { users, secrets, allowed, denied, options, origins, .. } = inventory;
    let users = users.iter().map(|user| &user.realm);
    let rules = allowed.iter().chain(denied).map(|(realm, _)| realm);
    let others = options.iter().map(|[realm, ..]| realm).chain(origins.iter().map(|(_, to)| to));
    let all = users.chain(secrets).chain(rules).chain(others).map(String::as_str);
    all.filter(|realm| !realm.is_empty()).collect()
}

/// The limits of a realm, as lines with coturn's options.
fn options<'t>(inventory: &'t Inventory, realm: &str, facts: &mut Facts<'t>) {
    for [of, option, value] in &inventory.options {
        let known = ["max-bps", "total-quota", "user-quota"].into_iter().find(|it| it == option);
        if let Some(option) = known.filter(|_| of == realm) {
            facts.row(option, Shape::Value, row(OPTIONS, value));
        }
    }
}

/// The peers of a realm, in the same way.
fn rules<'t>(inventory: &'t Inventory, realm: &str, facts: &mut Facts<'t>) {
    let own = |(of, _): &&(String, String)| of == realm;
    for (_, range) in inventory.allowed.iter().filter(own) {
        facts.row("allowed-peer-ip", Shape::List, row(ALLOWED, range));
    }
    for (_, range) in inventory.denied.iter().filter(own) {
        facts.row("denied-peer-ip", Shape::List, row(DENIED, range));
    }
}

/// A key of an access token, as a configuration has it.
fn entry(token: &StockedToken) -> Result<Table, String> {
    let kid = &token.kid;
    let fine = (1..=508).contains(&kid.len()) && !kid.chars().any(char::is_control);
    let (algorithm, word) = match &*token.algorithm.to_ascii_uppercase() {
        "" | "A256GCM" => (TokenAlgorithm::A256Gcm, "A256GCM"),
        "A128GCM" => (TokenAlgorithm::A128Gcm, "A128GCM"),
        _ => return Err("an algorithm that is none of RFC 7635's: the key is left out".to_owned()),
    };
    let bytes = decode_base64(token.key.expose().as_bytes());
    let key = bytes.and_then(|bytes| TokenKey::new(kid, algorithm, &bytes)).filter(|_| fine);
    if key.is_none() {
        let needed = algorithm.key_length();
        return Err(format!("a key that is not {needed} bytes in base64 with a kid: left out"));
    }
    let mut entry = Table::new();
    entry.insert("key".to_owned(), token.key.expose().into());
    entry.insert("algorithm".to_owned(), word.into());
    if token.lifetime > 0 {
        let until = date(token.timestamp.saturating_add(token.lifetime));
        entry.extend(until.map(|until| ("valid_until".to_owned(), Value::Datetime(until))));
    }
    Ok(entry)
}

/// Seconds since 1970 as TOML writes them.
fn date(unix: u64) -> Option<Datetime> {
    let unix = unix.min(LAST);
    let (day, time) = (unix / 86400 + EPOCH, unix % 86400);
    // Eras of 400 years, which begin in March, so that the day that some years have more is their last.
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, after) = (day - (153 * month + 2) / 5 + 1, month >= 10);
    let (year, month) =
        (era * 400 + year + u64::from(after), if after { month - 9 } else { month + 3 });
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z").parse().ok()
}

/// A row as a line: it has no number.
const fn row<'t>(table: &'t str, value: &'t str) -> Line<'t> {
    Line { number: 0, name: table, value, doubt: None }
}

/// A name as it is prepared, if somebody can have it.
fn prepared(text: &str, most: usize) -> Option<()> {
    prepare(text).filter(|text| (1..=most).contains(&text.len())).map(drop)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(date(unix).unwrap().to_string(), text);
        }
    }
}
