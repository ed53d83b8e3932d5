//! Rooms in which two browsers find each other for a call: who is in, and whom a message goes to.
//!
//! This is signalling, and no part of TURN: it carries `offer`, `answer` and `new-ice-candidate` from one seat to the
//! other, as any application has to by means of its own. What is said in a call never comes here.
//!
//! Whoever holds the name of a room may take its free seat, so a name is 128 random bits. Everything is bounded: rooms,
//! rooms opened from one address (of IPv6: from a /64), seats, the time a room lasts, and what waits for a seat that does not read.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::sync::mpsc;

use super::Key;
use super::rates::network;

/// Rooms at a time: this shows that a server works, and is no conference service.
pub(super) const ROOMS: usize = 64;
/// Of these, opened from one address (of IPv6: from a /64).
pub(super) const ROOMS_OF_ONE: usize = 8;
/// How long a room lasts, in use or not. Credentials handed out in it end with it.
pub(super) const LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);
/// How long a room with nobody in it is kept: somebody may have closed the wrong tab.
pub(super) const KEPT_EMPTY: Duration = Duration::from_secs(10 * 60);
/// Messages that wait for a seat: more than may come at once, so that nobody is pushed out by the other.
const WAITING: usize = 256;

/// What the server sends to a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// From the other seat, as it was sent.
    Said(String),
    /// The other seat is taken now, or free again.
    Peer(bool),
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// No room of this name: it is over, or never was.
    NoRoom,
    /// Two are in it already.
    Full,
    /// As many rooms are open as may be.
    TooMany,
    /// As many as may be were opened from this address.
    TooManyOfYours,
}

impl NoSeat {
    /// Its name on the wire.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::Full => "room_full",
            Self::TooMany => "too_many_rooms",
            Self::TooManyOfYours => "too_many_rooms_of_yours",
        }
    }
}

/// All rooms.
#[derive(Default)]
pub(super) struct Rooms(Mutex<Table>);

#[derive(Default)]
struct Table {
    rooms: HashMap<String, Room>,
    /// Numbers those who take a seat, so that one who has gone does not free the seat of the next.
    serial: u64,
}

struct Room {
    /// The network that it was opened from.
    by: IpAddr,
    /// What it was opened with.
    key: Key,
    label: String,
    ends: Instant,
    /// When it was first seen that nobody is in it.
    empty: Option<Instant>,
    seats: [Option<Seat>; 2],
    looked: Looked,
}

/// What was relayed for both seats, and when that was looked at: they share one look.
pub(super) type Looked = Arc<tokio::sync::Mutex<Option<(Instant, Vec<Value>)>>>;

struct Seat {
    serial: u64,
    out: mpsc::Sender<Told>,
}

/// A seat in a room, free again when this is dropped.
pub(super) struct Place<'a> {
    rooms: &'a Rooms,
    name: String,
    key: Key,
    label: String,
    index: usize,
    serial: u64,
    ends: Instant,
    /// What both seats know of what was relayed.
    pub(super) looked: Looked,
    /// What comes for this seat. It ends when the room does, or when too much has waited.
    pub(super) inbox: mpsc::Receiver<Told>,
}

