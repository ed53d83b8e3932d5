//! Users in Redis, under coturn's keys: the string `turn/realm/R/user/U/key` and the set `turn/realm/R/secret`.
//!
//! Beside coturn's MD5 key is one of our own, `turn/realm/R/user/U/sha256`, for users that `turnwire users` has
//! written: the MD5 key that it belongs to, a blank and the key for SHA-256. It counts as long as coturn's is that one.
//!
//! All questions go over one connection, one behind the other without waiting for answers.

mod inventory;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, Pipeline, RedisError,
    ServerErrorKind, TlsCertificates, cmd, pipe,
};
use tokio::time::timeout;

use super::backoff::Backoff;
use super::coturn::{keys, secrets_of};
use super::error::on_one_line;
use super::{
    Entry, Found, Inventory, Keeper, Listed, Question, Reply, Settings, Store, StoreError,
};
use crate::auth::Secret;

/// Where the certificate of an authority stands in a URL, as it does in PostgreSQL's.
const ROOT: &str = "sslrootcert=";
/// Keys that are looked at in one step of a listing.
const STEP: usize = 1000;

/// Users in Redis.
pub(super) struct Redis {
    client: Client,
    limit: Duration,
    /// Shared by all questions, with a number that tells it from the one before.
    connection: Mutex<Option<(u64, MultiplexedConnection)>>,
    /// Held by who connects, so that the others wait for that connection; with the number of the last one.
    connecting: tokio::sync::Mutex<u64>,
    backoff: Backoff,
}

impl Redis {
    /// # Errors
    /// There is no URL, or none that can be understood, or the certificate in it cannot be read.
    pub(super) fn open(settings: &Settings) -> Result<Self, StoreError> {
        let url = settings.url.as_ref();
        let url = url.ok_or_else(|| StoreError::Unusable("no URL is given".to_owned()))?;
        Ok(Self {
            client: client(url.expose())?,
            limit: settings.timeout,
            connection: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(0),
            backoff: Backoff::default(),
        })
    }

    /// Asks, and once more over a new connection when the old one turns out to be lost.
    async fn ask<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, StoreError> {
        let asked = async {
            if let Some((number, mut connection)) = self.current() {
                match pipeline.query_async(&mut connection).await {
                    Err(error) if error.is_unrecoverable_error() || error.is_io_error() => {
                        self.forget(number);
                    }
                    other => return other.map_err(|error| told(&error)),
                }
            }
            let (number, mut connection) = self.connect().await?;
            let answer = pipeline.query_async(&mut connection).await;
            answer.map_err(|error| {
                if error.is_unrecoverable_error() || error.is_io_error() {
                    self.forget(number);
                }
                told(&error)
            })
        };
        timeout(self.limit, asked).await.unwrap_or(Err(StoreError::TimedOut))
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Drops a connection, unless there is another one already.
    fn forget(&self, number: u64) {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.as_ref().is_some_and(|(other, _)| *other == number) {
            *connection = None;
        }
    }

    async fn connect(&self) -> Result<(u64, MultiplexedConnection), StoreError> {
        let mut number = self.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        self.backoff.may_try(Instant::now())?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(Some(self.limit));
        match self.client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => {
                self.backoff.succeeded();
                *number += 1;
                let current = (*number, connection);
                let mut place = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
                *place = Some(current.clone());
                Ok(current)
            }
            Err(error) => {
                let why = told(&error);
                self.backoff.failed(Instant::now(), why.clone());
                Err(why)
            }
        }
    }

    async fn found(&self, realm: &str, name: &str) -> Result<Option<Found>, StoreError> {
        let mut both = pipe();
        both.get(md5_key(realm, name)).get(sha256_key(realm, name));
        let (hmackey, own): (Option<String>, Option<String>) = self.ask(&both).await?;
        let Some(hmackey) = hmackey else {
            return Ok(None);
        };
        keys(name, &hmackey, own.as_deref().and_then(|own| sha256_of(own, &hmackey))).map(Some)
    }

