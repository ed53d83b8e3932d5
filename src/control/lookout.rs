//! Looks now and then whether this host and its NAT still have the addresses that allocations are made on.
//!
//! What a look finds is believed when the next one, a moment later, finds the same: a network that comes and goes
//! changes nothing. No answer is no news, and neither is a host that has no address left but loopback.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::addresses::{AdvertisedReason, Chosen, Facts, LocalReason};
use super::error::StartError;
use super::places::{self, Listened, Places};
use crate::config::Config;

/// How soon it is looked again, when something is another than before.
const AGAIN: Duration = Duration::from_secs(5);

/// What is looked for.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) config: Config,
    pub(super) listened: Listened,
    /// What is in force.
    pub(super) places: Places,
}

/// Looks, and remembers what it saw last.
pub(super) struct Lookout {
    every: Duration,
    ticks: Interval,
    /// A look that is under way.
    looking: Option<JoinHandle<Result<Places, StartError>>>,
    /// What the last look has found in place of what is in force.
    seen: Option<Places>,
    /// Whether it was told that nothing can be found out.
    told: bool,
}

impl Lookout {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, ticks: ticks(every), looking: None, seen: None, told: false }
    }

    /// Looks so often from now on; zero is never.
    pub(super) fn set_interval(&mut self, every: Duration) {
        if self.every != every {
            *self = Self::new(every);
        }
    }

    /// Forgets what it has seen: something else is in force now.
    pub(super) fn forget(&mut self) {
        (self.looking, self.seen) = (None, None);
    }

    /// The addresses of now, when they are others than those that are `wanted`. May be asked and left as often as
    /// one likes.
    pub(super) async fn next(&mut self, wanted: impl Fn() -> Wanted) -> Places {
        loop {
            let Some(looking) = &mut self.looking else {
                if self.every.is_zero() {
                    std::future::pending::<()>().await;
                }
                self.ticks.tick().await;
                let wanted = wanted();
                self.looking = Some(tokio::task::spawn_blocking(move || look(&wanted)));
                continue;
            };
            let found = looking.await;
            self.looking = None;
            // One that has panicked has said so itself.
            let Ok(found) = found else { continue };
            if let Some(places) = self.judge(found, &wanted().places) {
                return places;
            }
        }
    }

    fn judge(&mut self, found: Result<Places, StartError>, before: &Places) -> Option<Places> {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(
                        event = "addresses_unknown",
                        "the addresses of this host cannot be found out, those of before stay: {error}",
                    );
                }
                return None;
            }
        };
        self.told = false;
        if found.is_same(before) {
            self.seen = None;
            return None;
        }
        if self.seen.as_ref().is_some_and(|seen| seen.is_same(&found)) {
            self.seen = None;
            return Some(found);
        }
        self.seen = Some(found);
        self.ticks.reset_after(AGAIN.min(self.every));
        None
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The start has just looked.
    ticks.reset();
    ticks
}

/// Finds the addresses of now. Takes seconds when a STUN server does not answer.
fn look(wanted: &Wanted) -> Result<Places, StartError> {
    let Wanted { config, listened, places } = wanted;
    let facts = Facts::gather();
    let mut chosen = places::choose(config, &facts, &[])?;
    if chosen.iter().all(|it| it.local == LocalReason::LoopbackOnly) {
        return Ok(places.clone());
    }
    for one in &mut chosen {
        keep_known(one, &places.chosen);
    }
    places::try_relays(&chosen)?;
    Places::complete(chosen, config, listened, &places.discovery, &facts)
}

/// A STUN server that does not answer says nothing about an address: what it has said of it before stays.
pub(super) fn keep_known(found: &mut Chosen, before: &[Chosen]) {
    let told = |it: &&Chosen| {
        it.relay.local == found.relay.local && it.advertised == AdvertisedReason::Reflexive
    };
    if let (AdvertisedReason::Unknown(Some(_)), Some(known)) =
        (&found.advertised, before.iter().find(told))
    {
        found.relay = known.relay;
        found.advertised = AdvertisedReason::Reflexive;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::RelayAddress;

    fn places(advertised: &str) -> Places {
        let relay = RelayAddress {
            local: "10.0.0.5".parse().unwrap(),
            advertised: advertised.parse().unwrap(),
        };
        let (local, advertised) = (LocalReason::Route, AdvertisedReason::Reflexive);
        Places { chosen: vec![Chosen { relay, local, advertised }], ..Places::default() }
    }

    /// What becomes of a row of looks, of which each finds an address or nothing.
    fn judged(looks: &[Option<&str>]) -> Vec<Option<String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let (mut lookout, mut before) =
            (Lookout::new(Duration::from_secs(60)), places("203.0.113.1"));
        let judge = |found: &Option<&str>| {
            let found = found.map(places).ok_or(StartError::NoRelay);
            let news = lookout.judge(found, &before)?;
            before = news.clone();
            Some(news.chosen[0].relay.advertised.to_string())
        };
        looks.iter().map(judge).collect()
    }

    #[test]
    fn two_looks_that_agree_are_believed_and_no_answer_is_no_news() {
        let (one, two) = (Some("203.0.113.1"), Some("203.0.113.2"));
        let news = Some("203.0.113.2".to_owned());
        assert_eq!(judged(&[one, two, two, two]), [None, None, news.clone(), None]);
        assert_eq!(judged(&[two, None, two, one]), [None, None, news, None]);
    }

    #[test]
    fn a_network_that_flaps_changes_nothing() {
        let looks = ["203.0.113.2", "203.0.113.1", "203.0.113.3", "203.0.113.2", "203.0.113.3"];
        assert_eq!(judged(&looks.map(Some)), [None, None, None, None, None]);
    }

    #[test]
    fn a_stun_server_that_does_not_answer_leaves_what_it_has_said() {
        let before = places("203.0.113.1").chosen;
        let mut silent = before[0].clone();
        silent.relay.advertised = silent.relay.local;
        silent.advertised = AdvertisedReason::Unknown(Some("no answer".to_owned()));
        keep_known(&mut silent, &before);
        assert_eq!(silent, before[0]);
        // It answers, and says another thing.
        let mut other = places("203.0.113.2").chosen.remove(0);
        keep_known(&mut other, &before);
        assert_eq!(other.relay.advertised.to_string(), "203.0.113.2");
    }
}
