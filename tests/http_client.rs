//! The client of HTTP by which the webhook is told and the HTTP hook is asked: against servers that do what they should,
//! and against those that do not.

#[path = "common/certificate.rs"]
mod certificate;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use certificate::Authority;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio_rustls::TlsAcceptor;
use turnwire::http::{Answer, Client, Error, HeaderValue, Limits, Request, StatusCode, Url};
use turnwire::tls::Trust;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// What a server does with its connections: it gets the place of each, and the stream.
async fn serve<F, R>(mut each: F) -> String
where
    F: FnMut(u32, tokio::net::TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for place in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(each(place, stream));
        }
    });
    format!("http://{address}/hook?a=1")
}

/// Reads one request: its head and its body.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return None;
        }
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

/// Answers each request of a connection with the same.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, with: &str) {
    while request(&mut stream).await.is_some() {
        stream.write_all(with.as_bytes()).await.unwrap();
    }
}

fn limits() -> Limits {
    Limits { answer: 1000, ..Limits::default() }
}

fn client(url: &str) -> Client {
    Client::new(Url::parse(url).unwrap(), &Trust::System, limits()).unwrap()
}

async fn get(client: &Client) -> Result<Answer, Error> {
    client.send(Request::get(None)).await
}

#[tokio::test]
async fn a_request_arrives_as_it_was_meant_and_so_does_the_answer() {
    let (seen, mut sees) = tokio::sync::mpsc::unbounded_channel();
    let url = serve(move |_, mut stream| {
        let seen = seen.clone();
        async move {
            seen.send(request(&mut stream).await.unwrap()).unwrap();
            let refused = "HTTP/1.1 418 No\r\nX-Why: tea\r\nTransfer-Encoding: chunked\r\n\r\n\
                           2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
            stream.write_all(refused.as_bytes()).await.unwrap();
        }
    })
    .await;
    let mut asked = Request::post("body");
    asked.query = Some("b=%20".to_owned());
    asked.headers.insert("x-secret", HeaderValue::from_static("s"));
    let answer = client(&url).send(asked).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (418, &b"abc"[..]));
    assert_eq!(answer.headers["x-why"], "tea");
    let seen = sees.recv().await.unwrap().to_lowercase();
    let host = url.trim_start_matches("http://").split('/').next().unwrap();
    assert!(seen.starts_with("post /hook?a=1&b=%20 http/1.1\r\n"), "{seen}");
    for line in
        ["x-secret: s", "content-length: 4", "user-agent: turnwire/", &format!("host: {host}")]
    {
        assert!(seen.contains(&format!("\r\n{line}")), "{line} in {seen}");
    }
    assert!(seen.ends_with("\r\n\r\nbody"), "{seen}");
}

#[tokio::test]
async fn a_connection_is_kept_and_one_that_was_closed_meanwhile_costs_nothing() {
    let connections = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&connections);
    // Each connection serves two requests, and is closed when the third has been read.
    let url = serve(move |_, mut stream| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            for _ in 0..2 {
                request(&mut stream).await;
                let _ = stream.write_all(OK.as_bytes()).await;
            }
            request(&mut stream).await;
        }
    })
    .await;
    let client = client(&url);
    for asked in 1..=6 {
        assert_eq!(get(&client).await.unwrap().body, "hi");
        assert_eq!(connections.load(Ordering::Relaxed), u32::div_ceil(asked, 2));
    }
}

