//! One request over the admin socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::server::LIMIT;

/// Status and body of a request; `body` is JSON or nothing.
pub(crate) fn call(socket: &Path, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, text) =
        raw(UnixStream::connect(socket).expect("the admin socket"), method, path, body, "");
    let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
    (status, value)
}

/// The same over any connection, with more headers, each with its end of line.
pub(crate) fn raw<S: Read + Write>(
    mut stream: S,
    method: &str,
    path: &str,
    body: &str,
    headers: &str,
) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP response");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// A connection that does not wait for ever.
pub(crate) fn patient(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("the admin socket");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    stream
}
