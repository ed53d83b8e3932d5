//! One request over a Unix socket, and its answer.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(90);
/// More than any answer has, in bytes.
const LONGEST: u64 = 64 << 20;
/// More than a line of one has.
const LONGEST_LINE: u64 = 1 << 20;

/// A running server, by its admin socket.
#[derive(Clone, Debug)]
pub(in crate::tools) struct Server {
    path: PathBuf,
}

/// An answer of the API.
#[derive(Clone, Debug)]
struct Answer {
    /// The status code.
    code: u16,
    /// JSON.
    body: Value,
}

/// Why there is no answer, or none that grants anything.
#[derive(Debug)]
pub(in crate::tools) enum Trouble {
    /// Nobody listens at any of these.
    NoServer(Vec<PathBuf>),
    /// The socket cannot be used.
    Socket(PathBuf, io::Error),
    /// The server says no, and why.
    Refused(String),
    /// What answers is no server of ours.
    Foreign(PathBuf),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                let paths = if paths.is_empty() { "anywhere".into() } else { paths.join(" or ") };
                write!(
                    f,
                    "no server runs here: none listens at {paths}; --socket names its socket, \
                     --config the configuration that it runs with"
                )
            }
            Self::Socket(path, error) => match error.kind() {
                io::ErrorKind::PermissionDenied => write!(
                    f,
                    "{} is for the user that the server was started as: run this as that user, \
                     or as root (sudo)",
                    path.display()
                ),
                _ => write!(f, "the server at {} does not answer: {error}", path.display()),
            },
            Self::Refused(why) => f.write_str(why),
            Self::Foreign(path) => {
                write!(f, "what answers at {} is no admin API", path.display())
            }
        }
    }
}

impl Trouble {
    /// Whether no server is there any more.
    pub(super) fn is_absence(&self) -> bool {
        use io::ErrorKind::{
            BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof,
        };
        let gone = [BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof];
        match self {
            Self::NoServer(_) => true,
            Self::Socket(_, error) => gone.contains(&error.kind()),
            Self::Refused(_) | Self::Foreign(_) => false,
        }
    }
}

impl Server {
    /// The server behind the first of these paths at which one listens that is for us: beside the system's there may
    /// be one of our own.
    ///
    /// # Errors
    /// There is none, or its socket is not for us.
    pub(in crate::tools) fn find(paths: &[PathBuf]) -> Result<Self, Trouble> {
        Self::choose(paths, |path| UnixStream::connect(path).map(drop))
    }

    fn choose(
        paths: &[PathBuf],
        connect: impl Fn(&Path) -> io::Result<()>,
    ) -> Result<Self, Trouble> {
        let mut barred = None;
        for path in paths {
            match connect(path) {
                Ok(()) => return Ok(Self { path: path.clone() }),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    barred.get_or_insert(Trouble::Socket(path.clone(), error));
                }
                Err(_) => {}
            }
        }
        Err(barred.unwrap_or_else(|| Trouble::NoServer(paths.to_vec())))
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Trouble> {
        self.granted("GET", path, None)
    }

    pub(in crate::tools) fn post(&self, path: &str, body: &Value) -> Result<Value, Trouble> {
        self.granted("POST", path, Some(body))
    }

    /// Shows the lines of an answer one by one, as they come, until there are no more or `show` wants none. The server
    /// sends something every few seconds.
    ///
    /// # Errors
    /// There is no answer, or it says why not.
    pub(in crate::tools) fn lines(
        &self,
        path: &str,
        show: impl FnMut(&str) -> bool,
    ) -> Result<(), Trouble> {
        let broken = |error| Trouble::Socket(self.path.clone(), error);
        let stream = UnixStream::connect(&self.path).map_err(broken)?;
        let end = follow(stream, path, show).map_err(broken)?;
        match end {
            None => Ok(()),
            Some(body) => match serde_json::from_str::<Value>(&body).ok() {
                Some(Value::Object(problem)) => {
                    let detail = problem.get("detail").and_then(Value::as_str);
                    Err(Trouble::Refused(detail.unwrap_or("it is refused").to_owned()))
                }
                _ => Err(Trouble::Foreign(self.path.clone())),
            },
        }
    }

