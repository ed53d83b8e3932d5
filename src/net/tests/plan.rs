//! Which messages the kernel is given, seen by a stand-in for it.

use std::io;
use std::os::fd::RawFd;

use super::super::message::{Control, Name, array, control_len};
use super::super::outgoing::CONTROL_SIZE;
use super::*;

/// One message as the kernel would read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) to: SocketAddr,
    pub(super) segment: Option<u16>,
    pub(super) class: u8,
    pub(super) bytes: Vec<u8>,
}

impl Message {
    pub(super) fn read(message: &libc::mmsghdr) -> Self {
        let header = &message.msg_hdr;
        // SAFETY: `SendBatch` pointed the header at a name, control messages and as many pieces as it says, which
        // live until the flush is over.
        let (name, pieces, control) = unsafe {
            (
                &*header.msg_name.cast::<Name>(),
                std::slice::from_raw_parts(header.msg_iov, header.msg_iovlen as _),
                &*header.msg_control.cast::<Control<CONTROL_SIZE>>(),
            )
        };
        let segment = control
            .messages(control_len(header))
            .filter(|(level, kind, _)| (*level, *kind) == (libc::SOL_UDP, libc::UDP_SEGMENT))
            .find_map(|(_, _, data)| array(data, 0).map(u16::from_ne_bytes));
        let class = control.messages(control_len(header)).find_map(|(level, kind, data)| {
            let named = [(libc::IPPROTO_IP, libc::IP_TOS), (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)];
            let value = named.contains(&(level, kind)).then(|| array(data, 0))?;
            value.map(|value| libc::c_int::from_ne_bytes(value) as u8)
        });
        // SAFETY: as above.
        let bytes = pieces.iter().flat_map(|piece| unsafe {
            std::slice::from_raw_parts(piece.iov_base.cast::<u8>(), piece.iov_len).to_vec()
        });
        Self {
            to: name.get(header.msg_namelen as usize).unwrap(),
            segment,
            class: class.unwrap_or(0),
            bytes: bytes.collect(),
        }
    }

    /// How many datagrams the kernel makes of it.
    pub(super) fn datagrams(&self) -> Vec<Vec<u8>> {
        match self.segment {
            None => vec![self.bytes.clone()],
            Some(segment) => self.bytes.chunks(segment.into()).map(<[u8]>::to_vec).collect(),
        }
    }
}

/// Sends everything in `outbox` to a kernel that takes what `refuses` does not, and gives back what it took, in
/// order, and all calls as (socket, messages).
fn flush(
    outbox: &mut Outbox,
    refuses: impl Fn(&Message) -> Option<i32>,
) -> (SendReport, Vec<(RawFd, Vec<Message>)>) {
    let mut calls = Vec::new();
    outbox.next = 0;
    let report = outbox.batch.flush_with(&outbox.buffers, |socket, run| {
        let messages: Vec<Message> = run.iter().map(Message::read).collect();
        let taken = messages.iter().take_while(|message| refuses(message).is_none()).count();
        let error = messages.first().and_then(&refuses);
        calls.push((socket, messages[..taken].to_vec()));
        match (taken, error) {
            (0, Some(errno)) => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(taken),
        }
    });
    (report, calls)
}

/// The sizes of the datagrams in each message of each call that sent anything.
fn shape(calls: &[(RawFd, Vec<Message>)]) -> Vec<(RawFd, Vec<Vec<usize>>)> {
    let sizes = |message: &Message| message.datagrams().iter().map(Vec::len).collect();
    let sent = calls.iter().filter(|(_, messages)| !messages.is_empty());
    sent.map(|(socket, messages)| (*socket, messages.iter().map(sizes).collect())).collect()
}

fn peer(port: u16) -> SocketAddr {
    (V4, port).into()
}

/// A batch with `datagrams` of (socket, port, size).
fn filled(segmentation: bool, datagrams: &[(RawFd, u16, usize)]) -> Outbox {
    let mut outbox = Outbox::new(datagrams.len().max(1));
    outbox.batch.set_segmentation(segmentation);
    fill(&mut outbox, datagrams);
    outbox
}

fn fill(outbox: &mut Outbox, datagrams: &[(RawFd, u16, usize)]) {
    for (socket, port, size) in datagrams {
        let datagram = outbox.datagram_of(*socket, peer(*port), &vec![7; *size]);
        outbox.batch.push(datagram);
    }
}

#[test]
fn each_socket_gets_one_call_with_its_datagrams_in_order() {
    let datagrams = [9, 3, 9, 5, 9, 3].map(|socket| (socket, 1000 + socket as u16, 8));
    let (report, calls) = flush(&mut filled(false, &datagrams), |_| None);
    let lone = |count| vec![vec![8]; count];
    assert_eq!(shape(&calls), [(3, lone(2)), (5, lone(1)), (9, lone(3))]);
    assert_eq!(report, sent(6));

    let (report, calls) = flush(&mut filled(true, &datagrams), |_| None);
    let train = |count| vec![vec![8; count]];
    assert_eq!(shape(&calls), [(3, train(2)), (5, train(1)), (9, train(3))]);
    assert_eq!((report.sent, report.trains), (6, 2));
    assert_eq!(calls[1].1[0].segment, None, "one datagram is not cut");
}

