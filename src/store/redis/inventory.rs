//! All of coturn's keys, found by looking through every key that begins like them.

use std::collections::HashMap;

use redis::{cmd, pipe};

use super::{Redis, STEP, StoreError};
use crate::auth::Secret;
use crate::store::coturn::keys;
use crate::store::inventory::number;
use crate::store::{Inventory, Stocked, StockedToken};

/// coturn's limits of a realm.
const OPTIONS: [&str; 3] = ["max-bps", "total-quota", "user-quota"];

/// What a key of coturn's is.
#[derive(Debug, PartialEq, Eq)]
enum Kept<'k> {
    User(&'k str, &'k str),
    Secrets(&'k str),
    Allowed(&'k str),
    Denied(&'k str),
    Option(&'k str, &'static str),
    Origin(&'k str),
    Token(&'k str),
    Admin(&'k str),
}

impl Redis {
    pub(super) async fn take_inventory(&self) -> Result<Inventory, StoreError> {
        let (mut cursor, mut all) = (0_u64, Vec::new());
        loop {
            let mut step = pipe();
            step.add_command(
                cmd("SCAN").arg(cursor).arg("MATCH").arg("turn/*").arg("COUNT").arg(STEP).take(),
            );
            let ((next, names),): ((u64, Vec<String>),) = self.ask(&step).await?;
            all.extend(names);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        // It may name a key twice.
        all.sort();
        all.dedup();
        let mut found = Inventory::default();
        for key in &all {
            if let Some(kept) = kept(key) {
                self.take(key, kept, &mut found).await?;
            }
        }
        Ok(found)
    }

    async fn take(
        &self,
        key: &str,
        kept: Kept<'_>,
        found: &mut Inventory,
    ) -> Result<(), StoreError> {
        match kept {
            Kept::User(realm, name) => {
                let usable = keys(name, &self.text(key).await?, None).is_ok();
                found.users.push(Stocked {
                    realm: realm.to_owned(),
                    name: name.to_owned(),
                    usable,
                });
            }
            Kept::Secrets(realm) => {
                let secrets = self.members(key).await?;
                let secrets = secrets.iter().filter(|secret| !secret.is_empty());
                found.secrets.extend(secrets.map(|_| realm.to_owned()));
            }
            Kept::Allowed(realm) => {
                let ranges = self.members(key).await?;
                found.allowed.extend(ranges.into_iter().map(|range| (realm.to_owned(), range)));
            }
            Kept::Denied(realm) => {
                let ranges = self.members(key).await?;
                found.denied.extend(ranges.into_iter().map(|range| (realm.to_owned(), range)));
            }
            Kept::Option(realm, option) => {
                let value = self.text(key).await?;
                found.options.push([realm.to_owned(), option.to_owned(), value]);
            }
            Kept::Origin(origin) => {
                let realm = self.text(key).await?;
                found.origins.push((origin.to_owned(), realm));
            }
            Kept::Token(kid) => found.tokens.push(self.token(key, kid).await?),
            Kept::Admin(name) => found.admins.push(name.to_owned()),
        }
        Ok(())
    }

    async fn token(&self, key: &str, kid: &str) -> Result<StockedToken, StoreError> {
        let (fields,): (HashMap<String, String>,) = self.ask(pipe().hgetall(key)).await?;
        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
        Ok(StockedToken {
            kid: kid.to_owned(),
            key: Secret::new(field("ikm_key")),
            algorithm: field("as_rs_alg"),
            timestamp: number(&field("timestamp")),
            lifetime: number(&field("lifetime")),
            realm: field("realm"),
        })
    }

    async fn text(&self, key: &str) -> Result<String, StoreError> {
        let (text,): (Option<String>,) = self.ask(pipe().get(key)).await?;
        Ok(text.unwrap_or_default())
    }

    async fn members(&self, key: &str) -> Result<Vec<String>, StoreError> {
        let (mut members,): (Vec<String>,) = self.ask(pipe().smembers(key)).await?;
        members.sort();
        Ok(members)
    }
}

/// What a key is, if it is one of coturn's. A realm may have any character in it, so it is what stands before the first
/// word that follows one.
fn kept(key: &str) -> Option<Kept<'_>> {
    let rest = key.strip_prefix("turn/")?;
    if let Some(origin) = rest.strip_prefix("origin/") {
        return Some(Kept::Origin(origin));
    }
    if let Some(kid) = rest.strip_prefix("oauth/kid/") {
        return Some(Kept::Token(kid));
    }
    if let Some(name) = rest.strip_prefix("admin_user/") {
        return Some(Kept::Admin(name));
    }
    let rest = rest.strip_prefix("realm/")?;
    if let Some((realm, user)) = rest.split_once("/user/") {
        return user.strip_suffix("/key").map(|name| Kept::User(realm, name));
    }
    let (realm, last) = rest.rsplit_once('/')?;
    match last {
        "secret" => Some(Kept::Secrets(realm)),
        "allowed-peer-ip" => Some(Kept::Allowed(realm)),
        "denied-peer-ip" => Some(Kept::Denied(realm)),
        _ => {
            let option = OPTIONS.iter().find(|option| **option == last)?;
            Some(Kept::Option(realm, option))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_it_is() {
        for (key, expected) in [
            ("turn/realm/north.gov/user/gorst/key", Some(Kept::User("north.gov", "gorst"))),
            ("turn/realm/north.gov/user/gorst/sha256", None),
            ("turn/realm/north.gov/user/gorst/allocation/1/status", None),
            ("turn/realm/north.gov/secret", Some(Kept::Secrets("north.gov"))),
            ("turn/realm//denied-peer-ip", Some(Kept::Denied(""))),
            ("turn/realm/a/b/allowed-peer-ip", Some(Kept::Allowed("a/b"))),
            ("turn/realm/a/max-bps", Some(Kept::Option("a", "max-bps"))),
            ("turn/realm/a/min-bps", None),
            ("turn/origin/https://a.b:443", Some(Kept::Origin("https://a.b:443"))),
            ("turn/oauth/kid/oldempire", Some(Kept::Token("oldempire"))),
            ("turn/admin_user/root", Some(Kept::Admin("root"))),
            ("turn/user/u/allocation/1", None),
            ("other", None),
        ] {
            assert_eq!(kept(key), expected, "{key}");
        }
    }
}