#[tokio::test]
async fn requests_at_the_same_time_do_not_wait_for_each_other() {
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let url = serve(move |_, mut stream| {
        let both = Arc::clone(&both);
        async move {
            request(&mut stream).await;
            both.wait().await;
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let client = client(&url);
    let (one, other) = tokio::join!(get(&client), get(&client));
    assert_eq!((one.unwrap().status, other.unwrap().status), (StatusCode::OK, StatusCode::OK));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let url = serve(async |_, mut stream| {
        request(&mut stream).await;
        // The head is there, and the rest never comes.
        stream.write_all(&OK.as_bytes()[..OK.len() - 1]).await.unwrap();
        request(&mut stream).await;
    })
    .await;
    let within = Duration::from_millis(50);
    let limits = Limits { request: within, ..limits() };
    let client = Client::new(Url::parse(&url).unwrap(), &Trust::System, limits).unwrap();
    let error = get(&client).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    assert_eq!(error.to_string(), "no answer within 50ms");
}

#[tokio::test]
async fn an_answer_is_not_read_beyond_its_limit() {
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n{}", "x".repeat(1001));
    let endless = "HTTP/1.1 500 No\r\n\r\n".to_owned() + &"x".repeat(5000);
    let just = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000));
    for (text, fits) in [(long, false), (endless, false), (just, true)] {
        let url = serve(move |_, stream| {
            let text = text.clone();
            async move { answer(stream, &text).await }
        })
        .await;
        match get(&client(&url)).await {
            Ok(answer) => assert!(fits && answer.body.len() == 1000),
            Err(error) => assert!(!fits && matches!(error, Error::TooLong { .. }), "{error}"),
        }
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_words() {
    let halfway = serve(async |_, mut stream| {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").await.unwrap();
    })
    .await;
    let nothing = serve(async |_, mut stream| {
        request(&mut stream).await;
    })
    .await;
    let other = serve(async |_, stream| answer(stream, "220 mail.example ESMTP\r\n").await).await;
    // It holds the port, and does not listen.
    let holder = TcpSocket::new_v4().unwrap();
    holder.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let free = holder.local_addr().unwrap();
    let closed = "the connection was closed before the answer was complete";
    for (url, words) in [
        (halfway, closed),
        (nothing, closed),
        (other, "what came back is not HTTP"),
        (format!("http://{free}/"), "Connection refused"),
        (
            "http://unix:/no/such.sock:/".to_owned(),
            "no connection with /no/such.sock: No such file",
        ),
        ("http://no-such-host.invalid/".to_owned(), "\"no-such-host.invalid\" has no address"),
    ] {
        let error = get(&client(&url)).await.unwrap_err().to_string();
        assert!(error.contains(words), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_unix_socket_is_spoken_to() {
    let path = std::env::temp_dir().join(format!("http-{}.sock", getrandom::u32().unwrap()));
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move { answer(listener.accept().await.unwrap().0, OK).await });
    let client = client(&format!("http://unix:{}:/hook", path.display()));
    assert_eq!(get(&client).await.unwrap().body, "hi");
    let _ = fs::remove_file(path);
}

/// A server with a certificate for this name, and the file of who has issued it.
async fn secure(name: &str, days: i32) -> (u16, PathBuf) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let authority = Authority::new("our own");
    let issued = authority.issue(name, days);
    let place = COUNT.fetch_add(1, Ordering::Relaxed);
    let file =
        std::env::temp_dir().join(format!("http-ca-{}-{place}.pem", getrandom::u32().unwrap()));
    fs::write(&file, authority.pem()).unwrap();
    let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let url = serve(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, OK).await;
            }
        }
    })
    .await;
    let port = Url::parse(&url).unwrap().to_string();
    let port = port.split(':').nth(2).unwrap().split('/').next().unwrap().parse().unwrap();
    (port, file)
}

#[tokio::test]
async fn a_certificate_is_checked_and_what_is_wrong_with_it_is_said() {
    let (good, file) = secure("localhost", 10).await;
    let (old, old_file) = secure("localhost", -10).await;
    let (other, other_file) = secure("a.example", 10).await;
    let plain = serve(async |_, mut stream| {
        let _ = stream.read(&mut [0; 16]).await;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Until the other side has seen it: what is unread would make it a reset.
        while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let plain = plain.split(':').nth(2).unwrap().split('/').next().unwrap().parse().unwrap();
    let ask = async |port: u16, trust: Trust| {
        let url = Url::parse(&format!("https://localhost:{port}/")).unwrap();
        let client = Client::new(url, &trust, limits()).unwrap();
        // The second time on the same connection.
        get(&client).await?;
        get(&client).await
    };
    let answer = ask(good, Trust::Authorities(file.clone())).await.unwrap();
    assert_eq!(answer.body, "hi");
    for (port, trust, words) in [
        (good, Trust::Authorities(other_file.clone()), "nobody who is trusted here vouches"),
        (old, Trust::Authorities(old_file.clone()), "has expired"),
        (other, Trust::Authorities(other_file.clone()), "is for other names"),
        (plain, Trust::Authorities(file.clone()), "is not TLS"),
    ] {
        let error = ask(port, trust).await.unwrap_err();
        assert!(matches!(error, Error::Tls(_)), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
    for file in [file, old_file, other_file] {
        let _ = fs::remove_file(file);
    }
}