#[test]
fn a_shorter_one_ends_a_train_and_an_empty_or_longer_one_begins_another() {
    let sizes = [5, 5, 3, 3, 0, 0, 3, 5, 5, 4, 4, 4];
    let datagrams = sizes.map(|size| (3, 9, size));
    let (report, calls) = flush(&mut filled(true, &datagrams), |_| None);
    let trains: [&[usize]; 7] = [&[5, 5, 3], &[3], &[0], &[0], &[3], &[5, 5, 4], &[4, 4]];
    assert_eq!(shape(&calls), [(3, trains.map(<[usize]>::to_vec).to_vec())]);
    assert_eq!((report.sent, report.trains), (12, 3));
}

#[test]
fn other_destinations_in_between_do_not_split_a_train() {
    let datagrams: Vec<_> = (0..60).map(|i| (3, 1 + i % 10, 100)).collect();
    let mut messages = 0;
    for _ in 0..16 {
        let (report, calls) = flush(&mut filled(true, &datagrams), |_| None);
        assert_eq!(report.sent, 60);
        assert_eq!(calls[0].1[0].to, peer(1), "first come, first sent");
        messages += calls[0].1.len();
    }
    // By chance, two destinations may share an entry of the table; each batch has a seed of its own.
    assert!((160..240).contains(&messages), "{messages} messages for 160 trains");
}

/// What one flush leaves in the table hinders no way in the next.
#[test]
fn every_flush_joins_as_the_first_did() {
    let trains: Vec<_> = (0..60).map(|way| [(3, 1 + way, 100); 16]).collect();
    let mut outbox = filled(true, trains.as_flattened());
    for round in 0..200 {
        let (report, _) = flush(&mut outbox, |_| None);
        assert_eq!((report.sent, report.trains), (960, 60), "flush {round}");
        // Another way is the last of all each time.
        let mut turned = trains.clone();
        turned.rotate_left(round % 60);
        fill(&mut outbox, turned.as_flattened());
    }
}

#[test]
fn a_train_has_at_most_64_datagrams_and_65000_bytes() {
    for (size, count, expected) in [(100, 130, vec![64, 64, 2]), (1400, 93, vec![46, 46, 1])] {
        let (report, calls) = flush(&mut filled(true, &vec![(3, 9, size); count]), |_| None);
        let lengths: Vec<usize> = shape(&calls)[0].1.iter().map(Vec::len).collect();
        assert_eq!(lengths, expected);
        assert_eq!((report.sent, report.trains), (count as u64, 3 - u64::from(size == 1400)));
    }
}

#[test]
fn what_must_not_be_fragmented_travels_alone_and_in_its_place() {
    for ip in [V4, V6] {
        let mut outbox = Outbox::new(5);
        outbox.batch.set_segmentation(true);
        let socket = relay(loopbacks()[0]);
        for (i, dont_fragment) in [false, false, true, false, false].into_iter().enumerate() {
            let datagram = outbox.datagram(&socket, (ip, 9).into(), &[i as u8]);
            outbox.batch.push(Outgoing { dont_fragment, ..datagram });
        }
        let (report, calls) = flush(&mut outbox, |_| None);
        let bytes: Vec<_> = calls.iter().flat_map(|(_, messages)| messages).collect();
        let bytes: Vec<_> = bytes.iter().map(|message| message.bytes.clone()).collect();
        assert_eq!(bytes, [vec![0, 1], vec![2], vec![3, 4]]);
        // With IPv4 the DF bit is a matter of the socket, with IPv6 of the message.
        assert_eq!(calls.len(), if ip.is_ipv4() { 3 } else { 1 });
        assert_eq!((report.sent, report.trains), (5, 2));
    }
}

#[test]
fn a_train_is_of_one_class_and_another_class_takes_its_place_behind_it() {
    for (ip, refused) in [V4, V6].into_iter().flat_map(|ip| [(ip, false), (ip, true)]) {
        let mut outbox = Outbox::new(8);
        outbox.batch.set_segmentation(true);
        for (i, traffic_class) in [0, 0, 184, 184, 185, 0, 0, 184].into_iter().enumerate() {
            let datagram = outbox.datagram_of(3, (ip, 9).into(), &[i as u8]);
            outbox.batch.push(Outgoing { traffic_class, ..datagram });
        }
        // A train that the kernel refuses goes one by one, with its class.
        let errno = |message: &Message| (refused && message.segment.is_some()).then_some(libc::EIO);
        let (report, calls) = flush(&mut outbox, errno);
        let messages = calls.iter().flat_map(|(_, messages)| messages);
        let sent: Vec<_> = messages.map(|it| (it.class, it.bytes.clone())).collect();
        let trains =
            [(0, vec![0, 1]), (184, vec![2, 3]), (185, vec![4]), (0, vec![5, 6]), (184, vec![7])];
        let single = trains
            .clone()
            .into_iter()
            .flat_map(|(class, all)| all.into_iter().map(move |one| (class, vec![one])));
        let expected = if refused { single.collect() } else { trains.to_vec() };
        assert_eq!((sent, report.sent), (expected, 8));
    }
}

