use std::collections::VecDeque;

use super::super::stream::tools::SPARE_SIZE;
use super::*;
use proptest::prelude::*;

/// An end whose other side is a test: what it will read, and how much it takes at a time.
#[derive(Default)]
struct Side {
    /// What the other side has sent and is not yet read.
    sent: VecDeque<u8>,
    /// The other side will send nothing more.
    ended: bool,
    /// It has said so behind its last bytes, as TLS does.
    said: bool,
    /// Bytes that it takes before it would block.
    room: usize,
    got: Vec<u8>,
    finished: bool,
    dead: bool,
    reads: usize,
}

impl End for Side {
    fn read(&mut self, buffer: &mut [u8], _: &mut Tools) -> io::Result<usize> {
        self.reads += 1;
        if self.dead {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if self.sent.is_empty() && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = self.sent.len().min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(self.sent.drain(..length)) {
            *place = byte;
        }
        Ok(length)
    }

    fn write(&mut self, bytes: &[u8], _: &mut Tools) -> io::Result<usize> {
        assert!(!self.finished, "written to after its end");
        if self.dead {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let length = bytes.len().min(self.room);
        if length == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= length;
        self.got.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn has_ended(&self) -> bool {
        self.said && self.sent.is_empty()
    }

    fn finish(&mut self, _: &mut Tools) -> io::Result<()> {
        assert!(!self.finished, "ended twice");
        self.finished = true;
        Ok(())
    }

    fn abort(&mut self) {}

    fn socket(&self) -> BorrowedFd<'_> {
        panic!("nobody watches it")
    }
}

const CHUNK: usize = 16;

struct World {
    bridge: Bridge<Side, Side>,
    scratch: [u8; CHUNK],
    tools: Tools,
}

impl World {
    fn new(unsent: &[u8], surplus: &[u8]) -> Self {
        let bridge =
            Bridge::new((Side::default(), 1), (Side::default(), 2), unsent.to_vec(), surplus);
        Self { bridge, scratch: [0; CHUNK], tools: Tools::default() }
    }

    fn pump(&mut self, direction: Direction) -> Fate {
        self.bridge.pump(direction, &mut self.scratch, &mut self.tools, |_| None)
    }

    /// What of a direction is in the bridge.
    fn kept(&self, direction: Direction) -> usize {
        let pipe = match direction {
            Direction::ToPeer => &self.bridge.to_peer,
            Direction::ToClient => &self.bridge.to_client,
        };
        pipe.kept.len() - pipe.sent
    }
}

/// The poller has nothing to tell any more, in whichever read the end was said.
#[test]
fn an_end_that_was_said_is_passed_on_at_once() {
    for reads in 1..=READS {
        let mut world = World::new(&[], &[]);
        world.bridge.client.sent.extend(vec![7; reads * CHUNK]);
        world.bridge.client.said = true;
        world.bridge.peer.room = usize::MAX;
        assert_eq!(world.pump(Direction::ToPeer), Fate::Open);
        assert_eq!(world.bridge.peer.got.len(), reads * CHUNK);
        assert!(world.bridge.peer.finished, "after {reads} reads");
    }
}

const BOTH: [Direction; 2] = [Direction::ToPeer, Direction::ToClient];

/// Something that happens to one side.
#[derive(Clone, Debug)]
enum Step {
    Send(bool, Vec<u8>),
    Room(bool, usize),
    End(bool),
    Pump(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<bool>(), prop::collection::vec(any::<u8>(), 1..80))
            .prop_map(|(side, bytes)| Step::Send(side, bytes)),
        3 => (any::<bool>(), 0_usize..60).prop_map(|(side, room)| Step::Room(side, room)),
        1 => any::<bool>().prop_map(Step::End),
        6 => any::<bool>().prop_map(Step::Pump),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    /// Whatever the pace of both sides: no byte is lost, doubled or moved, no more than one read is ever kept, and
    /// the ends come behind all bytes.
    #[test]
    fn what_comes_out_is_what_went_in(steps in steps(), surplus: [u8; 5]) {
        let mut world = World::new(b"response", &surplus);
        let mut sent = [surplus.to_vec(), b"response".to_vec()];
        let mut ended = [false, false];
        for step in steps {
            match step {
                Step::Send(client, bytes) if !ended[usize::from(!client)] => {
                    let side = if client { &mut world.bridge.client } else { &mut world.bridge.peer };
                    side.sent.extend(&bytes);
                    sent[usize::from(!client)].extend(bytes);
                }
                Step::Room(client, room) => {
                    let side = if client { &mut world.bridge.client } else { &mut world.bridge.peer };
                    side.room += room;
                }
                Step::End(client) => {
                    let side = if client { &mut world.bridge.client } else { &mut world.bridge.peer };
                    side.ended = true;
                    ended[usize::from(!client)] = true;
                }
                Step::Pump(first) => {
                    let fate = world.pump(BOTH[usize::from(first)]);
                    prop_assert_ne!(fate, Fate::Broken);
                }
                Step::Send(..) => {}
            }
            prop_assert!(BOTH.iter().all(|direction| world.kept(*direction) <= CHUNK));
            prop_assert!(sent[0].starts_with(&world.bridge.peer.got));
            prop_assert!(sent[1].starts_with(&world.bridge.client.got));
            prop_assert!(!world.bridge.peer.finished || world.bridge.peer.got == sent[0]);
            prop_assert!(!world.bridge.client.finished || world.bridge.client.got == sent[1]);
        }
        // In the end both take everything and say that they are done.
        for side in [&mut world.bridge.client, &mut world.bridge.peer] {
            (side.room, side.ended) = (usize::MAX, true);
        }
        let fates = (0..400).map(|turn| world.pump(BOTH[turn % 2])).collect::<Vec<_>>();
        prop_assert_eq!(fates.last(), Some(&Fate::Done));
        prop_assert_eq!(&world.bridge.peer.got, &sent[0]);
        prop_assert_eq!(&world.bridge.client.got, &sent[1]);
    }
}

#[test]
fn nothing_is_read_that_cannot_be_written() {
    let mut world = World::new(b"", b"");
    world.bridge.peer.sent.extend([7; 100 * CHUNK]);
    world.bridge.client.room = 3;
    for _ in 0..10 {
        assert_eq!(world.pump(Direction::ToClient), Fate::Open);
    }
    assert_eq!((world.bridge.peer.reads, world.kept(Direction::ToClient)), (1, CHUNK - 3));
    assert_eq!(interest_of_peer(&world), Interest::Errors);
    world.bridge.client.room = CHUNK;
    world.pump(Direction::ToClient);
    assert_eq!(world.bridge.peer.reads, 2);
}

fn interest_of_peer(world: &World) -> Interest {
    interest(&world.bridge.to_client, &world.bridge.to_peer, false)
}

#[test]
fn one_turn_is_bounded() {
    let mut world = World::new(b"", b"");
    world.bridge.client.sent.extend([7; 100 * CHUNK]);
    world.bridge.peer.room = usize::MAX;
    world.pump(Direction::ToPeer);
    assert_eq!(world.bridge.peer.got.len(), READS * CHUNK);
}

#[test]
fn a_direction_rests_until_its_time_has_come() {
    let mut world = World::new(b"", b"");
    world.bridge.client.sent.extend([7; 5 * CHUNK]);
    world.bridge.peer.room = usize::MAX;
    let later = Mono::from_secs(9);
    let rest = |_| Some(later);
    world.bridge.pump(Direction::ToPeer, &mut world.scratch, &mut world.tools, rest);
    world.pump(Direction::ToPeer);
    assert_eq!(world.bridge.peer.got.len(), CHUNK);
    assert_eq!(world.bridge.resumes_at(), Some(later));
    assert_eq!(world.bridge.resume(Mono::from_secs(8)), [None, None]);
    assert_eq!(world.bridge.resume(later), [Some(Direction::ToPeer), None]);
    world.pump(Direction::ToPeer);
    assert_eq!(world.bridge.peer.got.len(), 5 * CHUNK);
}

#[test]
fn an_end_that_dies_breaks_the_bridge() {
    for direction in BOTH {
        let mut world = World::new(b"", b"");
        world.bridge.client.dead = true;
        world.bridge.peer.sent.extend([1; 4]);
        assert_eq!(world.pump(direction), Fate::Broken);
    }
}

#[test]
fn idle_bridges_hold_no_buffer() {
    let mut world = World::new(b"response", b"surplus");
    world.bridge.client.room = usize::MAX;
    world.bridge.peer.room = 10;
    world.bridge.client.sent.extend([7; 50]);
    world.pump(Direction::ToClient);
    for _ in 0..10 {
        world.pump(Direction::ToPeer);
        world.bridge.peer.room += 20;
    }
    assert_eq!(world.bridge.peer.got.len(), 57);
    assert_eq!(world.bridge.to_peer.kept.capacity() + world.bridge.to_client.kept.capacity(), 0);
    assert_eq!(world.tools.spares.take().capacity(), SPARE_SIZE);
}
