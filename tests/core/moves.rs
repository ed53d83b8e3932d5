//! What the clients of the model of mobility may do.

use proptest::prelude::*;
use turnwire::turn::Transport;

/// 5-tuples, each with the worker that the kernel gives its packets to.
pub(crate) const PLACES: [(&str, Transport, usize); 9] = [
    ("198.51.100.1:1000", Transport::Udp, 0),
    ("198.51.100.1:1001", Transport::Udp, 1),
    ("198.51.100.2:1000", Transport::Udp, 2),
    ("198.51.100.2:1000", Transport::Tcp, 0),
    ("198.51.100.3:1000", Transport::Udp, 1),
    ("198.51.100.3:1001", Transport::Tcp, 1),
    ("198.51.100.4:1000", Transport::Udp, 0),
    ("198.51.100.4:1001", Transport::Tcp, 2),
    ("198.51.100.5:1000", Transport::Dtls, 2),
];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Allocate {
        place: usize,
        user: usize,
        mobile: bool,
    },
    /// Of which allocation, how many tickets ago, where, whose.
    Move {
        call: usize,
        back: usize,
        place: usize,
        user: Whose,
    },
    /// The last Refresh of a place with a ticket, byte for byte.
    Again {
        place: usize,
    },
    Data {
        place: usize,
    },
    Refresh {
        place: usize,
        user: Whose,
        delete: bool,
    },
    Close {
        place: usize,
    },
    Wait {
        millis: u64,
    },
    /// A letter is read: one of them.
    Read {
        choice: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Own,
    Others,
}

pub(crate) fn steps() -> impl Strategy<Value = Step> {
    let place = || 0..PLACES.len();
    let user = || prop_oneof![9 => Just(Whose::Own), 1 => Just(Whose::Others)];
    let back = prop_oneof![8 => Just(0_usize), 1 => Just(1), 1 => Just(2)];
    prop_oneof![
        3 => (place(), 0..2_usize, prop::bool::weighted(0.9))
            .prop_map(|(place, user, mobile)| Step::Allocate { place, user, mobile }),
        8 => (any::<prop::sample::Index>(), back, place(), user())
            .prop_map(|(call, back, place, user)| Step::Move { call: call.index(64), back, place, user }),
        2 => place().prop_map(|place| Step::Again { place }),
        8 => place().prop_map(|place| Step::Data { place }),
        2 => (place(), user(), prop::bool::weighted(0.3))
            .prop_map(|(place, user, delete)| Step::Refresh { place, user, delete }),
        2 => place().prop_map(|place| Step::Close { place }),
        1 => (0_u64..1500).prop_map(|millis| Step::Wait { millis }),
        6 => (0_usize..64).prop_map(|choice| Step::Read { choice }),
    ]
}
