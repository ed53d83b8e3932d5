//! What arrives: payloads, slots, addresses.

use super::*;

#[test]
fn datagrams_of_every_size_arrive_whole() {
    for ip in loopbacks() {
        let (a, b) = (relay(ip), relay(ip));
        let (from, to) = (a.local_addr().unwrap(), b.local_addr().unwrap());
        let mut outbox = Outbox::new(4);
        let mut inbox = Inbox::new(4);
        for round in 0..2_u8 {
            let payloads: Vec<Vec<u8>> = [0, 1, 1200, 65_507]
                .map(|len| (0..len).map(|i: u32| (i % 251) as u8 ^ round).collect())
                .into();
            payloads.iter().for_each(|payload| outbox.push(&a, to, payload));
            assert_eq!(outbox.flush(), sent(4), "{ip}");
            let got = inbox.receive_all(&b, 4);
            for ((datagram, payload), expected) in got.iter().zip(&payloads) {
                assert_eq!(payload, expected);
                assert_eq!((datagram.from, datagram.to), (from, None));
            }
        }
        assert_eq!(inbox.batch.receive(b.as_fd(), &mut inbox.buffers, 0, 4).unwrap(), 0);
    }
}

#[test]
fn datagrams_go_to_the_slots_that_were_asked_for_and_to_no_other() {
    let (a, b) = (relay(V4), relay(V4));
    let to = b.local_addr().unwrap();
    let mut outbox = Outbox::new(5);
    (1..=5).for_each(|i| outbox.push(&a, to, &[i; 8]));
    assert_eq!(outbox.flush(), sent(5));

    let Inbox { mut buffers, mut batch } = Inbox::new(4);
    let mut seen = Vec::new();
    while seen.len() < 5 {
        wait(&b, Interest::Read);
        let count = batch.receive(b.as_fd(), &mut buffers, 1, 2).unwrap();
        assert!((1..=2).contains(&count));
        assert_eq!(batch.datagram(count), None);
        for i in 0..count {
            let slot = batch.datagram(i).unwrap().slot;
            assert_eq!(slot, 1 + i);
            seen.push(buffers.slot(slot)[HEADROOM]);
            assert!(buffers.slot(slot)[..HEADROOM].iter().all(|byte| *byte == 0));
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);
    assert!(buffers.slot(0).iter().chain(buffers.slot(3)).all(|byte| *byte == 0));
    assert_eq!(batch.receive(b.as_fd(), &mut buffers, 0, 9).unwrap(), 0);
    assert_eq!(batch.datagram(0), None);
}

#[test]
fn a_batch_never_reaches_beyond_the_last_slot() {
    let (a, b) = (relay(V4), relay(V4));
    let to = b.local_addr().unwrap();
    let mut outbox = Outbox::new(2);
    (1..=2).for_each(|i| outbox.push(&a, to, &[i]));
    assert_eq!(outbox.flush(), sent(2));
    wait(&b, Interest::Read);
    let Inbox { mut buffers, mut batch } = Inbox::new(4);
    for (first_slot, expected) in [(4, 0), (usize::MAX, 0), (3, 1)] {
        let count = batch.receive(b.as_fd(), &mut buffers, first_slot, 9).unwrap();
        assert_eq!(count, expected, "from slot {first_slot} on");
    }
}

#[test]
fn a_wildcard_listener_knows_and_keeps_the_address_it_was_asked_at() {
    // The same batch meets short and long names, and sockets with and without control messages.
    let mut inbox = Inbox::new(1);
    for own in loopbacks() {
        let (any, asked): (IpAddr, IpAddr) = match own {
            IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), [127, 0, 0, 2].into()),
            IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), V6),
        };
        let listener = udp_listener((any, 0).into(), &UdpOptions::default()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = relay(own);
        client.send_to(b"where", (asked, port)).unwrap();
        let (request, _) = inbox.receive(&listener)[0];
        assert_eq!((request.to, request.from), (Some(asked), client.local_addr().unwrap()));

        let mut outbox = Outbox::new(1);
        let answer = outbox.datagram(&listener, request.from, b"here");
        outbox.batch.push(Outgoing { from: request.to, ..answer });
        assert_eq!(outbox.flush(), sent(1));
        let (reply, payload) = inbox.receive(&client).remove(0);
        assert_eq!((reply.from, payload.as_slice()), ((asked, port).into(), &b"here"[..]));
    }
}

#[test]
fn a_plain_read_of_nothing_takes_nothing_from_the_next_one() {
    let (quiet, client) = (relay(V4), relay(V4));
    let listener = udp_listener((Ipv4Addr::UNSPECIFIED, 0).into(), &UdpOptions::default()).unwrap();
    let to = (V4, listener.local_addr().unwrap().port());
    let Inbox { mut buffers, mut batch } = Inbox::new(1);
    assert_eq!(batch.receive_plain(quiet.as_fd(), &mut buffers, 0).unwrap(), 0);
    client.send_to(b"where", to).unwrap();
    wait(&listener, Interest::Read);
    assert_eq!(batch.receive(listener.as_fd(), &mut buffers, 0, 1).unwrap(), 1);
    assert_eq!(batch.datagram(0).and_then(|datagram| datagram.to), Some(V4));
}

#[test]
fn a_pending_error_does_not_hide_what_has_arrived() {
    let (relay_socket, peer) = (relay(V4), relay(V4));
    let (_holder, closed) = closed_port(V4);
    let mut outbox = Outbox::new(1);
    outbox.push(&relay_socket, closed, b"lost");
    outbox.flush();
    wait(&relay_socket, Interest::Errors);
    peer.send_to(b"hello", relay_socket.local_addr().unwrap()).unwrap();
    assert_eq!(Inbox::new(1).receive(&relay_socket)[0].1, b"hello");
}

#[test]
fn a_socket_that_is_none_is_an_error() {
    let file = std::fs::File::open("/proc/self/status").unwrap();
    let mut inbox = Inbox::new(1);
    let error = inbox.batch.receive(file.as_fd(), &mut inbox.buffers, 0, 1).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::WouldBlock);
    assert!(next_icmp(file.as_fd()).is_err());
}