impl Rooms {
    /// Opens a room for somebody at `by` with a key and gives them its first seat. `random` makes its name.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn open(
        &self,
        now: Instant,
        (by, key): (IpAddr, &Key),
        random: [u8; 20],
    ) -> Result<Place<'_>, NoSeat> {
        let by = network(by);
        let mut table = self.table();
        table.sweep(now);
        if table.rooms.len() >= ROOMS {
            return Err(NoSeat::TooMany);
        }
        if table.rooms.values().filter(|room| room.by == by).count() >= ROOMS_OF_ONE {
            return Err(NoSeat::TooManyOfYours);
        }
        let name = URL_SAFE_NO_PAD.encode(&random[..16]);
        // Of other bits than the name: a label stands in logs, and a name lets people in.
        let label: String = random[16..].iter().map(|byte| format!("{byte:02x}")).collect();
        let label = format!("call-{label}");
        let (key, ends, looked) = (key.clone(), now + LIFETIME, Looked::default());
        let room = Room { by, key, label, ends, empty: None, seats: Default::default(), looked };
        table.rooms.insert(name.clone(), room);
        drop(table);
        self.enter(now, &name)
    }

    /// Takes a free seat of a room, and tells the other one.
    ///
    /// # Errors
    /// There is no such room, or two are in it.
    pub(super) fn enter(&self, now: Instant, name: &str) -> Result<Place<'_>, NoSeat> {
        let mut table = self.table();
        table.sweep(now);
        let Table { rooms, serial } = &mut *table;
        let room = rooms.get_mut(name).ok_or(NoSeat::NoRoom)?;
        let index = room.seats.iter().position(Option::is_none).ok_or(NoSeat::Full)?;
        *serial += 1;
        let (out, inbox) = mpsc::channel(WAITING);
        let seat = Seat { serial: *serial, out };
        let (ends, looked) = (room.ends, Arc::clone(&room.looked));
        let (key, label) = (room.key.clone(), room.label.clone());
        // Whoever comes learns first whether somebody is there.
        let _ = seat.out.try_send(Told::Peer(room.seats[1 - index].is_some()));
        room.seats[index] = Some(seat);
        room.empty = None;
        room.tell(1 - index, Told::Peer(true));
        let (name, serial) = (name.to_owned(), *serial);
        Ok(Place { rooms: self, name, key, label, index, serial, ends, looked, inbox })
    }

    /// Rooms that are open, with somebody in them or not.
    #[cfg(test)]
    pub(super) fn count(&self, now: Instant) -> usize {
        let mut table = self.table();
        table.sweep(now);
        table.rooms.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics under the lock, and a table is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Forgets rooms that are over. There are few, so that all are looked at.
    fn sweep(&mut self, now: Instant) {
        self.rooms.retain(|_, room| {
            if room.seats.iter().all(Option::is_none) {
                room.empty.get_or_insert(now);
            }
            let left = room.empty.is_some_and(|since| now >= since + KEPT_EMPTY);
            now < room.ends && !left
        });
    }
}

impl Room {
    /// Puts something before a seat. One that lets too much wait loses its seat: what it misses would not be made up for.
    fn tell(&mut self, index: usize, told: Told) {
        let seat = &mut self.seats[index];
        if seat.as_ref().is_some_and(|seat| seat.out.try_send(told).is_err()) {
            *seat = None;
        }
    }
}

