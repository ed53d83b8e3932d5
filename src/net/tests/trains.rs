//! Trains over loopback: what leaves as one message arrives as the datagrams that it is made of.

use super::*;

/// A socket that receives trains as trains.
fn gro_relay(ip: IpAddr) -> UdpSocket {
    let socket = relay(ip);
    enable_gro(socket.as_fd()).unwrap();
    socket
}

/// Bytes that tell where they belong.
fn pattern(number: usize, size: usize) -> Vec<u8> {
    (0..size).map(|i| (number * 31 + i) as u8).collect()
}

fn payloads(got: Vec<(SocketAddr, Vec<u8>)>) -> Vec<Vec<u8>> {
    got.into_iter().map(|(_, payload)| payload).collect()
}

#[test]
fn a_train_arrives_as_the_datagrams_it_is_made_of() {
    let shapes = [(2, 1, 1), (2, 1400, 1), (3, 160, 80), (10, 1200, 1200)];
    let long = [(64, 1, 1), (64, 1000, 999), (46, 1400, 3)];
    for (ip, on) in loopbacks().into_iter().zip([switches(), switches()]) {
        for (on, (count, size, last)) in on
            .into_iter()
            .flat_map(|on| shapes.into_iter().chain(long).map(move |shape| (on, shape)))
        {
            let sender = relay(ip);
            let mut receivers = vec![relay(ip)];
            receivers.extend(on.then(|| gro_relay(ip)));
            for receiver in receivers {
                let to = receiver.local_addr().unwrap();
                let mut outbox = Outbox::new(count).segmentation(on);
                let sizes = (1..=count).map(|i| if i == count { last } else { size });
                let expected: Vec<Vec<u8>> =
                    sizes.enumerate().map(|(i, size)| pattern(i, size)).collect();
                expected.iter().for_each(|bytes| outbox.push(&sender, to, bytes));
                let report = outbox.flush();
                assert_eq!((report.sent, report.trains), (count as u64, on.into()));
                let got = Inbox::new(64).datagrams(&receiver, count);
                assert!(got.iter().all(|(from, _)| *from == sender.local_addr().unwrap()));
                assert_eq!(payloads(got), expected, "{count} x {size}, {last}, {ip}, {on}");
            }
        }
    }
}

#[test]
fn a_train_is_received_in_one_piece_and_says_its_segments() {
    if switches().len() == 1 {
        return;
    }
    let (sender, receiver) = (relay(V4), gro_relay(V4));
    let to = receiver.local_addr().unwrap();
    let mut outbox = Outbox::new(7).segmentation(true);
    for size in [500, 500, 300, 0, 20] {
        outbox.push(&sender, to, &pattern(size, size));
    }
    assert_eq!(outbox.flush().trains, 1);
    let got = Inbox::new(8).receive_all(&receiver, 3);
    let shape: Vec<_> = got.iter().map(|(d, _)| (d.len, d.segment)).collect();
    assert_eq!(shape, [(1300, 500), (0, 0), (20, 20)]);
    let ranges: Vec<_> = got.iter().flat_map(|(d, _)| d.segments()).collect();
    assert_eq!(ranges, [0..500, 500..1000, 1000..1300, 0..0, 0..20]);
}

#[test]
fn headers_and_padding_stand_around_each_payload() {
    for (on, ip) in
        switches().into_iter().flat_map(|on| loopbacks().into_iter().map(move |ip| (on, ip)))
    {
        let (sender, receiver) = (relay(ip), relay(ip));
        let to = receiver.local_addr().unwrap();
        let mut outbox = Outbox::new(16).segmentation(on);
        let mut expected = Vec::new();
        for (i, (header, padding)) in
            [(4, 0), (4, 3), (48, 0), (48, 2), (0, 1), (4, 0)].into_iter().enumerate()
        {
            // The first three and the last two are of the same length each, whatever they are made of.
            for size in [200 - header - padding, 200 - header - padding, 17] {
                if outbox.batch.is_full() {
                    break;
                }
                let (header, payload) = (pattern(i + 100, header), pattern(i, size));
                let datagram = outbox.datagram(&sender, to, &payload);
                outbox.batch.push_framed(datagram, &header, padding);
                expected.push([header, payload, vec![0; padding]].concat());
            }
        }
        let report = outbox.flush();
        assert_eq!((report.sent, report.trains), (16, if on { 5 } else { 0 }));
        assert_eq!(payloads(Inbox::new(16).datagrams(&receiver, 16)), expected);
        assert_eq!(outbox.flush(), SendReport::default());
    }
}

