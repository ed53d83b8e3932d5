use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use super::{Cause, Client, FiveTuple, Reply, Server, Verdict};
use crate::time::Mono;

/// Number of cells; 512 KiB, and never more, whatever strangers send.
const CELLS: usize = 1 << 16;
/// Cells that an address may have its rate in.
const WAYS: usize = 4;
/// Many clients with allocations may share an address: so many times the rate of strangers is theirs.
const KNOWN: u32 = 4;
/// The low bits of a cell hold a time in microseconds (8.9 years), the high ones a tag.
const TIME_BITS: u32 = 48;
const TIME: u64 = (1 << TIME_BITS) - 1;

/// Bounds the answers to each address before it has authenticated, so that a forged source
/// address gets no flood of answers.
///
/// One table of fixed size for all workers. Where more than four addresses that are answered at the
/// same time meet, they take cells from each other: each then gets more answers than it should, never
/// fewer. The hash is seeded, so nobody can choose addresses that meet.
#[derive(Default)]
pub(super) struct Guard {
    /// Made with the first question: where nothing is bounded there is none.
    cells: OnceLock<Box<[AtomicU64]>>,
    hasher: RandomState,
}

impl Guard {
    /// Whether the address may be answered once more; twice `per_second` may come at once.
    pub(super) fn admit(&self, client: &FiveTuple, now: Mono, per_second: u32) -> bool {
        self.take(Kind::of(client), client, now, per_second)
    }

    /// The same for what NAT behaviour discovery sends another way. It has a rate of its own, so
    /// that whoever uses it up in another's name does not take him the rest.
    pub(super) fn admit_discovery(&self, client: &FiveTuple, now: Mono, per_second: u32) -> bool {
        self.take(Kind::Discovery, client, now, per_second)
    }

    /// The same for the handshakes that an address begins: it has proved itself, and each of them costs
    /// a thousand packets.
    pub(super) fn admit_handshake(&self, client: &FiveTuple, now: Mono, per_second: u32) -> bool {
        self.take(Kind::Handshakes, client, now, per_second)
    }

    /// The same for what nobody has signed and comes from the 5-tuple of an allocation. It has a
    /// rate of its own, so that whoever uses it up in a client's name troubles no newcomer there.
    fn admit_known(&self, client: &FiveTuple, now: Mono, per_second: u32) -> bool {
        self.take(Kind::Known, client, now, per_second)
    }

    fn take(&self, kind: Kind, client: &FiveTuple, now: Mono, per_second: u32) -> bool {
        let Some((cell, tag)) = self.cell(kind, client) else {
            return true;
        };
        let seen = cell.load(Ordering::Relaxed);
        let now = now.as_micros() & TIME;
        // A cell of another address, or never used, is full.
        let full_at = if seen >> TIME_BITS == tag { (seen & TIME).max(now) } else { now };
        let next = full_at + 1_000_000 / u64::from(per_second.max(1));
        if next - now > 2_000_000 {
            return false;
        }
        cell.store(tag << TIME_BITS | next & TIME, Ordering::Relaxed);
        true
    }

    /// Gives back what [`Self::admit`] took, for a request that authenticated itself.
    pub(super) fn refund(&self, client: &FiveTuple, per_second: u32) {
        let Some((cell, tag)) = self.cell(Kind::of(client), client) else {
            return;
        };
        let seen = cell.load(Ordering::Relaxed);
        if seen >> TIME_BITS == tag {
            let back = (seen & TIME).saturating_sub(1_000_000 / u64::from(per_second.max(1)));
            cell.store(tag << TIME_BITS | back, Ordering::Relaxed);
        }
    }

    fn cell(&self, kind: Kind, client: &FiveTuple) -> Option<(&AtomicU64, u64)> {
        let key = (prefix(client.client.ip()), kind as u8);
        let hash = self.hasher.hash_one(key);
        let first = hash as usize % (CELLS / WAYS) * WAYS;
        let cells = self.cells.get_or_init(|| (0..CELLS).map(|_| AtomicU64::new(0)).collect());
        let cells = cells.get(first..first + WAYS)?;
        // The tag is never 0, so that an unused cell is nobody's.
        let tag = (hash >> TIME_BITS) | 1;
        let own = cells.iter().find(|cell| cell.load(Ordering::Relaxed) >> TIME_BITS == tag);
        let oldest = || cells.iter().min_by_key(|cell| cell.load(Ordering::Relaxed) & TIME);
        Some((own.or_else(oldest)?, tag))
    }
}

