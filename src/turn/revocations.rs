//! Users whom an operator lets in no more, whatever the configuration and the stores say.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::auth::{Authenticated, Credential, Denial, DenialKind};

/// Users of one list. Who revokes more than these wants to change the configuration.
const MOST: usize = 10_000;

/// Who is revoked, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The username, or the user part of ephemeral ones.
    pub user: String,
    /// The realm; without it any.
    pub realm: Option<String>,
    /// Seconds since 1970.
    pub until: u64,
}

/// As many as there may be are revoked already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("10,000 users are revoked already: let some of them in again, or change the configuration")]
pub struct TooMany;

/// Realms of one name, each with the end of its time; `None` is any realm.
type Terms = Vec<(Option<String>, u64)>;

/// All that are revoked, at all workers. Kept until its time is over, or the process ends.
#[derive(Debug, Default)]
pub struct Revocations {
    /// How many there are: requests need no lock while there are none.
    count: AtomicUsize,
    of: RwLock<HashMap<String, Terms>>,
}

impl Revocations {
    /// Revokes a user, or changes until when.
    ///
    /// # Errors
    /// There are too many.
    pub fn add(&self, revocation: Revocation, now: u64) -> Result<(), TooMany> {
        let Revocation { user, realm, until } = revocation;
        let mut of = self.of.write().unwrap_or_else(PoisonError::into_inner);
        of.retain(|_, realms| {
            realms.retain(|(_, until)| now < *until);
            !realms.is_empty()
        });
        let known = of.get(&user).is_some_and(|it| it.iter().any(|(other, _)| *other == realm));
        let count: usize = of.values().map(Vec::len).sum();
        if !known && count >= MOST {
            return Err(TooMany);
        }
        let realms = of.entry(user).or_default();
        realms.retain(|(other, _)| *other != realm);
        realms.push((realm, until));
        self.count.store(of.values().map(Vec::len).sum(), Ordering::Release);
        Ok(())
    }

    /// Lets a user in again; false when it was not revoked.
    pub fn remove(&self, user: &str, realm: Option<&str>) -> bool {
        let mut of = self.of.write().unwrap_or_else(PoisonError::into_inner);
        let Some(realms) = of.get_mut(user) else {
            return false;
        };
        let before = realms.len();
        realms.retain(|(other, _)| other.as_deref() != realm);
        let removed = realms.len() < before;
        if realms.is_empty() {
            of.remove(user);
        }
        self.count.store(of.values().map(Vec::len).sum(), Ordering::Release);
        removed
    }

    /// Those whose time is not over, by name.
    pub fn list(&self, now: u64) -> Vec<Revocation> {
        let of = self.of.read().unwrap_or_else(PoisonError::into_inner);
        let all = of.iter().flat_map(|(user, realms)| {
            realms.iter().map(|(realm, until)| Revocation {
                user: user.clone(),
                realm: realm.clone(),
                until: *until,
            })
        });
        let mut all: Vec<_> = all.filter(|it| now < it.until).collect();
        all.sort_by(|a, b| (&a.user, &a.realm).cmp(&(&b.user, &b.realm)));
        all
    }

    /// Lets through who is not revoked. What it is refused with is said to the owner of the password only.
    pub(super) fn pass(&self, who: Authenticated, now: u64) -> Result<Authenticated, Denial> {
        if self.count.load(Ordering::Acquire) != 0 && self.holds(&who.credential, now) {
            return Err(Denial { kind: DenialKind::Revoked, proven: true, signed: true });
        }
        Ok(who)
    }

    fn holds(&self, credential: &Credential, now: u64) -> bool {
        let of = self.of.read().unwrap_or_else(PoisonError::into_inner);
        let here = |realm: &Option<String>| {
            realm.as_deref().is_none_or(|realm| realm == &**credential.realm())
        };
        [credential.username(), credential.owner()]
            .iter()
            .filter_map(|name| of.get(*name))
            .flatten()
            .any(|(realm, until)| now < *until && here(realm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocation(user: &str, realm: Option<&str>, until: u64) -> Revocation {
        Revocation { user: user.to_owned(), realm: realm.map(str::to_owned), until }
    }

    #[test]
    fn a_list_has_those_whose_time_is_not_over_each_once() {
        let all = Revocations::default();
        all.add(revocation("bob", None, 50), 10).unwrap();
        all.add(revocation("alice", Some("here"), 30), 10).unwrap();
        all.add(revocation("alice", None, 20), 10).unwrap();
        all.add(revocation("bob", None, 60), 10).unwrap();
        let expected = [
            revocation("alice", None, 20),
            revocation("alice", Some("here"), 30),
            revocation("bob", None, 60),
        ];
        assert_eq!(all.list(19), expected);
        assert_eq!(all.list(20), expected[1..]);
        assert!(all.remove("alice", Some("here")) && !all.remove("alice", Some("here")));
        assert!(!all.remove("carol", None));
        assert_eq!(all.list(20), expected[2..]);
    }

    #[test]
    fn it_is_bounded_and_what_is_over_makes_room() {
        let all = Revocations::default();
        for number in 0..MOST {
            all.add(revocation(&number.to_string(), None, 20 + number as u64), 10).unwrap();
        }
        assert_eq!(all.add(revocation("one more", None, 100), 10), Err(TooMany));
        all.add(revocation("7", None, 100), 10).unwrap();
        all.add(revocation("one more", None, 100), 20).unwrap();
        assert_eq!(all.list(20).len(), MOST);
    }
}
