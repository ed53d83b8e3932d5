//! How many there can be, and how long.

use super::*;

#[test]
fn one_too_many_is_told_so() {
    let (trust, backend) = (Trust::new(), Backend::new());
    let limit = "[limits.streams]\nbackend = 2";
    let server = Setup::new().certificate(&trust).config(limit).backend(&backend, "").start();
    let first = passed(&server, &trust, &backend);
    let _second = passed(&server, &trust, &backend);
    let mut third = https(server.address(), &trust);
    third.write_all(GET).unwrap();
    assert!(rest(&mut third).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    assert_eq!(count(&server, "full"), 1);
    Client::tls(&server, &trust).fence();
    drop(first);
    let live = || server.metric("backend_connections_live");
    eventually("there is room again", || (live() == 1).then_some(()));
    passed(&server, &trust, &backend);
}

/// Whoever opens all that may be open has half of it in the end, and the next one's browser still gets its page.
#[test]
fn one_address_leaves_room_for_others() {
    let (trust, backend) = (Trust::new(), Backend::new());
    let limit = "[limits]\nexempt = []\n[limits.streams]\nbackend = 4";
    let setup = Setup::new().certificate(&trust).config(limit);
    let server = setup.backend(&backend, "plain_http = true").start();
    let ask = |last: u8| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
        socket.connect(&server.address().into()).unwrap();
        let mut client = TcpStream::from(socket);
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(GET).unwrap();
        client
    };
    let gets_through = |client: &mut TcpStream| {
        let mut behind = backend.accept();
        behind.expect(GET);
        behind.say(OK);
        expect(client, OK);
        behind
    };
    // One after the other: two workers reach the backend in any order.
    let through = |last| {
        let mut client = ask(last);
        let behind = gets_through(&mut client);
        (client, behind)
    };
    let crowd = [through(1), through(1)];
    assert!(rest(&mut ask(1)).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    let _other = through(2);
    assert!(rest(&mut ask(2)).starts_with("HTTP/1.1 503 "), "it has as many as are free");
    assert_eq!(count(&server, "full"), 2);
    // What one gives back it may have again.
    drop(crowd);
    let live = || server.metric("backend_connections_live");
    eventually("there is room again", || (live() == 1).then_some(()));
    let _again = [through(1), through(2)];
}

#[test]
fn what_is_silent_for_too_long_is_closed() {
    let (trust, backend) = (Trust::new(), Backend::new());
    let limit = "[limits.streams]\nbackend_idle = \"3s\"\nidle = \"1s\"";
    let server = Setup::new().certificate(&trust).config(limit).backend(&backend, "").start();
    let (mut client, mut behind) = passed(&server, &trust, &backend);
    // Longer than the limit in all, and never silent for so long.
    for _ in 0..8 {
        thread::sleep(std::time::Duration::from_millis(500));
        behind.say(b"1");
        expect(&mut client, b"1");
    }
    assert_eq!(rest(&mut behind), "");
    assert_eq!(server.metric("backend_connections_idle_total"), 1);
    all_are_gone(&server);
}

#[test]
fn a_server_that_ends_ends_them() {
    let (trust, backend) = (Trust::new(), Backend::new());
    let server = Setup::new().certificate(&trust).backend(&backend, "").start();
    let (mut client, mut behind) = passed(&server, &trust, &backend);
    behind.say(OK);
    expect(&mut client, OK);
    server.stop();
    assert_eq!(rest(&mut behind), "");
    // It was not the backend that has ended, so TLS does not say so.
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}