/// What is counted by itself.
#[derive(Clone, Copy)]
enum Kind {
    Datagrams,
    /// A flood with a forged address must not end the connections of those who have proved theirs.
    Proved,
    Discovery,
    Handshakes,
    /// Unsigned, from 5-tuples with allocations.
    Known,
}

impl Kind {
    const fn of(client: &FiveTuple) -> Self {
        if client.transport.proves_address() { Self::Proved } else { Self::Datagrams }
    }
}

impl Server {
    /// Whether the limits for each address apply to a client.
    pub(super) fn guards(&self, tuple: &FiveTuple) -> bool {
        !self.settings.limits.exempts(tuple.client.ip()) && !self.settings.may_be_self_check(tuple)
    }

    /// Whether a request of a client without an allocation is answered.
    pub(super) fn admit_stranger(&self, now: Mono, tuple: &FiveTuple) -> bool {
        let rate = self.settings.limits.unauthenticated_per_second;
        // What has waited for the stores has been counted when it came.
        let counted = self.origin.is_some() || self.resumed;
        rate == 0 || counted || self.ledger.guard.admit(tuple, now, rate)
    }

    /// Gives back what [`Self::admit_stranger`] took, if the request has authenticated itself.
    pub(super) fn refund_stranger(&self, tuple: &FiveTuple, verdict: &Verdict) {
        let rate = self.settings.limits.unauthenticated_per_second;
        let doubted = matches!(
            verdict,
            Verdict::Park | Verdict::Reply(Reply { refusal: Some(Cause::Auth(_)), .. })
        );
        if rate != 0 && !doubted {
            self.ledger.guard.refund(tuple, rate);
        }
    }

    /// Whether a request that its client has not signed is answered on the 5-tuple of an allocation:
    /// on UDP, anybody can send it whom a peer has told the client's address.
    pub(super) fn admit_unsigned(&self, now: Mono, client: &Client) -> bool {
        let (limits, tuple) = (&self.settings.limits, &client.tuple);
        let rate = limits.unauthenticated_per_second;
        if rate == 0 || tuple.transport.proves_address() || limits.exempts(tuple.client.ip()) {
            return true;
        }
        self.ledger.guard.admit_known(tuple, now, rate.saturating_mul(KNOWN))
    }
}

/// What counts as one address: all of an IPv4 address, the /64 of an IPv6 one.
pub(super) const fn prefix(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits() as u64,
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::Transport;
    use std::time::Duration;

    #[test]
    fn one_address_gets_its_rate_and_another_is_not_concerned() {
        let guard = Guard::default();
        let start = Mono::from_secs(100);
        let from = |text: &str, transport| FiveTuple {
            transport,
            client: text.parse().unwrap(),
            server: "192.0.2.9:3478".parse().unwrap(),
        };
        let flood = &from("192.0.2.1:1", Transport::Udp);
        let quiet = &from("192.0.2.2:1", Transport::Udp);
        let stream = &from("192.0.2.1:1", Transport::Tcp);
        let passed = (0..1000).filter(|_| guard.admit(flood, start, 50)).count();
        assert_eq!(passed, 100);
        assert!(guard.admit(quiet, start, 50));
        assert!(guard.admit(stream, start, 50));
        assert_eq!((0..1000).filter(|_| guard.admit_discovery(flood, start, 5)).count(), 10);
        assert_eq!((0..1000).filter(|_| guard.admit_handshake(flood, start, 7)).count(), 14);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| guard.admit(flood, later, 50)).count(), 50);
        guard.refund(flood, 50);
        assert!(guard.admit(flood, later, 50));
        assert!(!guard.admit(flood, later, 50));
    }

    #[test]
    fn a_whole_ipv6_subnet_is_one_address() {
        let one: IpAddr = "2001:db8:1:2::1".parse().unwrap();
        let two: IpAddr = "2001:db8:1:2:ffff::9".parse().unwrap();
        assert_eq!(prefix(one), prefix(two));
        assert_ne!(prefix(one), prefix("2001:db8:1:3::1".parse().unwrap()));
    }
}
