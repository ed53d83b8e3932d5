use std::time::Duration;

use super::audience::About;
use super::{Dropped, Effect, FiveTuple, RelayId, Server, SessionId, Stats};
use crate::time::{Mono, Now};

/// How long drops are summed up before they are told.
const INTERVAL: Duration = Duration::from_secs(1);
/// Clients whose drops are summed up at a time.
const CLIENTS: usize = 64;

/// What was dropped of a followed client's data, or of its peers', in a second.
#[derive(Clone, Debug)]
pub struct Drops {
    /// When it began, in seconds since 1970.
    pub unix: u64,
    /// The session, where there is one.
    pub session: Option<SessionId>,
    /// The client.
    pub client: FiveTuple,
    /// Its user, where there is a session.
    pub user: Option<String>,
    /// Whether peers have sent it.
    pub from_peers: bool,
    /// How many packets, by reason.
    pub packets: Vec<(Dropped, u32)>,
}

/// Drops that are still being summed up.
pub(super) struct Tally {
    drops: Drops,
    followers: u8,
    until: Mono,
}

impl Server {
    /// Counts a packet of a client's that was dropped, if somebody follows this one.
    #[cold]
    pub(super) fn tally(&mut self, now: Now, client: &FiveTuple, reason: Dropped) {
        if self.audience.follows() {
            let slot = self.find(client);
            self.count(now, client, slot, false, reason);
        }
    }

    /// Counts a packet of a peer's that was dropped. Cold, because each packet that is relayed passes by.
    #[cold]
    pub(super) fn drop_from_peer(
        &mut self,
        now: Now,
        relay: RelayId,
        reason: Dropped,
        stats: &Stats,
    ) -> Dropped {
        stats.drop(reason);
        if self.audience.follows()
            && let Some(allocation) = self.allocations.get(relay.slot as usize)
        {
            let client = allocation.client.tuple;
            self.count(now, &client, Some(relay.slot), true, reason);
        }
        reason
    }

    #[cold]
    fn count(
        &mut self,
        now: Now,
        client: &FiveTuple,
        slot: Option<u32>,
        from_peers: bool,
        reason: Dropped,
    ) {
        let same =
            |it: &&mut Tally| it.drops.client == *client && it.drops.from_peers == from_peers;
        if let Some(tally) = self.tallies.iter_mut().find(same) {
            return tally.drops.add(reason);
        }
        let allocation = slot.and_then(|slot| self.allocations.get(slot as usize));
        let user = allocation.map(|it| it.credential.username());
        let about = About {
            tuple: client,
            user,
            owner: allocation.map(|it| &*it.owner.name),
            realm: allocation.map(|it| &**it.credential.realm()),
        };
        let followers = self.audience.interested(&about);
        if followers != 0 && self.tallies.len() < CLIENTS {
            let mut drops = Drops {
                unix: now.unix,
                session: allocation.map(|it| it.id),
                client: *client,
                user: user.map(str::to_owned),
                from_peers,
                packets: Vec::new(),
            };
            drops.add(reason);
            self.tallies.push(Tally { drops, followers, until: now.mono + INTERVAL });
        }
    }

    /// Tells what has been summed up for long enough.
    pub(super) fn tell_tallies(&mut self, now: Mono) {
        for Tally { drops, followers, .. } in self.tallies.extract_if(.., |it| it.until <= now) {
            self.effects.push_back(Effect::Drops { drops: Box::new(drops), followers });
        }
    }

    /// When [`Self::tell_tallies`] has something to do.
    pub(super) fn next_tally(&self) -> Option<Mono> {
        self.tallies.iter().map(|tally| tally.until).min()
    }
}

impl Drops {
    fn add(&mut self, reason: Dropped) {
        match self.packets.iter_mut().find(|(of, _)| *of == reason) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.packets.push((reason, 1)),
        }
    }
}
