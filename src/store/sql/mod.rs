//! Users in coturn's tables, as coturn's tools write them: `turnusers_lt` and `turn_secret`.
//!
//! ```text
//! statements   what is said, with everything that varies bound to it
//! sqlite       who says it: a thread with a file
//! remote       a few connections with PostgreSQL or MySQL
//! address      a URL to what is connected with
//! ```
//!
//! coturn keeps MD5 keys only. Beside them is a table of our own, `turnwire_key`, with the SHA-256 keys of users
//! that `turnwire users` has written; a database without it works as it is.

mod inventory;
mod statements;

#[cfg(feature = "sql")]
mod address;
#[cfg(feature = "sql")]
mod remote;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::coturn::{keys, secrets_of};
use super::{Entry, Found, Inventory, Keeper, Listed, Question, Reply, Store, StoreError};
use crate::auth::Secret;
use statements::{KEYS, Statements, TABLES, VERSION};

#[cfg(feature = "sql")]
pub(super) use remote::{mysql, postgresql};
#[cfg(feature = "sqlite")]
pub(super) use sqlite::sqlite;

/// How long it is believed that there is no table of our own.
const BELIEF: Duration = Duration::from_secs(5);

/// A row, all of it as text.
pub(super) type Row = Vec<Option<String>>;

/// A database that is told statements with texts bound to them.
pub(super) trait Engine: Send + Sync {
    /// The statements in its words.
    fn statements(&self) -> &'static Statements;

