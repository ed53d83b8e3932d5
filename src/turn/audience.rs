use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use foldhash::quality::RandomState;

use super::guard::prefix;
use super::{Cause, DeniedBy, FiveTuple, Prefix, Session};
use crate::auth::{DenialKind, parse_username};
use crate::time::Mono;

/// Those who follow a client at a time.
pub const FOLLOWERS: usize = 8;

/// Refusals that are remembered, so that the log tells each once a minute: the most lines that it gets of them in
/// a minute.
pub const NOTICES: usize = 64;

/// Who hears of what is decided about requests: the log, and those who follow a client. All workers share one.
///
/// Nobody following costs one relaxed load for each request, and nothing for data that are relayed.
#[derive(Default)]
pub struct Audience {
    /// The log wants every refusal.
    verbose: AtomicBool,
    /// A bit for each place of `filters` that is taken.
    followers: AtomicU8,
    filters: RwLock<[Option<Whom>; FOLLOWERS]>,
    notices: Notices,
}

/// Whom somebody follows: all that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whom {
    /// The user: the whole name, or the user part of an ephemeral one.
    pub user: Option<String>,
    /// The client's address.
    pub address: Option<Prefix>,
    /// The realm that the client names, or that its session is in.
    pub realm: Option<String>,
}

/// A refusal that the log is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Because it wants every one.
    Each,
    /// Because there has been none of its kind in this minute.
    First {
        /// How many of its kind there were since the last one that was told.
        untold: u16,
    },
}

/// Who it is about that something is told, as far as it is known.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) tuple: &'a FiveTuple,
    /// The name in USERNAME or behind USERHASH.
    pub(super) user: Option<&'a str>,
    /// Whom the name counts for.
    pub(super) owner: Option<&'a str>,
    pub(super) realm: Option<&'a str>,
}

impl Whom {
    fn fits(&self, about: &About<'_>) -> bool {
        let name = |name: &String| {
            let full = about.user == Some(name) || about.owner == Some(name);
            full || about.user.and_then(user_part) == Some(name)
        };
        self.address.is_none_or(|prefix| prefix.contains(about.tuple.client.ip()))
            && self.user.as_ref().is_none_or(name)
            && self.realm.as_ref().is_none_or(|realm| about.realm == Some(realm))
    }
}

/// A number of fewer than 9 digits is no expiry of this century, but part of somebody's name.
const FIRST_EXPIRY: u64 = 100_000_000;

/// The user part of an ephemeral name in a realm that may be nobody's: whatever stands beside the digits at either end
/// may be its separator.
fn user_part(name: &str) -> Option<&str> {
    let digit = |c: char| c.is_ascii_digit();
    let behind = name.trim_start_matches(digit).chars().next();
    let before = name.trim_end_matches(digit).chars().next_back();
    let separators = [behind, before].into_iter().flatten().filter(|c| separates(*c));
    let mut readings = separators.filter_map(|separator| parse_username(name, separator));
    readings.find(|(expiry, _)| *expiry >= FIRST_EXPIRY).map(|(_, user)| user)
}

fn separates(c: char) -> bool {
    !c.is_alphanumeric()
}

impl Audience {
    /// Whether the log wants every refusal.
    pub fn set_verbose(&self, verbose: bool) {
        self.verbose.store(verbose, Ordering::Relaxed);
    }

    /// Begins to follow, in a place of 0 to [`FOLLOWERS`] - 1. `None` when as many follow already.
    pub fn follow(&self, filter: Whom) -> Option<usize> {
        let mut filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
        let place = filters.iter().position(Option::is_none)?;
        filters[place] = Some(filter);
        self.followers.fetch_or(1 << place, Ordering::Relaxed);
        Some(place)
    }

    /// Ends it. What was decided before may still be told.
    pub fn unfollow(&self, place: usize) {
        let mut filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = filters.get_mut(place) {
            *filter = None;
            self.followers.fetch_and(!(1 << place), Ordering::Relaxed);
        }
    }

    /// Whether somebody follows somebody.
    pub(super) fn follows(&self) -> bool {
        self.followers.load(Ordering::Relaxed) != 0
    }

    /// Who follows this one: a bit for each place.
    pub(super) fn interested(&self, about: &About<'_>) -> u8 {
        if !self.follows() {
            return 0;
        }
        let filters = self.filters.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |filter: &Option<Whom>| filter.as_ref().is_some_and(|it| it.fits(about));
        let bits = filters.iter().enumerate().map(|(place, it)| u8::from(fits(it)) << place);
        bits.fold(0, |all, bit| all | bit)
    }

    /// Who follows the client of a session: a bit for each place.
    pub fn interested_in(&self, session: &Session) -> u8 {
        self.interested(&About {
            tuple: &session.client,
            user: Some(&session.username),
            owner: None,
            realm: Some(&session.realm),
        })
    }

    /// Whether the log is to tell a refusal. What a forged address could have brought about is told to those only
    /// who want everything: nobody gets another one's address into a line that others act on.
    pub(super) fn notice(
        &self,
        now: Mono,
        tuple: &FiveTuple,
        cause: Cause,
        proven: bool,
    ) -> Option<Notice> {
        let usual = matches!(
            cause,
            Cause::Auth(DenialKind::Challenge | DenialKind::StaleNonce) | Cause::TryAlternate(_)
        );
        let first = if proven && !usual {
            // What browsers offer in every call is told once for all of them.
            let whose = match cause {
                Cause::PeerDenied { by: DeniedBy::Special(range), .. } => range.prefix().network(),
                _ => tuple.client.ip(),
            };
            self.notices.first(now, cause.index(), prefix(whose))
        } else {
            None
        };
        let each = || self.verbose.load(Ordering::Relaxed).then_some(Notice::Each);
        first.map(|untold| Notice::First { untold }).or_else(each)
    }
}