    async fn list(&self, realm: Option<&str>) -> Result<Vec<Listed>, StoreError> {
        let pattern = format!("turn/realm/{}/user/*/key", realm.map_or("*".to_owned(), literally));
        let (mut cursor, mut listed) = (0_u64, Vec::new());
        loop {
            let mut step = pipe();
            step.add_command(
                cmd("SCAN").arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP).take(),
            );
            let ((next, names),): ((u64, Vec<String>),) = self.ask(&step).await?;
            for (realm, name) in names.iter().filter_map(|key| user_of(key, realm)) {
                let mut both = pipe();
                both.get(md5_key(realm, name)).get(sha256_key(realm, name));
                let (md5, own): (Option<String>, Option<String>) = self.ask(&both).await?;
                let sha256 =
                    md5.is_some_and(|md5| own.is_some_and(|own| sha256_of(&own, &md5).is_some()));
                listed.push(Listed { realm: realm.to_owned(), name: name.to_owned(), sha256 });
            }
            cursor = next;
            if cursor == 0 {
                // It may name a key twice.
                listed.sort();
                listed.dedup();
                return Ok(listed);
            }
        }
    }

    async fn put(&self, user: &Entry) -> Result<bool, StoreError> {
        let (md5, sha256) = (user.md5().expose(), user.sha256().expose());
        let mut write = pipe();
        write
            .atomic()
            .exists(md5_key(user.realm(), user.name()))
            .set(md5_key(user.realm(), user.name()), md5)
            .ignore()
            .set(sha256_key(user.realm(), user.name()), format!("{md5} {sha256}"))
            .ignore();
        let (there,): (bool,) = self.ask(&write).await?;
        Ok(there)
    }
}

impl Store for Redis {
    fn look_up<'a>(&'a self, question: &'a Question) -> Reply<'a, Option<Found>> {
        Box::pin(self.found(&question.realm, &question.username))
    }

    fn secrets<'a>(&'a self, realm: &'a str) -> Reply<'a, Vec<Secret>> {
        Box::pin(async move {
            let (secrets,): (Vec<String>,) = self.ask(pipe().smembers(secret_key(realm))).await?;
            Ok(secrets_of(secrets.iter().map(String::as_str)))
        })
    }
}

impl Keeper for Redis {
    fn prepare(&self) -> Reply<'_, ()> {
        Box::pin(async { self.ask::<(String,)>(pipe().ping()).await.map(drop) })
    }

    fn users<'a>(&'a self, realm: Option<&'a str>) -> Reply<'a, Vec<Listed>> {
        Box::pin(self.list(realm))
    }

    fn put_user<'a>(&'a self, user: &'a Entry) -> Reply<'a, bool> {
        Box::pin(self.put(user))
    }

    fn remove_user<'a>(&'a self, realm: &'a str, name: &'a str) -> Reply<'a, bool> {
        Box::pin(async move {
            let mut remove = pipe();
            remove.atomic().del(md5_key(realm, name)).del(sha256_key(realm, name)).ignore();
            let (removed,): (bool,) = self.ask(&remove).await?;
            Ok(removed)
        })
    }

    fn put_secret<'a>(&'a self, realm: &'a str, secret: &'a Secret) -> Reply<'a, bool> {
        Box::pin(async move {
            let (added,): (bool,) =
                self.ask(pipe().sadd(secret_key(realm), secret.expose())).await?;
            Ok(added)
        })
    }

    fn remove_secret<'a>(&'a self, realm: &'a str, secret: &'a Secret) -> Reply<'a, bool> {
        Box::pin(async move {
            let (removed,): (bool,) =
                self.ask(pipe().srem(secret_key(realm), secret.expose())).await?;
            Ok(removed)
        })
    }

    fn inventory(&self) -> Reply<'_, Inventory> {
        Box::pin(self.take_inventory())
    }
}

fn md5_key(realm: &str, name: &str) -> String {
    format!("turn/realm/{realm}/user/{name}/key")
}

fn sha256_key(realm: &str, name: &str) -> String {
    format!("turn/realm/{realm}/user/{name}/sha256")
}

fn secret_key(realm: &str) -> String {
    format!("turn/realm/{realm}/secret")
}

/// The key for SHA-256 in our own entry, if it belongs to this MD5 key.
fn sha256_of<'a>(own: &'a str, hmackey: &str) -> Option<&'a str> {
    own.split_once(' ').filter(|(md5, _)| *md5 == hmackey).map(|(_, sha256)| sha256)
}

