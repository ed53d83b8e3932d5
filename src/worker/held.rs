//! Packets of guests that wait here for their allocations (RFC 8016): a few milliseconds, between
//! the first data and what these bring.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Mono;
use crate::turn::{Client, FiveTuple};

/// Packets that may wait, on one worker: what a few clients send in a millisecond.
const HELD: usize = 256;
/// Those of one 5-tuple.
const SHARE: usize = 64;
/// The same as [`HELD`] in bytes.
const HELD_BYTES: usize = 1 << 20;
/// Whatever has waited for so long makes room: its allocation has gone elsewhere.
const OLD: Duration = Duration::from_secs(1);

/// A datagram outside of the arena.
pub(super) struct Content {
    pub(super) bytes: Box<[u8]>,
    /// What of its traffic class is passed on.
    pub(super) class: u8,
}

struct Waiting {
    since: Mono,
    client: Client,
    packet: Content,
}

/// Packets that wait for allocations to come.
#[derive(Default)]
pub(super) struct Held {
    /// The oldest first.
    packets: VecDeque<Waiting>,
    bytes: usize,
}

impl Held {
    /// Keeps a packet. How many are lost: those that are too old, and it itself without room.
    pub(super) fn keep(&mut self, now: Mono, client: &Client, packet: &[u8], class: u8) -> usize {
        let mut lost = 0;
        while let Some(oldest) = self.packets.pop_front_if(|it| it.since + OLD <= now) {
            self.bytes -= oldest.packet.bytes.len();
            lost += 1;
        }
        let share = self.packets.iter().filter(|it| it.client.tuple == client.tuple).count();
        let full = self.packets.len() == HELD || self.bytes + packet.len() > HELD_BYTES;
        if full || share == SHARE {
            return lost + 1;
        }
        self.bytes += packet.len();
        let packet = Content { bytes: packet.into(), class };
        self.packets.push_back(Waiting { since: now, client: *client, packet });
        lost
    }

    /// Takes out what has come from a 5-tuple, the oldest first.
    pub(super) fn take(&mut self, tuple: &FiveTuple) -> Vec<(Client, Content)> {
        let (taken, left): (VecDeque<_>, _) =
            std::mem::take(&mut self.packets).into_iter().partition(|it| it.client.tuple == *tuple);
        self.packets = left;
        self.bytes -= taken.iter().map(|it| it.packet.bytes.len()).sum::<usize>();
        taken.into_iter().map(|it| (it.client, it.packet)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::Transport;

    fn client(port: u16) -> Client {
        let [client, server] = [port, 3478].map(|port| ([192, 0, 2, 1], port).into());
        Client { tuple: FiveTuple { transport: Transport::Udp, client, server }, leg: 0 }
    }

    #[test]
    fn one_client_does_not_take_the_room_of_others() {
        let (mut held, now) = (Held::default(), Mono::from_secs(5));
        let lost: usize = (0..1000).map(|_| held.keep(now, &client(1), b"data", 0)).sum();
        assert_eq!(lost, 1000 - SHARE);
        assert_eq!(held.keep(now, &client(2), b"first", 7), 0);
        assert_eq!(held.keep(now, &client(2), b"second", 0), 0);
        let taken = held.take(&client(2).tuple);
        let taken: Vec<_> = taken.iter().map(|(_, it)| (&it.bytes[..], it.class)).collect();
        assert_eq!(taken, [(&b"first"[..], 7), (&b"second"[..], 0)]);
        assert_eq!(held.take(&client(1).tuple).len(), SHARE);
        assert_eq!((held.packets.len(), held.bytes), (0, 0));
    }

    #[test]
    fn all_together_they_are_bounded_and_the_old_ones_make_room() {
        let (mut held, now) = (Held::default(), Mono::from_secs(5));
        let lost: usize = (0..1000).map(|port| held.keep(now, &client(port), b"data", 0)).sum();
        assert_eq!(lost, 1000 - HELD);
        let soon = now + OLD / 2;
        assert_eq!(held.keep(soon, &client(7000), b"data", 0), 1);
        assert_eq!(held.keep(now + OLD, &client(7000), b"data", 0), HELD);
        let large = [0; 60_000];
        let lost: usize = (0..64).map(|_| held.keep(now + OLD, &client(8000), &large, 0)).sum();
        assert_eq!(lost, 64 - HELD_BYTES / large.len());
        assert_eq!(held.take(&client(7000).tuple).len(), 1);
    }
}
