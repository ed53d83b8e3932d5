//! Random histories: with trains, the same datagrams arrive as without, in the same order per way.

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::*;

use super::plan::Message;
use super::*;

/// One datagram that somebody wants to send.
#[derive(Debug, Clone)]
struct Wish {
    socket: usize,
    to: usize,
    header: usize,
    size: usize,
    padding: usize,
    dont_fragment: bool,
    class: u8,
}

/// Few sizes and ways, so that many fit together.
fn wish() -> impl Strategy<Value = Wish> {
    let size = prop_oneof![
        6 => Just(160_usize),
        6 => Just(1200),
        1 => Just(0),
        2 => 0_usize..1400,
    ];
    let header = prop_oneof![4 => Just(0_usize), 4 => Just(4), 1 => 0..=HEADER_MAX];
    let padding = prop_oneof![6 => Just(0_usize), 1 => 1_usize..=3];
    let class = prop_oneof![8 => Just(0_u8), 2 => Just(46 << 2 | 1), 1 => any::<u8>()];
    let ways = (0..3_usize, 0..4_usize);
    (ways, header, size, padding, prop::bool::weighted(0.03), class).prop_map(
        |((socket, to), header, size, padding, dont_fragment, class)| Wish {
            socket,
            to,
            header,
            size,
            padding,
            dont_fragment,
            class,
        },
    )
}

/// The bytes of wish number `i`, without padding; long ones say who they are.
fn bytes(i: usize, wish: &Wish) -> Vec<u8> {
    let mut bytes = vec![i as u8 ^ 0x55; wish.header + wish.size];
    if let Some(name) = bytes.first_chunk_mut() {
        *name = (i as u32).to_be_bytes();
    }
    bytes
}

fn push(outbox: &mut Outbox, socket: RawFd, to: SocketAddr, i: usize, wish: &Wish) {
    let bytes = bytes(i, wish);
    let (header, payload) = bytes.split_at(wish.header);
    let datagram = outbox.datagram_of(socket, to, payload);
    let Wish { dont_fragment, class: traffic_class, .. } = *wish;
    let datagram = Outgoing { dont_fragment, traffic_class, ..datagram };
    outbox.batch.push_framed(datagram, header, wish.padding);
}

/// What has to arrive from one socket at one destination, in order.
fn expected(wishes: &[Wish], socket: usize, to: usize) -> Vec<Classified> {
    (0..)
        .zip(wishes)
        .filter(|(_, wish)| (wish.socket, wish.to) == (socket, to))
        .map(|(i, wish)| (wish.class, [bytes(i, wish), vec![0; wish.padding]].concat()))
        .collect()
}

/// Sockets that all histories use: the last two receivers take trains as trains.
struct World {
    senders: Vec<UdpSocket>,
    receivers: Vec<UdpSocket>,
    inbox: Inbox,
}

impl World {
    fn new(ip: IpAddr) -> Self {
        let receivers: Vec<_> = (0..4).map(|_| relay(ip)).collect();
        for receiver in &receivers {
            enable_traffic_class(receiver.as_fd(), family(ip)).unwrap();
        }
        if switches().len() == 2 {
            for receiver in &receivers[2..] {
                enable_gro(receiver.as_fd()).unwrap();
            }
        }
        Self { senders: (0..3).map(|_| relay(ip)).collect(), receivers, inbox: Inbox::new(64) }
    }

    fn live_through(&mut self, wishes: &[Wish], segmentation: bool) -> Result<(), TestCaseError> {
        let mut outbox = Outbox::new(wishes.len()).segmentation(segmentation);
        for (i, wish) in wishes.iter().enumerate() {
            let to = self.receivers[wish.to].local_addr().unwrap();
            push(&mut outbox, self.senders[wish.socket].as_raw_fd(), to, i, wish);
        }
        let report = outbox.flush();
        prop_assert_eq!(report.sent, wishes.len() as u64, "{:?}", report);
        for (to, receiver) in self.receivers.iter().enumerate() {
            let count = wishes.iter().filter(|wish| wish.to == to).count();
            let got = self.inbox.classified(receiver, count);
            prop_assert_eq!(got.len(), count);
            for (socket, sender) in self.senders.iter().enumerate() {
                let from = sender.local_addr().unwrap();
                let own = got.iter().filter(|(source, _)| *source == from);
                let own: Vec<_> = own.map(|(_, classified)| classified.clone()).collect();
                prop_assert_eq!(own, expected(wishes, socket, to));
            }
        }
        Ok(())
    }
}