/// Realm and name in the key of a user. Both may have any character in them, so the realm is the one that was
/// asked for, or what stands before the first `/user/`.
fn user_of<'a>(key: &'a str, realm: Option<&'a str>) -> Option<(&'a str, &'a str)> {
    let rest = key.strip_prefix("turn/realm/")?.strip_suffix("/key")?;
    match realm {
        Some(realm) => Some((realm, rest.strip_prefix(realm)?.strip_prefix("/user/")?)),
        None => rest.split_once("/user/"),
    }
}

/// A pattern that matches this text alone.
fn literally(text: &str) -> String {
    let special = |c: char| "*?[]^-\\".contains(c);
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// `redis://USER:PASSWORD@HOST:PORT/NUMBER`, `rediss://…` for TLS, with `?sslrootcert=FILE` where the authority is
/// one of your own, or `redis+unix:///run/redis/redis.sock?db=NUMBER&pass=PASSWORD`.
pub(crate) fn client(url: &str) -> Result<Client, StoreError> {
    let (place, root) = split_root(url);
    // What is wrong with it is not told, for a password may be in it.
    let unreadable = |_: RedisError| {
        let form = "its URL cannot be understood: write redis://USER:PASSWORD@HOST:PORT/NUMBER, rediss:// for \
                    TLS, or redis+unix:///PATH, with % and two hexadecimal digits in place of each of \
                    : / ? # [ ] @ % in the password";
        StoreError::Unusable(form.to_owned())
    };
    let Some(root) = root else {
        return Client::open(&*place).map_err(unreadable);
    };
    let pem = std::fs::read(root)
        .map_err(|error| StoreError::Unusable(format!("{root} cannot be read: {error}")))?;
    let trusted = TlsCertificates { client_tls: None, root_cert: Some(pem) };
    Client::build_with_tls(&*place, trusted).map_err(unreadable)
}

/// The URL without the file of the authority, and that file.
fn split_root(url: &str) -> (String, Option<&str>) {
    let Some((place, query)) = url.split_once('?') else {
        return (url.to_owned(), None);
    };
    let root = query.split('&').find_map(|pair| pair.strip_prefix(ROOT));
    let others: Vec<_> = query.split('&').filter(|pair| !pair.starts_with(ROOT)).collect();
    let query = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
    (format!("{place}{query}"), root)
}

/// The server's words. A command that was refused is not among them.
pub(crate) fn told(error: &RedisError) -> StoreError {
    let words = error.detail().map_or_else(|| error.category().to_owned(), on_one_line);
    match error.kind() {
        _ if error.is_timeout() => StoreError::TimedOut,
        ErrorKind::AuthenticationFailed => StoreError::Denied(words),
        ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ReadOnly) => {
            StoreError::Denied(words)
        }
        ErrorKind::Server(ServerErrorKind::BusyLoading) => StoreError::Unreachable(words),
        ErrorKind::Io => StoreError::Unreachable(error.to_string()),
        _ if error.code() == Some("NOAUTH") => StoreError::Denied(words),
        _ => StoreError::Unusable(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_user_of_a_realm() {
        let key = md5_key("north.gov", "a/user/b");
        assert_eq!(user_of(&key, None), Some(("north.gov", "a/user/b")));
        assert_eq!(user_of(&key, Some("north.gov")), Some(("north.gov", "a/user/b")));
        assert_eq!(user_of(&key, Some("north")), None);
        assert_eq!(user_of("turn/realm/north.gov/secret", None), None);
        assert_eq!(literally("a*[b]"), "a\\*\\[b\\]");
    }

    #[test]
    fn a_key_of_an_older_password_does_not_count() {
        assert_eq!(sha256_of("aa bb", "aa"), Some("bb"));
        assert_eq!(sha256_of("aa bb", "cc"), None);
        assert_eq!(sha256_of("aa", "aa"), None);
    }

    #[test]
    fn a_url_that_is_none_is_not_shown() {
        for wrong in ["hunter2", "http://u:hunter2@h/0", "redis://u:hunter2@h:port/0"] {
            let told = client(wrong).err().unwrap().to_string();
            assert!(!told.contains("hunter2") && told.contains("redis://USER:"), "{told}");
        }
        let (place, root) = split_root("rediss://h/0?sslrootcert=/ca.pem&protocol=resp3");
        assert_eq!((&*place, root), ("rediss://h/0?protocol=resp3", Some("/ca.pem")));
        assert!(client("rediss://h/0?sslrootcert=/nowhere.pem").is_err());
    }
}