    /// What a request is answered with that is granted.
    ///
    /// # Errors
    /// There is no answer, or it says why not.
    pub(super) fn granted(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Trouble> {
        let Answer { code, mut body } = self.call(method, path, body)?;
        if code < 300 {
            return Ok(body);
        }
        match body.get_mut("detail").map(Value::take) {
            Some(Value::String(detail)) => Err(Trouble::Refused(detail)),
            _ => Err(Trouble::Foreign(self.path.clone())),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// There is none.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Trouble> {
        let broken = |error| Trouble::Socket(self.path.clone(), error);
        let text = exchange(&self.path, method, path, body).map_err(broken)?;
        answer(&text).ok_or_else(|| Trouble::Foreign(self.path.clone()))
    }
}

fn exchange(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let body = body.map_or_else(String::new, Value::to_string);
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: turnwire\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut text = Vec::new();
    stream.take(LONGEST).read_to_end(&mut text)?;
    if text.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text)
}

/// The body of an answer that grants nothing. To HTTP/1.0 nothing is sent in chunks.
fn follow(
    mut stream: UnixStream,
    path: &str,
    mut show: impl FnMut(&str) -> bool,
) -> io::Result<Option<String>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: turnwire\r\n\r\n").as_bytes())?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    let next = |lines: &mut BufReader<UnixStream>, line: &mut String| {
        line.clear();
        lines.by_ref().take(LONGEST_LINE).read_line(line)
    };
    next(&mut lines, &mut line)?;
    let granted = line.split(' ').nth(1) == Some("200");
    while next(&mut lines, &mut line)? > 0 && !line.trim_end().is_empty() {}
    if !granted {
        let mut body = String::new();
        lines.take(LONGEST_LINE).read_to_string(&mut body)?;
        return Ok(Some(body));
    }
    while next(&mut lines, &mut line)? > 0 {
        if !show(line.trim_end()) {
            break;
        }
    }
    Ok(None)
}

/// The server closes behind each answer, and sends none in chunks.
fn answer(text: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let code = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { code, body: serde_json::from_str(body).ok()? })
}

/// A text as a part of a path or of a query.
pub(in crate::tools) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_code_and_its_json() {
        let found =
            answer(b"HTTP/1.1 409 Conflict\r\ncontent-length: 9\r\n\r\n{\"a\":17}\n").unwrap();
        assert_eq!((found.code, found.body["a"].as_u64()), (409, Some(17)));
        for other in
            [&b"SSH-2.0-OpenSSH\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\n\r\n<html>", b"\xFF", b""]
        {
            assert!(answer(other).is_none());
        }
    }

    #[test]
    fn whatever_stands_in_a_name_is_no_part_of_the_path() {
        assert_eq!(encode("1700:al\u{ed}ce &?/%+"), "1700%3Aal%C3%ADce%20%26%3F%2F%25%2B");
    }

    #[test]
    fn without_a_server_it_is_said_where_it_was_looked_for() {
        let trouble =
            Server::find(&[PathBuf::from("/nonexistent/a"), PathBuf::from("/nonexistent/b")]);
        let said = trouble.err().unwrap().to_string();
        assert!(said.contains("none listens at /nonexistent/a or /nonexistent/b"), "{said}");
    }

    #[test]
    fn a_server_that_is_not_for_us_does_not_hide_our_own() {
        let paths = [PathBuf::from("/system"), PathBuf::from("/ours")];
        let connect = |ours: io::ErrorKind| {
            move |path: &Path| match path == Path::new("/ours") {
                true if ours == io::ErrorKind::Other => Ok(()),
                true => Err(ours.into()),
                false => Err(io::ErrorKind::PermissionDenied.into()),
            }
        };
        let found = Server::choose(&paths, connect(io::ErrorKind::Other)).unwrap();
        assert_eq!(found.path, Path::new("/ours"));
        let trouble = Server::choose(&paths, connect(io::ErrorKind::NotFound)).err().unwrap();
        assert!(trouble.to_string().starts_with("/system is for the user"), "{trouble}");
    }
}