#[test]
fn trains_deliver_what_single_datagrams_deliver() {
    for ip in loopbacks() {
        let world = RefCell::new(World::new(ip));
        let mut runner = runner(48);
        let done = runner.run(&vec(wish(), 1..100), |wishes| {
            let mut world = world.borrow_mut();
            switches().into_iter().try_for_each(|on| world.live_through(&wishes, on))
        });
        done.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn each_datagram_is_counted_once_whatever_the_kernel_says() {
    let answers = vec(
        prop_oneof![
            3 => (1_usize..9).prop_map(Ok),
            1 => prop::sample::select(ERRORS).prop_map(Err),
        ],
        0..40,
    );
    let histories = vec((vec(wish(), 1..80), answers, any::<bool>()), 1..4);
    let done = runner(256).run(&histories, |histories| {
        let mut outbox = Outbox::new(80);
        for (wishes, answers, on) in histories {
            outbox.batch.set_segmentation(on);
            // Numbers that are no descriptors: the DF bit of IPv4 cannot be set on them.
            for (i, wish) in wishes.iter().enumerate() {
                let to = (V6, 1000 + wish.to as u16).into();
                push(&mut outbox, i32::MAX - wish.socket as i32, to, i, wish);
            }
            let mut answers = answers.into_iter();
            let mut taken = Vec::new();
            outbox.next = 0;
            let report = outbox.batch.flush_with(&outbox.buffers, |socket, run| {
                let count = answers.next().unwrap_or(Ok(run.len()));
                let count = count.map_err(std::io::Error::from_raw_os_error)?.min(run.len());
                let messages = run[..count].iter().map(Message::read);
                taken.extend(messages.map(|message| (i32::MAX - socket, message)));
                Ok(count)
            });
            check(&wishes, &report, &taken)?;
        }
        Ok(())
    });
    done.unwrap_or_else(|failure| panic!("{failure}"));
}

/// What the kernel took is what was wished, in order and with gaps only where something is counted as lost.
fn check(
    wishes: &[Wish],
    report: &SendReport,
    taken: &[(RawFd, Message)],
) -> Result<(), TestCaseError> {
    let SendReport { sent, trains, full, unreachable, too_big, other } = *report;
    let all = wishes.len() as u64;
    prop_assert_eq!(sent + full + unreachable + too_big + other, all);
    let count = taken.iter().map(|(_, message)| message.datagrams().len() as u64);
    prop_assert_eq!(count.sum::<u64>(), sent);
    let cut = taken.iter().filter(|(_, message)| message.segment.is_some());
    prop_assert_eq!(cut.count() as u64, trains);
    for (socket, to) in (0..3).flat_map(|socket| (0..4).map(move |to| (socket, to))) {
        let way = (socket as RawFd, SocketAddr::from((V6, 1000 + to as u16)));
        let own = taken.iter().filter(|(socket, message)| (*socket, message.to) == way);
        let mut wanted = expected(wishes, socket, to).into_iter();
        let classified = |message: &Message| {
            let class = message.class;
            message.datagrams().into_iter().map(move |bytes| (class, bytes)).collect::<Vec<_>>()
        };
        for datagram in own.flat_map(|(_, message)| classified(message)) {
            prop_assert!(wanted.any(|wish| wish == datagram), "not wished, or too late");
        }
    }
    Ok(())
}

fn runner(cases: u32) -> proptest::test_runner::TestRunner {
    proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

const ERRORS: &[i32] = &[
    libc::EINTR,
    libc::EAGAIN,
    libc::ENOBUFS,
    libc::EINVAL,
    libc::EIO,
    libc::EMSGSIZE,
    libc::EPERM,
    libc::ECONNREFUSED,
    libc::EHOSTUNREACH,
];
