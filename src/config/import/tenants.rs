//! What lies in coturn's database besides users and shared secrets: realms with limits and peers of their own, the
//! origins that lead to them, and keys of access tokens. coturn reads them while it runs; here they are configured.
//!
//! A row is a line of coturn's file that has no number: what stands there about the default realm, or about every realm,
//! joins the lines of the file, and each other realm gets a page of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::facts::Facts;
use super::grammar::Line;
use super::options::Shape;
use super::page::Page;
use super::page::Weight::{Act, Lost, Same};
use super::{auth, limits, peers, token};
use crate::auth::{canonical_origin, prepare};
use crate::config::Config;
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
/// The options that stand there.
const LIMITS: [&str; 3] = ["max-bps", "total-quota", "user-quota"];
const ALLOWED: &str = "allowed_peer_ip";
const DENIED: &str = "denied_peer_ip";
const ORIGINS: &str = "turn_origin_to_realm";
const TOKENS: &str = "oauth_key";
const ADMINS: &str = "admin_user";

/// The realms of a database, as coturn would serve them by this file.
pub(super) struct Tenants<'t> {
    stock: &'t Stock,
    /// coturn's own realm, which everybody gets whom no origin leads elsewhere.
    default: Option<&'t str>,
    /// The others, each with the origins that lead there.
    others: BTreeMap<&'t str, Vec<&'t str>>,
    /// The realm that an origin in its one form leads to.
    ways: HashMap<String, &'t str>,
    /// Whether the realms of the database are served at all.
    dynamic: bool,
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
        let ways = ways(&stock.inventory);
        let dynamic = facts.all("no-dynamic-realms").is_empty();
        let tenants = Self { stock, default, others, ways, dynamic, by_file };
        tenants.ignored(facts, page);
        let ruled = facts.all("no-dynamic-ip-list").is_empty();
        if ruled {
            rules(&stock.inventory, "", facts);
        }
        let count = |facts: &Facts<'_>| {
            [&LIMITS[..], &["allowed-peer-ip"], &["denied-peer-ip"]]
                .map(|names| facts.all_of(names).len())
        };
        let before = count(facts);
        if dynamic && let Some(default) = default {
            options(&stock.inventory, default, facts);
        }
        if ruled && let Some(default) = default {
            rules(&stock.inventory, default, facts);
        }
        let more = count(facts);
        tenants.shared(std::array::from_fn(|at| more[at] > before[at]), page);
        tenants
    }

    /// Says what of the default realm's own (limits, peers that may be reached, peers that may not) counts for the
    /// other realms as well.
    fn shared(&self, [limits, allowed, denied]: [bool; 3], page: &mut Page) {
        if !self.others.iter().any(|(realm, origins)| self.serves(realm, origins)) {
            return;
        }
        if limits {
            let text = "what limits the default realm stands in [limits], and so counts for the other realms where \
                        their [realm.limits] do not say otherwise";
            page.note("limits", Act, &[&row(OPTIONS, "")], text);
        }
        if allowed {
            let text = "what the default realm may reach stands in [peers], and so counts for the other realms as \
                        well: deny it there if they shall not";
            page.note("peers", Act, &[&row(ALLOWED, "")], text);
        }
        if denied {
            let text = "what the default realm may not reach stands in [peers], and so is closed to the other realms \
                        as well, which cannot open it: take it out of peers.deny if they shall reach it";
            page.note("peers", Act, &[&row(DENIED, "")], text);
        }
    }

    /// Whether somebody can come in by the realm.
    fn serves(&self, realm: &str, origins: &[&str]) -> bool {
        prepared(realm, 127).is_some() && (!self.by_file || (self.dynamic && !origins.is_empty()))
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
        if self.by_file && !by_secret && !secrets.is_empty() {
            let text = "coturn takes no shared secret without use-auth-secret in its file; here everybody comes in \
                        who has one. Remove them from the database if they shall not";
            page.note("stores.ask", Act, &[&self::row(SECRETS, "")], text);
        }
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
        let mut written = BTreeSet::new();
        let own = facts.value("realm").filter(|realm| prepared(realm, 127).is_some());
        let own = own.map_or_else(|| Config::default().auth.realm, str::to_owned);
        let mut names = HashSet::from([prepare(&own).map(|name| name.into_owned())]);
        for (realm, origins) in &self.others {
            let from = row(if origins.is_empty() { USERS } else { ORIGINS }, "");
            if prepared(realm, 127).is_none() {
                let text = "a realm has 1 to 127 characters and no control characters: left out";
                page.note("auth", Act, &[&from], text);
                left = true;
            } else if !self.serves(realm, origins) {
                let text = format!(
                    "no origin leads to the realm {realm:?}, so nobody comes in by it at this coturn: left out. \
                     Another coturn may serve it; if it is to be served here, write a [[realm]] of that name"
                );
                page.note("auth", Act, &[&from], text);
            } else if !names.insert(prepare(realm).map(|name| name.into_owned())) {
                let text = format!(
                    "the realm {realm:?} is called as another is, or as that of [auth], which RFC 8265 holds for one \
                     name: left out"
                );
                page.note("auth", Act, &[&from], text);
                left = true;
            } else {
                written.insert(*realm);
                left |= self.realm(realm, origins, facts, page);
            }
        }
        left | self.strays(&written, facts, page)
    }

    /// Says which keys of access tokens are of a realm that is not written. True when one is left behind: coturn takes
    /// a token into the realm of its key by whatever way it comes.
    fn strays(&self, written: &BTreeSet<&str>, facts: &Facts<'t>, page: &mut Page) -> bool {
        let is_stray = |token: &&StockedToken| {
            let realm = &*token.realm;
            !realm.is_empty() && self.default != Some(realm) && !written.contains(realm)
        };
        let from = row(TOKENS, "");
        let strays: Vec<_> = self.stock.inventory.tokens.iter().filter(is_stray).collect();
        if !facts.on("oauth") {
            return !strays.is_empty() && self.no_tokens(page);
        }
        for token in &strays {
            let text = format!(
                "the key {:?} is of the realm {:?}, which is not written here: left out. Write it into \
                 [realm.tokens.keys] of a [[realm]] of that name if its tokens shall be taken",
                token.kid, token.realm
            );
            page.note("auth.tokens.keys", Act, &[&from], text);
        }
        !strays.is_empty()
    }

    /// Says that access tokens are not taken. True when that leaves somebody behind.
    fn no_tokens(&self, page: &mut Page) -> bool {
        let text = "coturn takes access tokens only with oauth in its file: the keys are left out. Write them into \
                    [auth.tokens.keys] if they shall be taken";
        let weight = if self.by_file { Same } else { Act };
        page.note("auth.tokens", weight, &[&row(TOKENS, "")], text);
        !self.by_file
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
        self.origins(realm, origins, page);
        // coturn holds those of its file for good in every realm.
        let secrets = facts.all("static-auth-secret");
        if !secrets.is_empty() {
            page.key("realm", "secrets", auth::values(&secrets), &secrets);
        }
        let mut own = Facts::default();
        options(inventory, realm, &mut own);
        if facts.all("no-dynamic-ip-list").is_empty() {
            rules(inventory, realm, &mut own);
        }
        limits::quotas(&own, page);
        limits::capacity_of_realm(&own, facts, page);
        peers::realm(&own, facts, page);
        let left = self.tokens(facts, Some(realm), page);
        page.close_realm();
        left
    }

    /// Writes the origins that lead to a realm, each once and in one form.
    fn origins(&self, realm: &'t str, origins: &[&'t str], page: &mut Page) {
        let (mut values, mut rows) = (BTreeSet::new(), Vec::new());
        for origin in origins {
            let row = row(ORIGINS, origin);
            let Some(value) = canonical_origin(origin) else {
                page.note("realm", Act, &[&row], "what stands there is no origin: left out");
                continue;
            };
            match self.ways.get(&value) {
                Some(other) if *other != realm => {
                    let text = format!(
                        "{value} leads to the realm {other:?} by another spelling, and to one realm only: left out"
                    );
                    page.note("realm", Act, &[&row], text);
                }
                _ => {
                    values.insert(value);
                    rows.push(row);
                }
            }
        }
        if !values.is_empty() {
            let values: Vec<String> = values.into_iter().collect();
            page.key("realm", "origins", values, &rows.iter().collect::<Vec<_>>());
        }
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
            return self.no_tokens(page);
        }
        let mut left = false;
        for token in tokens {
            match token::entry(token) {
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

/// The realm of each origin. coturn looks for an origin as `turnadmin` writes it, so a row of that form counts before
/// one with another spelling.
fn ways(inventory: &Inventory) -> HashMap<String, &str> {
    let mut ways = HashMap::new();
    let is_plain = |origin: &str| canonical_origin(origin).as_deref() == Some(origin);
    for plain in [true, false] {
        for (origin, to) in inventory.origins.iter().filter(|(it, _)| is_plain(it) == plain) {
            if let Some(origin) = canonical_origin(origin) {
                ways.entry(origin).or_insert(&**to);
            }
        }
    }
    ways
}

/// The limits of a realm, as lines with coturn's options.
fn options<'t>(inventory: &'t Inventory, realm: &str, facts: &mut Facts<'t>) {
    for [of, option, value] in &inventory.options {
        let known = LIMITS.into_iter().find(|it| it == option);
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