#[test]
fn empty_datagrams_keep_their_place() {
    for on in switches() {
        let (sender, receiver) = (relay(V4), relay(V4));
        let to = receiver.local_addr().unwrap();
        let mut outbox = Outbox::new(8).segmentation(on);
        let expected = [9, 9, 0, 9, 0, 0, 9, 9].map(|size| pattern(size, size));
        expected.iter().for_each(|bytes| outbox.push(&sender, to, bytes));
        assert_eq!(outbox.flush().sent, 8);
        assert_eq!(payloads(Inbox::new(8).datagrams(&receiver, 8)), expected);
    }
}

#[test]
fn a_train_leaves_from_the_source_that_was_asked_for() {
    for on in switches() {
        let listener =
            udp_listener((Ipv4Addr::UNSPECIFIED, 0).into(), &UdpOptions::default()).unwrap();
        let receiver = relay(V4);
        let to = receiver.local_addr().unwrap();
        let mut outbox = Outbox::new(6).segmentation(on);
        for i in 0..6_u8 {
            let datagram = outbox.datagram(&listener, to, &[i]);
            let from = Some([127, 0, 0, 2 + i % 2].into());
            outbox.batch.push(Outgoing { from, ..datagram });
        }
        assert_eq!(outbox.flush().sent, 6);
        let got = Inbox::new(6).datagrams(&receiver, 6);
        for (from, payload) in got {
            assert_eq!(from.ip(), IpAddr::from([127, 0, 0, 2 + payload[0] % 2]));
        }
    }
}

#[test]
fn trains_that_fail_cost_no_other_destination_a_datagram() {
    for on in switches() {
        let (socket, good) = (relay(V4), relay(V4));
        let (_holder, closed) = closed_port(V4);
        let to = good.local_addr().unwrap();
        let mut outbox = Outbox::new(32).segmentation(on);
        for round in 0..3_u8 {
            for i in 0..4 {
                outbox.push(&socket, closed, b"lost");
                outbox.push(&socket, "255.255.255.255:9".parse().unwrap(), b"EACCES");
                outbox.push(&socket, "127.0.0.1:0".parse().unwrap(), b"EINVAL");
                outbox.push(&socket, to, &[round, i]);
            }
            let report = outbox.flush();
            // The closed port's own are lost on the way, or to the errors that others of them have caused.
            assert_eq!(report.sent + report.unreachable + report.other, 16);
            assert!(report.other >= 4 && report.unreachable >= 4, "{report:?}");
            let got = payloads(Inbox::new(32).datagrams(&good, 4));
            assert_eq!(got, [0, 1, 2, 3].map(|i| vec![round, i]));
        }
    }
}

#[test]
fn what_a_socket_has_lost_is_told() {
    let options = UdpOptions { receive_buffer: 16_384, send_buffer: 0 };
    let (sender, receiver) = (relay(V4), relay_socket((V4, 0).into(), &options).unwrap());
    enable_drop_count(receiver.as_fd()).unwrap();
    let to = receiver.local_addr().unwrap();
    let mut inbox = Inbox::new(64);
    let mut outbox = Outbox::new(64);
    assert_eq!(inbox.batch.drop_count(), None);
    (0..64).for_each(|_| outbox.push(&sender, to, &[0; 1000]));
    assert_eq!(outbox.flush(), sent(64));
    // Four make room for another, which is queued behind those that do not know of the loss.
    let count = inbox.batch.receive(receiver.as_fd(), &mut inbox.buffers, 0, 4).unwrap();
    assert_eq!((count, inbox.batch.drop_count()), (4, None));
    outbox.push(&sender, to, b"last");
    outbox.flush();
    let rest = inbox.receive(&receiver);
    assert!((2..60).contains(&rest.len()));
    assert_eq!(rest.last().unwrap().1.len(), 4);
    assert_eq!(inbox.batch.drop_count(), Some(61 - rest.len() as u32));
}
