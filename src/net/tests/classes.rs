//! The traffic class: what is sent with one arrives with it, beside everything else that a message can say.

use super::*;

/// Expedited forwarding (RFC 3246), ECN-capable.
const EF: u8 = 46 << 2 | 1;

#[test]
fn a_socket_tells_the_class_when_it_is_asked_also_of_what_came_before() {
    for ip in loopbacks() {
        let (sender, receiver) = (relay(ip), relay(ip));
        let to = receiver.local_addr().unwrap();
        let mut outbox = Outbox::new(4);
        for traffic_class in [EF, 0, 3, 255] {
            let datagram = outbox.datagram(&sender, to, b"x");
            outbox.batch.push(Outgoing { traffic_class, ..datagram });
        }
        let mut inbox = Inbox::new(4);
        assert_eq!(outbox.flush(), sent(4));
        let batch = &mut inbox.batch;
        assert_eq!(batch.receive(receiver.as_fd(), &mut inbox.buffers, 0, 1).unwrap(), 1);
        assert_eq!(batch.datagram(0).unwrap().traffic_class, 0, "it was not asked");
        enable_traffic_class(receiver.as_fd(), family(ip)).unwrap();
        let told: Vec<_> = inbox.receive_all(&receiver, 3);
        assert_eq!(told.iter().map(|(it, _)| it.traffic_class).collect::<Vec<_>>(), [0, 3, 255]);
        // What a call says is not left over for the next one, of whatever socket.
        let other = relay(ip);
        sender.send_to(b"y", other.local_addr().unwrap()).unwrap();
        assert_eq!(inbox.receive(&other)[0].0.traffic_class, 0);
    }
}

/// A wildcard listener that tells all there is, and answers with all there is.
#[test]
fn the_class_stands_beside_source_segments_and_losses() {
    for (ip, on) in
        loopbacks().into_iter().flat_map(|ip| switches().into_iter().map(move |on| (ip, on)))
    {
        let any: IpAddr = match ip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let small = UdpOptions { receive_buffer: 8 << 10, send_buffer: 0 };
        let listener = udp_listener((any, 0).into(), &small).unwrap();
        if on {
            enable_gro(listener.as_fd()).unwrap();
        }
        enable_drop_count(listener.as_fd()).unwrap();
        enable_traffic_class(listener.as_fd(), family(ip)).unwrap();
        let client = relay(ip);
        enable_traffic_class(client.as_fd(), family(ip)).unwrap();
        let port = listener.local_addr().unwrap().port();
        // Too much for its buffer, then room for three more.
        for _ in 0..64 {
            client.send_to(&[0; 1000], (ip, port)).unwrap();
        }
        let mut inbox = Inbox::new(64);
        inbox.receive(&listener);
        let mut outbox = Outbox::new(64).segmentation(on);
        for _ in 0..3 {
            let datagram = outbox.datagram(&client, (ip, port).into(), &[7; 100]);
            outbox.batch.push(Outgoing { traffic_class: EF, ..datagram });
        }
        assert_eq!(outbox.flush().sent, 3);
        let asked = inbox.receive_all(&listener, if on { 1 } else { 3 });
        assert!(inbox.batch.drop_count().is_some());
        for (datagram, _) in &asked {
            assert_eq!((datagram.to, datagram.traffic_class), (Some(ip), EF));
            assert_eq!((datagram.segment, datagram.segments().len()), (100, 3 / asked.len()));
        }
        for dont_fragment in [false, true, false, false] {
            let datagram = outbox.datagram(&listener, client.local_addr().unwrap(), b"answer");
            let (from, traffic_class) = (Some(ip), EF ^ 3);
            outbox.batch.push(Outgoing { from, traffic_class, dont_fragment, ..datagram });
        }
        let report = outbox.flush();
        assert_eq!((report.sent, report.trains), (4, on.into()));
        let got = inbox.classified(&client, 4);
        assert_eq!(got, vec![((ip, port).into(), (EF ^ 3, b"answer".to_vec())); 4]);
    }
}