    /// The rows that it answers with.
    fn ask<'a>(&'a self, sql: &'static str, values: &'a [&'a str]) -> Reply<'a, Vec<Row>>;

    /// The number of rows that it changed.
    fn tell<'a>(&'a self, sql: &'static str, values: &'a [&'a str]) -> Reply<'a, u64>;
}

/// Users in a database with coturn's tables.
pub(super) struct Tables<E> {
    engine: E,
    /// When our own table was missed last.
    missed: Mutex<Option<Instant>>,
    /// Whether it was there when it was looked for last.
    own: AtomicBool,
}

impl<E: Engine> Tables<E> {
    const fn new(engine: E) -> Self {
        Self { engine, missed: Mutex::new(None), own: AtomicBool::new(false) }
    }

    async fn has(&self, table: &str) -> Result<bool, StoreError> {
        let rows = self.engine.ask(self.engine.statements().table, &[table]).await?;
        Ok(!rows.is_empty())
    }

    /// Whether there is our own table. It may be made while the server runs.
    async fn has_keys(&self) -> Result<bool, StoreError> {
        if self.own.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let missed = *self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if missed.is_some_and(|at| at.elapsed() < BELIEF) {
            return Ok(false);
        }
        let has = self.has(KEYS).await?;
        self.own.store(has, Ordering::Relaxed);
        let now = (!has).then(Instant::now);
        *self.missed.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(has)
    }

    /// The user's MD5 key. MySQL takes `Alice` for `alice` as well, which nobody here does: they would be two
    /// users with two quotas and one password.
    async fn hmackey(&self, realm: &str, name: &str) -> Result<Option<String>, StoreError> {
        let rows = self.engine.ask(self.engine.statements().user, &[realm, name]).await?;
        let mut same = rows.into_iter().filter(|row| text(row, 0) == Some(name));
        Ok(same.next().map(|row| key(&row, 1).to_owned()))
    }

    /// The user's SHA-256 key, if it was made of the password of this MD5 key.
    async fn sha256(
        &self,
        realm: &str,
        name: &str,
        hmackey: &str,
    ) -> Result<Option<String>, StoreError> {
        if !self.has_keys().await? {
            return Ok(None);
        }
        let rows = self.engine.ask(self.engine.statements().key, &[realm, name]).await;
        let rows = rows.inspect_err(|_| self.own.store(false, Ordering::Relaxed))?;
        let mut fresh =
            rows.into_iter().filter(|row| text(row, 0) == Some(name) && key(row, 1) == hmackey);
        Ok(fresh.next().map(|row| key(&row, 2).to_owned()))
    }

    async fn found(&self, realm: &str, name: &str) -> Result<Option<Found>, StoreError> {
        let Some(hmackey) = self.hmackey(realm, name).await? else {
            return Ok(None);
        };
        let sha256 = self.sha256(realm, name, &hmackey).await?;
        keys(name, &hmackey, sha256.as_deref()).map(Some)
    }

    async fn make_tables(&self) -> Result<(), StoreError> {
        for (table, create) in TABLES {
            if !self.has(table).await? {
                self.engine.tell(create, &[]).await?;
            }
        }
        let says = self.engine.statements();
        let versions = self.engine.ask(says.version, &[]).await?;
        if versions.is_empty() {
            self.engine.tell(says.add_version, &[VERSION]).await?;
        }
        if let Some(newer) =
            versions.iter().filter_map(|row| text(row, 0)).find(|it| *it != VERSION)
        {
            let what =
                format!("its tables are of version {newer}, and this program knows {VERSION} only");
            return Err(StoreError::Unusable(what));
        }
        Ok(())
    }

    async fn list(&self, realm: Option<&str>) -> Result<Vec<Listed>, StoreError> {
        let says = self.engine.statements();
        let users = match realm {
            Some(realm) => self.engine.ask(says.realm_users, &[realm]).await?,
            None => self.engine.ask(says.all_users, &[]).await?,
        };
        let keys = if self.has(KEYS).await? {
            self.engine.ask(says.all_keys, &[]).await?
        } else {
            Vec::new()
        };
        let three = |row: &Row| {
            let word = |at| text(row, at).unwrap_or_default().to_owned();
            [word(0), word(1), key(row, 2).to_owned()]
        };
        let keys: HashSet<[String; 3]> = keys.iter().map(three).collect();
        let mut listed: Vec<_> = users
            .iter()
            .map(three)
            .filter(|[of, ..]| realm.is_none_or(|realm| realm == of))
            .map(|user| Listed { sha256: keys.contains(&user), ..listed(user) })
            .collect();
        listed.sort();
        Ok(listed)
    }

    async fn put(&self, user: &Entry) -> Result<bool, StoreError> {
        let (realm, name) = (user.realm(), user.name());
        let (md5, sha256) = (user.md5().expose(), user.sha256().expose());
        let says = self.engine.statements();
        let rows = self.engine.ask(says.user, &[realm, name]).await?;
        if let Some(other) = rows.iter().filter_map(|row| text(row, 0)).find(|it| *it != name) {
            let what = format!("this database takes {name:?} for {other:?}, who is there already");
            return Err(StoreError::Unusable(what));
        }
        // Until both have been written, the key for SHA-256 does not count.
        self.engine.tell(says.remove_key, &[realm, name]).await?;
        self.engine.tell(says.add_key, &[md5, sha256, realm, name]).await?;
        let write = if rows.is_empty() { says.add_user } else { says.change_user };
        self.engine.tell(write, &[md5, realm, name]).await?;
        Ok(!rows.is_empty())
    }

    async fn remove(&self, realm: &str, name: &str) -> Result<bool, StoreError> {
        if self.hmackey(realm, name).await?.is_none() {
            return Ok(false);
        }
        let says = self.engine.statements();
        self.engine.tell(says.remove_user, &[realm, name]).await?;
        if self.has(KEYS).await? {
            self.engine.tell(says.remove_key, &[realm, name]).await?;
        }
        Ok(true)
    }

    /// The secrets of a realm. MySQL takes `EXAMPLE.org` for `example.org` as well, which is another tenant's here.
    async fn secrets_in(&self, realm: &str) -> Result<Vec<Secret>, StoreError> {
        let rows = self.engine.ask(self.engine.statements().secrets, &[realm]).await?;
        let own = rows.iter().filter(|row| text(row, 0) == Some(realm));
        Ok(secrets_of(own.filter_map(|row| text(row, 1))))
    }

    async fn change_secret(
        &self,
        realm: &str,
        secret: &Secret,
        there: bool,
    ) -> Result<bool, StoreError> {
        if self.secrets_in(realm).await?.contains(secret) == there {
            return Ok(false);
        }
        let says = self.engine.statements();
        let sql = if there { says.add_secret } else { says.remove_secret };
        self.engine.tell(sql, &[realm, secret.expose()]).await?;
        Ok(true)
    }
}

impl<E: Engine> Store for Tables<E> {
    fn look_up<'a>(&'a self, question: &'a Question) -> Reply<'a, Option<Found>> {
        Box::pin(self.found(&question.realm, &question.username))
    }

    fn secrets<'a>(&'a self, realm: &'a str) -> Reply<'a, Vec<Secret>> {
        Box::pin(self.secrets_in(realm))
    }

    fn is_md5_only(&self) -> bool {
        !self.own.load(Ordering::Relaxed)
    }
}

impl<E: Engine> Keeper for Tables<E> {
    fn prepare(&self) -> Reply<'_, ()> {
        Box::pin(self.make_tables())
    }

    fn users<'a>(&'a self, realm: Option<&'a str>) -> Reply<'a, Vec<Listed>> {
        Box::pin(self.list(realm))
    }

    fn put_user<'a>(&'a self, user: &'a Entry) -> Reply<'a, bool> {
        Box::pin(self.put(user))
    }

    fn remove_user<'a>(&'a self, realm: &'a str, name: &'a str) -> Reply<'a, bool> {
        Box::pin(self.remove(realm, name))
    }

    fn put_secret<'a>(&'a self, realm: &'a str, secret: &'a Secret) -> Reply<'a, bool> {
        Box::pin(self.change_secret(realm, secret, true))
    }

    fn remove_secret<'a>(&'a self, realm: &'a str, secret: &'a Secret) -> Reply<'a, bool> {
        Box::pin(self.change_secret(realm, secret, false))
    }

    fn inventory(&self) -> Reply<'_, Inventory> {
        Box::pin(self.take_inventory())
    }
}

/// A column of a row.
fn text(row: &Row, column: usize) -> Option<&str> {
    row.get(column)?.as_deref()
}

/// A key in a column of a row. PostgreSQL fills it up with blanks.
fn key(row: &Row, column: usize) -> &str {
    text(row, column).unwrap_or_default().trim_end_matches(' ')
}

fn listed([realm, name, _]: [String; 3]) -> Listed {
    Listed { realm, name, sha256: false }
}
