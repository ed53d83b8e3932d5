use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::PATIENCE;

/// An application that is asked over HTTP who may come in.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    users: HashMap<String, String>,
    secrets: Option<String>,
    mood: Mood,
    /// The names that were asked about, and the heads of the questions.
    asked: Vec<String>,
    heads: Vec<String>,
    /// Questions that have no answer yet.
    open: usize,
}

/// How it is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// It takes questions and does not answer.
    Silent,
    /// It answers 500.
    Broken,
    /// It answers 403.
    Forbidding,
}

impl Application {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("an application's socket");
        let address = listener.local_addr().expect("a bound socket");
        let state = Arc::new(State::default());
        let served = Arc::clone(&state);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&served);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    /// A configuration's section with it as the only store.
    pub(crate) fn section(&self, more: &str) -> String {
        let url = format!("http://{}/turn", self.address);
        format!("[stores.ask]\napp = {{ kind = \"http\", url = \"{url}\"{more} }}\n")
    }

    /// A user from now on.
    pub(crate) fn add(&self, name: &str, answer: impl Into<String>) {
        self.with(|inner| inner.users.insert(name.to_owned(), answer.into()));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.with(|inner| inner.users.remove(name));
    }

    pub(crate) fn set_secrets(&self, answer: &str) {
        self.with(|inner| inner.secrets = Some(answer.to_owned()));
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.with(|inner| inner.mood = mood);
    }

    /// How often it was asked about a name.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.with(|inner| inner.asked.iter().filter(|asked| *asked == name).count())
    }

    /// The first lines of all questions.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.with(|inner| inner.heads.clone())
    }

    /// Waits until so many questions have no answer.
    #[track_caller]
    pub(crate) fn wait_for_open(&self, count: usize) {
        let inner = self.state.inner.lock().expect("no panic");
        let few = |inner: &mut Inner| inner.open < count;
        let waited = self.state.changed.wait_timeout_while(inner, PATIENCE, few);
        assert!(!waited.expect("no panic").1.timed_out(), "nobody asks the application");
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let done = change(&mut self.state.inner.lock().expect("no panic"));
        self.state.changed.notify_all();
        done
    }
}

fn serve(stream: TcpStream, state: &State) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut writer = stream;
    while let Some((head, body)) = question(&mut reader) {
        let Some((status, answer)) = answer(state, head, &body) else { return };
        let length = answer.len();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
        if writer.write_all((head + &answer).as_bytes()).is_err() {
            return;
        }
    }
}

fn question(reader: &mut impl BufRead) -> Option<(String, serde_json::Value)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length?.trim().parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((head, serde_json::from_slice(&body).ok()?))
}

/// What it says when it is well; it may take a while to become that.
fn answer(state: &State, head: String, body: &serde_json::Value) -> Option<(u16, String)> {
    let mut inner = state.inner.lock().expect("no panic");
    let name = body["username"].as_str().map(str::to_owned);
    inner.asked.extend(name.clone());
    inner.heads.push(head);
    inner.open += 1;
    state.changed.notify_all();
    let silent = |inner: &mut Inner| inner.mood == Mood::Silent;
    let patience = Duration::from_secs(60);
    let (mut inner, _) = state.changed.wait_timeout_while(inner, patience, silent).ok()?;
    inner.open -= 1;
    match inner.mood {
        Mood::Broken => return Some((500, String::new())),
        Mood::Forbidding => return Some((403, String::new())),
        Mood::Well | Mood::Silent => {}
    }
    let answer = match name {
        Some(name) => inner.users.get(&name).cloned(),
        None => inner.secrets.clone(),
    };
    Some(answer.map_or((404, String::new()), |answer| (200, answer)))
}