impl Place<'_> {
    /// The name of the room, which lets another in.
    pub(super) fn room(&self) -> &str {
        &self.name
    }

    /// The key that the room was opened with, as it was: whoever is let in has credentials by it.
    pub(super) const fn key(&self) -> &Key {
        &self.key
    }

    /// What this seat is called in logs and accounting. It does not let anybody in.
    pub(super) fn label(&self) -> String {
        self.label_of(self.number())
    }

    /// The same of the seat of a number.
    pub(super) fn label_of(&self, number: usize) -> String {
        format!("{}-{number}", self.label)
    }

    /// 1 or 2.
    pub(super) const fn number(&self) -> usize {
        self.index + 1
    }

    /// When the room is over.
    pub(super) const fn ends(&self) -> Instant {
        self.ends
    }

    /// Says something to the other seat; without one it is heard by nobody.
    pub(super) fn say(&self, text: String) {
        if let Some(room) = self.rooms.table().rooms.get_mut(&self.name) {
            room.tell(1 - self.index, Told::Said(text));
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut table = self.rooms.table();
        let Some(room) = table.rooms.get_mut(&self.name) else {
            return;
        };
        let seat = &mut room.seats[self.index];
        // Another may sit there by now, when this one let too much wait.
        if seat.as_ref().is_none_or(|seat| seat.serial == self.serial) {
            *seat = None;
            room.tell(1 - self.index, Told::Peer(false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn key() -> Key {
        Key::new("key", &Secret::new("secret"), "key", 0, Duration::from_secs(60))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn two_hear_each_other_and_a_third_finds_no_seat() {
        let (rooms, now) = (Rooms::default(), Instant::now());
        let mut first = rooms.open(now, (HERE, &key()), [7; 20]).unwrap();
        assert_eq!(first.inbox.try_recv(), Ok(Told::Peer(false)));
        let name = first.room().to_owned();
        let mut second = rooms.enter(now, &name).unwrap();
        assert_eq!((first.number(), second.number()), (1, 2));
        assert_eq!((&*first.label(), &*second.label()), ("call-07070707-1", "call-07070707-2"));
        assert_eq!(second.inbox.try_recv(), Ok(Told::Peer(true)));
        assert_eq!(first.inbox.try_recv(), Ok(Told::Peer(true)));
        assert_eq!(rooms.enter(now, &name).err(), Some(NoSeat::Full));
        first.say("hello".into());
        assert_eq!(second.inbox.try_recv(), Ok(Told::Said("hello".into())));
        assert!(first.inbox.try_recv().is_err(), "nobody hears themselves");
        drop(first);
        assert_eq!(second.inbox.try_recv(), Ok(Told::Peer(false)));
        let again = rooms.enter(now, &name).unwrap();
        assert_eq!(again.number(), 1);
        assert_eq!(second.inbox.try_recv(), Ok(Told::Peer(true)));
    }

    #[test]
    fn a_room_is_found_by_its_whole_name_only() {
        let (rooms, now) = (Rooms::default(), Instant::now());
        let first = rooms.open(now, (HERE, &key()), [7; 20]).unwrap();
        for other in ["", &first.room()[1..], &first.label(), "x"] {
            assert_eq!(rooms.enter(now, other).err(), Some(NoSeat::NoRoom));
        }
    }

    #[test]
    fn a_room_ends_in_use_or_not_and_sooner_when_it_is_empty() {
        let (rooms, now) = (Rooms::default(), Instant::now());
        let mut kept = rooms.open(now, (HERE, &key()), [1; 20]).unwrap();
        let left = rooms.open(now, (HERE, &key()), [2; 20]).unwrap().room().to_owned();
        assert_eq!(rooms.count(now), 2);
        assert_eq!(rooms.count(now + KEPT_EMPTY), 1);
        assert_eq!(rooms.enter(now, &left).err(), Some(NoSeat::NoRoom));
        assert_eq!(kept.ends(), now + LIFETIME);
        assert_eq!(rooms.count(now + LIFETIME), 0);
        assert_eq!(kept.inbox.try_recv(), Ok(Told::Peer(false)));
        assert_eq!(kept.inbox.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn whoever_comes_back_in_time_finds_the_room() {
        let (rooms, now) = (Rooms::default(), Instant::now());
        let name = rooms.open(now, (HERE, &key()), [1; 20]).unwrap().room().to_owned();
        let almost = KEPT_EMPTY - Duration::from_secs(1);
        rooms.count(now);
        drop(rooms.enter(now + almost, &name).unwrap());
        rooms.count(now + almost);
        assert!(rooms.enter(now + 2 * almost, &name).is_ok());
    }

    #[test]
    fn rooms_are_bounded_in_all_and_for_one_address() {
        let (rooms, now) = (Rooms::default(), Instant::now());
        let mut number = 0u8;
        let mut open = |by| {
            number += 1;
            rooms.open(now, (by, &key()), [number; 20])
        };
        let mut kept: Vec<_> = (0..ROOMS_OF_ONE).map(|_| open(HERE).unwrap()).collect();
        assert_eq!(open(HERE).err(), Some(NoSeat::TooManyOfYours));
        for last in 0..(ROOMS - ROOMS_OF_ONE) as u8 {
            kept.push(open(address(last)).unwrap());
        }
        assert_eq!(open(address(200)).err(), Some(NoSeat::TooMany));
        drop(kept);
        assert_eq!(rooms.count(now), ROOMS);
        assert_eq!(rooms.count(now + KEPT_EMPTY), 0);
    }

    #[test]
    fn all_addresses_of_one_network_open_as_many_rooms_as_one() {
        let (rooms, now) = (Rooms::default(), Instant::now());
        let open = |number: u8, by: &str| {
            rooms.open(now, (by.parse().unwrap(), &key()), [number; 20]).map(drop)
        };
        for number in 0..ROOMS_OF_ONE as u8 {
            assert_eq!(open(number, &format!("2001:db8::{number}")), Ok(()));
        }
        assert_eq!(open(100, "2001:db8::ffff:1"), Err(NoSeat::TooManyOfYours));
        assert_eq!(open(101, "2001:db8:0:1::1"), Ok(()));
    }

    #[test]
    fn one_that_does_not_read_loses_the_seat_and_its_end_does_not_take_the_next_ones() {
        let (rooms, now) = (Rooms::default(), Instant::now());
        let mut first = rooms.open(now, (HERE, &key()), [1; 20]).unwrap();
        let mut slow = rooms.enter(now, first.room()).unwrap();
        for _ in 0..=WAITING {
            first.say("flood".into());
        }
        let mut next = rooms.enter(now, first.room()).unwrap();
        while slow.inbox.try_recv().is_ok() {}
        assert_eq!(slow.inbox.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        drop(slow);
        first.say("to the next".into());
        assert_eq!(next.inbox.try_recv(), Ok(Told::Peer(true)));
        assert_eq!(next.inbox.try_recv(), Ok(Told::Said("to the next".into())));
        while let Ok(told) = first.inbox.try_recv() {
            assert!(matches!(told, Told::Peer(_)));
        }
    }
}