/// Refusals by cause and client that were told in this minute: a table of a fixed size, which is never locked.
struct Notices {
    hasher: RandomState,
    /// The upper half of a hash, the minute, and how many were not told; 0 is free.
    places: [AtomicU64; NOTICES],
}

impl Default for Notices {
    fn default() -> Self {
        Self { hasher: RandomState::default(), places: [const { AtomicU64::new(0) }; NOTICES] }
    }
}

impl Notices {
    /// The first of its kind in this minute, with how many of it were not told before; `None` when it is another one,
    /// or there is no room.
    fn first(&self, now: Mono, cause: usize, whose: u64) -> Option<u16> {
        let hash = self.hasher.hash_one((cause, whose));
        // Not 0, which is free.
        let minute = (now.as_secs() / 60 % 0xFFFF + 1) as u16;
        let entry = |untold: u16| hash >> 32 << 32 | u64::from(minute) << 16 | u64::from(untold);
        let places = (0..NOTICES).map(|step| &self.places[(hash as usize + step) % NOTICES]);
        let mut free = None;
        for place in places {
            let found = place.load(Ordering::Relaxed);
            let (of_minute, untold) = ((found >> 16) as u16, found as u16);
            if found >> 32 == hash >> 32 && found != 0 {
                let told = of_minute == minute;
                let next = entry(if told { untold.saturating_add(1) } else { 0 });
                // Another worker that was faster has told it.
                let set = swap(place, found, next);
                return (set && !told).then_some(untold);
            }
            if of_minute != minute && free.is_none() {
                free = Some((place, found));
            }
        }
        let (place, found) = free?;
        swap(place, found, entry(0)).then_some(0)
    }
}

fn swap(place: &AtomicU64, from: u64, to: u64) -> bool {
    place.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(number: u64) -> Mono {
        Mono::from_secs(60 * number + 7)
    }

    #[test]
    fn a_kind_is_told_once_a_minute_with_what_was_not_told() {
        let notices = Notices::default();
        let (alice, bob) = (1, 2);
        assert_eq!(notices.first(minute(0), 3, alice), Some(0));
        assert_eq!(notices.first(minute(0), 3, alice), None);
        assert_eq!(notices.first(minute(0), 3, alice), None);
        assert_eq!(notices.first(minute(0), 4, alice), Some(0));
        assert_eq!(notices.first(minute(0), 3, bob), Some(0));
        assert_eq!(notices.first(minute(1), 3, alice), Some(2));
        assert_eq!(notices.first(minute(1), 3, alice), None);
        assert_eq!(notices.first(minute(9), 3, alice), Some(1));
    }

    #[test]
    fn as_many_kinds_are_told_as_the_table_has_places() {
        let notices = Notices::default();
        for whose in 0..NOTICES as u64 {
            assert_eq!(notices.first(minute(0), 3, whose), Some(0), "{whose}");
        }
    }

    #[test]
    fn a_minute_has_no_more_lines_than_the_table_has_places() {
        let notices = Notices::default();
        let told = |number| {
            let mut clients = 0..100_000;
            clients.by_ref().filter(|it| notices.first(minute(number), 3, *it).is_some()).count()
        };
        assert_eq!(told(0), NOTICES);
        assert_eq!(told(1), NOTICES);
    }

    #[test]
    fn a_name_is_followed_whole_and_by_its_user_part() {
        let tuple = FiveTuple {
            transport: crate::turn::Transport::Udp,
            client: "192.0.2.7:4000".parse().unwrap(),
            server: "203.0.113.1:3478".parse().unwrap(),
        };
        let filter = |user: &str| Whom { user: Some(user.to_owned()), ..Whom::default() };
        let about = |user| About { tuple: &tuple, user, owner: None, realm: None };
        for name in ["alice", "1700000000:alice", "1700000000|alice", "alice:1700000000"] {
            assert!(filter("alice").fits(&about(Some(name))), "{name}");
        }
        assert!(filter("1700000000:alice").fits(&about(Some("1700000000:alice"))));
        assert!(filter("2bob").fits(&about(Some("2bob:1700000000"))));
        assert!(filter("2bob").fits(&about(Some("1700000000:2bob"))));
        assert!(filter("alice-2").fits(&about(Some("1700000000:alice-2"))));
        for name in ["bob", "1700000000", "1700000000:", "alice2", ":alice", "alice:", ""] {
            assert!(!filter("alice").fits(&about(Some(name))), "{name}");
        }
        for name in ["alice-2", "alice.7", "alice@3", "20241231:alice", "1700000000:alice-2"] {
            assert!(!filter("alice").fits(&about(Some(name))), "{name}");
        }
        assert!(!filter("alic").fits(&about(Some("alice2"))));
        assert!(!filter("alice").fits(&about(None)));
        assert!(Whom::default().fits(&about(None)));
    }

    #[test]
    fn there_is_room_for_a_few_followers() {
        let audience = Audience::default();
        let places: Vec<_> = (0..FOLLOWERS).map(|_| audience.follow(Whom::default())).collect();
        assert!(places.iter().all(Option::is_some));
        assert_eq!(audience.follow(Whom::default()), None);
        audience.unfollow(3);
        assert_eq!(audience.follow(Whom::default()), Some(3));
        (0..FOLLOWERS).for_each(|place| audience.unfollow(place));
        assert!(!audience.follows());
    }
}
