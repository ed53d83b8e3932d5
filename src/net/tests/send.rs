//! What leaves: failures that cost only themselves, order, the DF bit.

use super::*;

#[test]
fn a_source_address_that_is_not_ours_costs_that_datagram() {
    let listener = udp_listener((Ipv4Addr::UNSPECIFIED, 0).into(), &UdpOptions::default()).unwrap();
    let peer = relay(V4);
    let to = peer.local_addr().unwrap();
    let mut outbox = Outbox::new(2);
    let foreign = outbox.datagram(&listener, to, b"no");
    outbox.batch.push(Outgoing { from: Some([203, 0, 113, 7].into()), ..foreign });
    outbox.push(&listener, to, b"yes");
    // Which error it is differs between kernels.
    let report = outbox.flush();
    assert_eq!((report.sent, report.unreachable + report.other), (1, 1));
    assert_eq!(Inbox::new(2).receive(&peer)[0].1, b"yes");
}

#[test]
fn an_unreachable_peer_costs_no_other_peer_a_datagram() {
    for ip in loopbacks() {
        let (relay_socket, good) = (relay(ip), relay(ip));
        let (_holder, closed) = closed_port(ip);
        let mut outbox = Outbox::new(1);
        outbox.push(&relay_socket, closed, b"lost");
        assert_eq!(outbox.flush(), sent(1));
        assert!(wait(&relay_socket, Interest::Errors).error());

        // The error of the first is pending now, and would be the answer to the second.
        outbox.push(&relay_socket, good.local_addr().unwrap(), b"found");
        assert_eq!(outbox.flush(), sent(1));
        assert_eq!(Inbox::new(1).receive(&good)[0].1, b"found");

        let error = next_icmp(relay_socket.as_fd()).unwrap().unwrap();
        let (kind, code) = if ip.is_ipv4() { (3, 3) } else { (1, 4) };
        let expected =
            IcmpError { peer: closed, kind, code, mtu: 0, v6: ip.is_ipv6(), local: false };
        assert_eq!(error, expected);
        assert_eq!(next_icmp(relay_socket.as_fd()).unwrap(), None);
    }
}

#[test]
fn a_forbidden_destination_in_the_middle_costs_only_itself() {
    let (socket, good) = (relay(V4), relay(V4));
    let to = good.local_addr().unwrap();
    let mut outbox = Outbox::new(5);
    outbox.push(&socket, to, b"1");
    outbox.push(&socket, "255.255.255.255:9".parse().unwrap(), b"EACCES");
    outbox.push(&socket, to, b"2");
    outbox.push(&socket, "127.0.0.1:0".parse().unwrap(), b"EINVAL");
    outbox.push(&socket, to, b"3");
    assert_eq!(
        outbox.flush(),
        SendReport { sent: 3, unreachable: 1, other: 1, ..SendReport::default() }
    );
    let got = Inbox::new(5).receive_all(&good, 3);
    assert_eq!(got.iter().map(|(_, payload)| payload[0]).collect::<Vec<_>>(), b"123");
}

#[test]
fn a_closed_socket_and_a_payload_beyond_udp_are_counted() {
    let (socket, good) = (relay(V4), relay(V4));
    let to = good.local_addr().unwrap();
    let mut outbox = Outbox::new(3);
    outbox.push(&socket, to, &[0; 65_508]);
    let closed = outbox.datagram(&socket, to, b"closed");
    outbox.batch.push(Outgoing { socket: i32::MAX, ..closed });
    outbox.push(&socket, to, b"good");
    assert_eq!(
        outbox.flush(),
        SendReport { sent: 1, too_big: 1, other: 1, ..SendReport::default() }
    );
    assert_eq!(Inbox::new(1).receive(&good)[0].1, b"good");
}

#[test]
fn a_send_buffer_that_is_full_drops_and_goes_on() {
    if !loopbacks().contains(&V6) {
        return;
    }
    // Over IPv6 these go in two fragments, and a buffer this small has no room for the second.
    let socket =
        relay_socket((V6, 0).into(), &UdpOptions { receive_buffer: 0, send_buffer: 1 }).unwrap();
    let good = relay(V6);
    let to = good.local_addr().unwrap();
    let mut outbox = Outbox::new(3);
    outbox.push(&socket, to, b"1");
    outbox.push(&socket, to, &[0; 65_507]);
    outbox.push(&socket, to, b"2");
    assert_eq!(outbox.flush(), SendReport { sent: 2, full: 1, ..SendReport::default() });
    let got = Inbox::new(3).receive_all(&good, 2);
    assert_eq!(got.iter().map(|(_, payload)| payload[0]).collect::<Vec<_>>(), b"12");
}

#[test]
fn dont_fragment_is_for_one_datagram_only() {
    for ip in loopbacks() {
        // For 127.0.0.1 itself, somebody else's ICMP messages may have taught the host a smaller path MTU.
        let ip = if ip == V4 { [127, 0, 0, 66].into() } else { ip };
        let (socket, good) = (relay(ip), relay(ip));
        let to = good.local_addr().unwrap();
        let mut outbox = Outbox::new(3);
        let small = outbox.datagram(&socket, to, b"one piece");
        outbox.batch.push(Outgoing { dont_fragment: true, ..small });
        let large = outbox.datagram(&socket, to, &[1; 65_507]);
        outbox.batch.push(Outgoing { dont_fragment: true, ..large });
        outbox.push(&socket, to, &[2; 65_507]);
        // The loopback interface takes 65,536 bytes in one piece: all that IPv4 can say, but not IPv6.
        let too_big = u64::from(ip.is_ipv6());
        assert_eq!(
            outbox.flush(),
            SendReport { sent: 3 - too_big, too_big, ..SendReport::default() }
        );
        let got = Inbox::new(3).receive_all(&good, 3 - too_big as usize);
        assert_eq!(got.last().unwrap().1[0], 2);
        if ip.is_ipv6() {
            let error = next_icmp(socket.as_fd()).unwrap().unwrap();
            assert_eq!((error.peer.ip(), error.local, error.mtu), (ip, true, 65_536));
        } else {
            let option =
                socket::option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
                    .unwrap();
            assert_eq!(option, libc::IP_PMTUDISC_OMIT);
        }
    }
}

#[test]
fn datagrams_of_many_sockets_keep_their_order_on_each() {
    let sockets: Vec<UdpSocket> = (0..4).map(|_| relay(V4)).collect();
    let good = relay(V4);
    let to = good.local_addr().unwrap();
    let mut outbox = Outbox::new(64);
    for i in 0..64_u8 {
        outbox.push(&sockets[usize::from(i) * 7 % 4], to, &[i]);
    }
    assert_eq!(outbox.flush(), sent(64));
    let got = Inbox::new(64).receive_all(&good, 64);
    for socket in &sockets {
        let from = socket.local_addr().unwrap();
        let order: Vec<u8> =
            got.iter().filter(|(d, _)| d.from == from).map(|(_, p)| p[0]).collect();
        assert_eq!(order.len(), 16);
        assert!(order.is_sorted(), "{order:?}");
    }
}
