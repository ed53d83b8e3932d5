//! Which queued datagrams travel together: the trains of one flush.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::buffers::Buffers;
use super::outgoing::{Outgoing, Queued};

/// Most datagrams in one train (UDP_MAX_SEGMENTS before Linux 6.9).
pub(super) const MAX_SEGMENTS: u32 = 64;
/// Most bytes in one train; with the IP and UDP headers it stays below 64 KiB.
const MAX_BYTES: u32 = 65_000;

/// Datagrams of one way that leave as one message; most often it is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Train {
    /// Place in the queue of the first; the others are linked from it.
    pub(super) first: u32,
    last: u32,
    /// How many datagrams.
    pub(super) count: u32,
    /// Bytes of each datagram but the last, which may be shorter.
    pub(super) segment: u32,
    bytes: u32,
    /// It takes no more.
    closed: bool,
}

/// Groups a queue into trains. Datagrams of one way keep their order; ways of one socket stand in the order of
/// their first datagrams.
pub(super) struct Planner {
    trains: Vec<Train>,
    /// Socket, place in `trains` and whether it needs a system call for itself, sorted.
    order: Vec<u64>,
    /// By hash of the way: its newest train. An entry is never cleared: it counts if this flush has made it. Where
    /// too many ways meet, their datagrams travel alone.
    newest: Vec<Newest>,
    /// The number of this flush, never 0.
    flush: u32,
    refusals: [Refusal; REFUSALS],
    seed: u64,
}

/// The newest train of a way.
#[derive(Clone, Copy)]
struct Newest {
    /// The flush that it was made in.
    flush: u32,
    /// Its place in `trains`.
    train: u32,
}

/// A way whose trains the kernel does not take, though it takes the datagrams one by one: they are larger than
/// the path's MTU, or the way leads through IPsec.
#[derive(Clone, Copy)]
struct Refusal {
    key: u64,
    /// Smaller segments may pass.
    segment: u32,
    /// How many more datagrams travel alone before a train is tried again.
    datagrams: u32,
}

/// Entries that a way may stand in.
const PROBES: usize = 8;
const REFUSALS: usize = 64;
const ALONE_AFTER_REFUSAL: u32 = 1024;

impl Planner {
    /// For queues of at most `max` datagrams.
    pub(super) fn new(max: usize) -> Self {
        Self {
            trains: Vec::with_capacity(max),
            order: Vec::with_capacity(max),
            newest: vec![Newest { flush: 0, train: 0 }; table_size(max)],
            flush: 0,
            refusals: [Refusal::NONE; REFUSALS],
            seed: RandomState::new().hash_one(0),
        }
    }

    /// Makes the trains of `queue`, without `segmentation` of one datagram each, and says how many datagrams
    /// have a payload that is not in `buffers` and were left out.
    pub(super) fn plan(
        &mut self,
        queue: &mut [Queued],
        buffers: &Buffers,
        segmentation: bool,
    ) -> u64 {
        self.trains.clear();
        self.order.clear();
        self.flush = self.flush.wrapping_add(1);
        if self.flush == 0 {
            // Numbers come again, so what they have made must go.
            self.newest.fill(Newest { flush: 0, train: 0 });
            self.flush = 1;
        }
        let mask = table_size(queue.len()) - 1;
        let mut left_out = 0;
        for place in 0..queue.len() {
            let datagram = &queue[place].datagram;
            if datagram.payload(buffers).is_none() {
                left_out += 1;
                continue;
            }
            let (socket, alone) = (datagram.socket, datagram.wants_option());
            if segmentation {
                let key = key(datagram, self.seed);
                if let Some(entry) = self.entry(queue, place, key as usize, mask) {
                    let Newest { flush, train } = self.newest[entry];
                    if flush == self.flush && self.join(queue, place, train, key) {
                        continue;
                    }
                    let train = self.trains.len() as u32;
                    self.newest[entry] = Newest { flush: self.flush, train };
                }
            }
            let number = self.trains.len() as u64;
            self.order.push(u64::from(socket as u32) << 32 | number << 1 | u64::from(alone));
            self.trains.push(Train::of(&queue[place], place as u32));
        }
        // The number is part of the key, so this is stable; unlike a stable sort it allocates nothing.
        self.order.sort_unstable();
        left_out
    }

    /// Where the newest train of the datagram's way stands in `newest`, or is to stand: the first of a few
    /// entries that no other way has in this flush, if there is one.
    fn entry(&self, queue: &[Queued], place: usize, home: usize, mask: usize) -> Option<usize> {
        let datagram = &queue[place].datagram;
        let others = |entry: &usize| {
            let Newest { flush, train } = self.newest[*entry];
            let first = self.trains.get(train as usize).map(|train| train.first as usize);
            flush == self.flush && first.is_some_and(|at| !queue[at].datagram.same_way(datagram))
        };
        let mut entries = (0..PROBES).map(|step| home.wrapping_add(step) & mask);
        entries.find(|entry| !others(entry))
    }

