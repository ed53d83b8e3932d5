use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The status line and the header lines, with their names in lower case.
    pub(crate) head: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    /// The sentence of a refusal.
    #[track_caller]
    pub(crate) fn detail(&self) -> String {
        self.json()["detail"].as_str().expect("a sentence").to_owned()
    }
}

/// Sends a request on a connection of its own, and reads until the end.
#[track_caller]
pub(crate) fn request(
    mut stream: impl Read + Write,
    line: impl Display,
    headers: &[&str],
    body: &str,
) -> Reply {
    let mut text = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("host:")) {
        text.push_str("Host: localhost\r\n");
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    headers.iter().for_each(|header| text.push_str(&format!("{header}\r\n")));
    stream.write_all(format!("{text}\r\n{body}").as_bytes()).expect("a request");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer with an end");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head: {}", String::from_utf8_lossy(&bytes)));
    let text = String::from_utf8(bytes[..end].to_vec()).expect("text");
    let lower = |line: &str| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}", name.to_ascii_lowercase()),
        None => line.to_owned(),
    };
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Reply { status, head: text.lines().map(lower).collect(), body: bytes[end + 4..].to_vec() }
}

/// The same over plain TCP.
#[track_caller]
pub(crate) fn ask(server: SocketAddr, line: impl Display, headers: &[&str]) -> Reply {
    post(server, line, headers, "")
}

/// The same with a body.
#[track_caller]
pub(crate) fn post(server: SocketAddr, line: impl Display, headers: &[&str], body: &str) -> Reply {
    let stream = TcpStream::connect(server).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    request(stream, line, headers, body)
}
