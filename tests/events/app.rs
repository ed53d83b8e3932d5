//! An application that is told by HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use turnwire::http::signature;

use super::common::{eventually, unique_loopback};

pub(crate) const SECRET: &str = "sixteen bytes or more";

/// How it behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Mood {
    /// It takes what comes.
    Good,
    /// It answers 503.
    Busy,
    /// It takes what comes and closes before it has answered.
    Rude,
    /// It never answers.
    Silent,
    /// It takes what comes, and answers more than anybody wants to read.
    Chatty,
}

struct Shared {
    records: Mutex<Vec<Value>>,
    mood: AtomicU32,
    requests: AtomicU32,
    /// It was killed: nothing is taken any more.
    dead: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

pub(crate) struct App {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl App {
    pub(crate) fn new() -> Self {
        // Its port stays free for it when it is killed.
        Self::at(SocketAddr::new(unique_loopback(), 0))
    }

    /// One that comes back where another was.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let listener = eventually("the port is free", || TcpListener::bind(address).ok());
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            records: Mutex::default(),
            mood: AtomicU32::new(Mood::Good as u32),
            requests: AtomicU32::new(0),
            dead: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let to = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if to.dead.load(Ordering::SeqCst) {
                    return;
                }
                to.open.lock().unwrap().push(stream.try_clone().unwrap());
                let to = Arc::clone(&to);
                thread::spawn(move || {
                    to.serve(&stream);
                    // It is kept among those that are open.
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.shared.mood.store(mood as u32, Ordering::SeqCst);
    }

    pub(crate) fn requests(&self) -> u32 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn records(&self) -> Vec<Value> {
        self.shared.records.lock().unwrap().clone()
    }

    /// Ends it at once, and gives what it had got.
    pub(crate) fn kill(self) -> (SocketAddr, Vec<Value>) {
        self.shared.dead.store(true, Ordering::SeqCst);
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // So that it sees that it is dead.
        let _ = TcpStream::connect(self.address);
        (self.address, self.records())
    }

    /// The lines of the configuration that have it told.
    pub(crate) fn config(&self) -> String {
        self.config_of(30)
    }

    /// The same with so many seconds for an answer.
    pub(crate) fn config_of(&self, timeout: u32) -> String {
        format!(
            "usage_interval = 1\n[events.webhook]\nurl = \"http://{}/hook?token=hush\"\nsecret = \"{SECRET}\"\ntimeout = {timeout}\n",
            self.address
        )
    }
}

impl Shared {
    fn serve(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        loop {
            let (body, signed) = request(&mut reader)?;
            self.requests.fetch_add(1, Ordering::SeqCst);
            let mood = self.mood.load(Ordering::SeqCst);
            if mood == Mood::Busy as u32 {
                stream.write_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").ok()?;
                continue;
            }
            let value: Value = serde_json::from_slice(&body).expect("JSON");
            let unix = signed.strip_prefix("t=").and_then(|rest| rest.split(',').next());
            let unix = unix.and_then(|unix| unix.parse().ok()).expect("a time");
            assert_eq!(signed, signature(SECRET.as_bytes(), unix, &body));
            assert_eq!(value["v"], 1);
            if mood == Mood::Silent as u32 {
                thread::park();
            }
            // What is taken when it is dead would be nowhere.
            if self.dead.load(Ordering::SeqCst) {
                return None;
            }
            self.records.lock().unwrap().extend(value["records"].as_array().unwrap().clone());
            if mood == Mood::Rude as u32 {
                return None;
            }
            if mood == Mood::Chatty as u32 {
                let page = "a".repeat(100_000);
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{page}");
                // The other side need not wait for all of it.
                let _ = stream.write_all(answer.as_bytes());
                return None;
            }
            stream.write_all(b"HTTP/1.1 204 Done\r\n\r\n").ok()?;
        }
    }
}

/// The body of the next request and what it is signed with.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(Vec<u8>, String)> {
    let (mut length, mut signed) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            match name.to_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "x-turnwire-signature" => value.clone_into(&mut signed),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((body, signed))
}