    /// The trains that one system call can send from `start` on: their socket and where they end; and whether it
    /// is one that needs the DF bit set on the socket. `None` at the end of all.
    pub(super) fn run(&self, start: usize) -> Option<(RawFd, usize, bool)> {
        let rest = &self.order[start..];
        let first = *rest.first()?;
        let same = |key: &&u64| **key >> 32 == first >> 32 && **key & 1 == 0;
        let more = if first & 1 == 1 { 0 } else { rest[1..].iter().take_while(same).count() };
        Some(((first >> 32) as RawFd, start + 1 + more, first & 1 == 1))
    }

    /// All trains in the order of sending: those of one socket stand together.
    pub(super) fn trains(&self) -> impl Iterator<Item = &Train> {
        self.order.iter().filter_map(|key| self.at(*key))
    }

    /// Train `i` in the order of sending.
    pub(super) fn train(&self, i: usize) -> Option<&Train> {
        self.at(*self.order.get(i)?)
    }

    fn at(&self, key: u64) -> Option<&Train> {
        self.trains.get((key as u32 >> 1) as usize)
    }

    /// Lets datagrams like those of train `i`, which the kernel has refused, travel alone for a while.
    pub(super) fn refused(&mut self, i: usize, queue: &[Queued]) {
        let Some(&Train { first, segment, .. }) = self.train(i) else {
            return;
        };
        let key = key(&queue[first as usize].datagram, self.seed);
        self.refusals[refusal(key)] = Refusal { key, segment, datagrams: ALONE_AFTER_REFUSAL };
    }

    /// Adds a datagram to a train if the train is of its way and has room, and its size fits.
    fn join(&mut self, queue: &mut [Queued], place: usize, train: u32, key: u64) -> bool {
        let Some(train) = self.trains.get_mut(train as usize) else {
            return false;
        };
        let (size, datagram) = (queue[place].size(), &queue[place].datagram);
        let fits = !train.closed
            && !datagram.dont_fragment
            && (1..=train.segment).contains(&size)
            && size + train.bytes <= MAX_BYTES;
        let first = &queue[train.first as usize].datagram;
        // The kernel gives all of a train one IP header. Another class begins another train behind this one.
        if !fits || !first.same_way(datagram) || first.traffic_class != datagram.traffic_class {
            return false;
        }
        if train.count == 1 && self.refusals[refusal(key)].applies(key, train.segment) {
            return false;
        }
        queue[train.last as usize].next = place as u32;
        train.last = place as u32;
        train.count += 1;
        train.bytes += size;
        train.closed = size < train.segment || train.count == MAX_SEGMENTS;
        true
    }
}

impl Train {
    fn of(queued: &Queued, place: u32) -> Self {
        let size = queued.size();
        Self {
            first: place,
            last: place,
            count: 1,
            segment: size,
            bytes: size,
            closed: queued.datagram.dont_fragment,
        }
    }

    /// The places of its datagrams in the queue, in their order.
    pub(super) fn members<'a>(&self, queue: &'a [Queued]) -> impl Iterator<Item = &'a Queued> {
        let mut next = self.first;
        (0..self.count).map_while(move |_| {
            let queued = queue.get(next as usize)?;
            next = queued.next;
            Some(queued)
        })
    }
}

impl Refusal {
    const NONE: Self = Self { key: 0, segment: 0, datagrams: 0 };

    /// Whether it says no to one more datagram.
    fn applies(&mut self, key: u64, segment: u32) -> bool {
        let applies = self.datagrams > 0 && self.key == key && self.segment <= segment;
        self.datagrams -= u32::from(applies);
        applies
    }
}

/// A hash of socket and destination; the source is nearly always the same for one destination.
fn key(datagram: &Outgoing, seed: u64) -> u64 {
    let (high, low) = match datagram.to {
        SocketAddr::V4(to) => (0, u64::from(to.ip().to_bits())),
        SocketAddr::V6(to) => {
            let bits = to.ip().to_bits();
            ((bits >> 64) as u64, bits as u64)
        }
    };
    let place = u64::from(datagram.socket as u32) << 16 | u64::from(datagram.to.port());
    let mixed = fold(low ^ seed, high ^ MULTIPLIER);
    fold(mixed ^ place, seed | 1)
}

/// Both halves of a product, so that each bit of the answer depends on bits above and below it.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

// The golden ratio's fraction: odd, and without a pattern.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Entries for a queue of `datagrams`: so many that two ways seldom share one.
fn table_size(datagrams: usize) -> usize {
    (16 * datagrams).next_power_of_two()
}

fn refusal(key: u64) -> usize {
    (key >> 32) as usize % REFUSALS
}