#[test]
fn a_refused_train_is_sent_one_by_one_and_costs_only_bad_datagrams() {
    for errno in [libc::EINVAL, libc::EIO, libc::EMSGSIZE, libc::EPERM] {
        let datagrams = [(3, 8, 2), (3, 9, 5), (3, 9, 5), (3, 9, 4), (3, 10, 6), (4, 9, 5)];
        let mut outbox = filled(true, &datagrams);
        let (report, calls) = flush(&mut outbox, |message| {
            let bad = message.bytes.len() == 4 || message.segment.is_some();
            bad.then_some(errno)
        });
        let lone = |sizes: &[usize]| sizes.iter().map(|size| vec![*size]).collect::<Vec<_>>();
        assert_eq!(
            shape(&calls),
            [(3, lone(&[2])), (3, lone(&[5, 5])), (3, lone(&[6])), (4, lone(&[5]))]
        );
        let lost = report.other + report.too_big + report.unreachable;
        assert_eq!((report.sent, report.trains, lost), (5, 0, 1), "{errno}");
    }
}

#[test]
fn a_way_that_refuses_trains_is_left_alone_for_a_while() {
    let no_trains = |message: &Message| {
        let large = message.segment.is_some_and(|segment| segment >= 1000);
        (large && message.to == peer(9)).then_some(libc::EINVAL)
    };
    let tries = |outbox: &mut Outbox| {
        let (report, calls) = flush(outbox, no_trains);
        (report.sent, report.trains, calls.iter().filter(|call| call.1.is_empty()).count())
    };
    let video = vec![(3, 9, 1200); 32];
    let mut outbox = filled(true, &video);
    assert_eq!(tries(&mut outbox), (32, 0, 1));
    for round in 0..34 {
        fill(&mut outbox, &video);
        // A train is tried again when 1024 have not been let in; the first of a flush does not ask.
        let expected = usize::from(round == 33);
        assert_eq!(tries(&mut outbox), (32, 0, expected), "{round}");
    }
    fill(&mut outbox, &[(3, 9, 160); 32]);
    assert_eq!(tries(&mut outbox), (32, 1, 0), "small ones may pass");
    fill(&mut outbox, &[(3, 8, 1200); 32]);
    assert_eq!(tries(&mut outbox), (32, 1, 0), "other ways are not concerned");
}

#[test]
fn a_full_socket_loses_the_rest_of_its_own_only() {
    let datagrams = [(3, 9, 5), (3, 9, 5), (3, 8, 1), (3, 8, 1), (3, 7, 1), (4, 9, 5), (4, 9, 5)];
    let full = |message: &Message| (message.to == peer(8)).then_some(libc::EAGAIN);
    let (report, _) = flush(&mut filled(true, &datagrams), full);
    assert_eq!((report.sent, report.trains, report.full), (4, 2, 3));

    // It fills up while a refused train goes one by one.
    let full = |message: &Message| match (message.segment, message.to.port()) {
        (Some(_), _) => Some(libc::EINVAL),
        (None, 8) => Some(libc::EAGAIN),
        _ => None,
    };
    let (report, _) = flush(&mut filled(true, &datagrams), full);
    assert_eq!((report.sent, report.trains, report.full), (4, 0, 3));
}

#[test]
fn a_full_batch_and_what_cannot_be_sent_are_counted() {
    let mut outbox = Outbox::new(3);
    let socket = relay(loopbacks()[0]);
    outbox.push(&socket, peer(9), b"1");
    let outside = outbox.datagram(&socket, peer(9), b"");
    outbox.batch.push(Outgoing { slot: 3, ..outside });
    outbox.batch.push_framed(outside, &[0; HEADER_MAX + 1], 0);
    outbox.batch.push_framed(outside, &[], 4);
    assert!(!outbox.batch.is_full());
    outbox.batch.push_framed(outside, &[0; HEADER_MAX], 3);
    assert!(outbox.batch.is_full());
    outbox.batch.push(outside);
    let (report, calls) = flush(&mut outbox, |_| None);
    assert_eq!(report, SendReport { full: 1, other: 3, ..sent(2) });
    assert_eq!(calls[0].1[1].bytes, [0; HEADER_MAX + 3]);
    assert_eq!(flush(&mut outbox, |_| None).0, SendReport::default());
}
