use super::*;
use crate::time::{Mono, Now};
use axum::routing::get;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

const LONG: Duration = Duration::from_secs(20);

fn service(age: Duration) -> Service {
    let app = Router::new().route("/", get(async || "here"));
    let web = Web::new(|| Now { mono: Mono::from_secs(1), unix: 1 });
    Service { age, ..Service::new(app, web) }
}

/// What a worker says, and the request behind it.
async fn ask(stream: &mut UnixStream) -> io::Result<()> {
    let from = [192, 0, 2, 7, 192, 0, 2, 1, 0x12, 0x34, 0x0d, 0x96];
    stream.write_all(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c").await?;
    stream.write_all(&from).await?;
    again(stream).await
}

async fn again(stream: &mut UnixStream) -> io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"here") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn inside(service: Service) -> String {
    let mut name = [0; 8];
    getrandom::fill(&mut name).unwrap();
    let name = format!("\0turnwire-test-{:x}", u64::from_ne_bytes(name));
    let listener = UnixListener::from_std(listen(&name).unwrap()).unwrap();
    tokio::spawn(service.inside(listener));
    name
}

async fn connect(name: &str) -> UnixStream {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.connect(&SockAddr::unix(name).unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    UnixStream::from_std(socket.into()).unwrap()
}

#[tokio::test]
async fn a_worker_that_lags_holds_nobody_up() {
    let name = inside(service(LONG));
    let silent = connect(&name).await;
    let mut next = connect(&name).await;
    ask(&mut next).await.unwrap();
    let still = silent.try_read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(still, Err(io::ErrorKind::WouldBlock), "it is waited for still");
}

#[tokio::test]
async fn who_asks_again_and_again_has_an_end_too() {
    let name = inside(service(Duration::from_millis(100)));
    let mut stream = connect(&name).await;
    let start = Instant::now();
    let mut last = ask(&mut stream).await;
    assert!(last.is_ok(), "{last:?}");
    while last.is_ok() && start.elapsed() < LONG {
        last = again(&mut stream).await;
    }
    assert!(last.is_err());
}

#[test]
fn an_address_has_its_share_and_a_network_of_ipv6_no_more() {
    let shares = Shares::default();
    let take = |ip: &str| shares.take(ip.parse().unwrap());
    for (one, same, other) in [
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::2:3:4:5", "2001:db8:0:1::1"),
    ] {
        let mut held: Vec<_> = (0..SHARE).map(|_| take(one).unwrap()).collect();
        assert!(take(one).is_none() && take(same).is_none());
        assert!(take(other).is_some());
        held.pop();
        assert!(take(same).is_some());
    }
    assert_eq!(shares.0.lock().unwrap().len(), 0, "nothing is kept of who has gone");
}
