//! Signalling between two browsers over a WebSocket (RFC 6455), as JSON in text messages.
//!
//! It is the application's part of a call and no part of TURN; here it is so that a call through this server can be
//! seen without an application.
//!
//! | from the browser | |
//! |---|---|
//! | `{"type":"create","key":"..."}` | first: opens a room; the key is one of `web.keys`, where one is needed |
//! | `{"type":"join","room":"..."}` | first: takes the free seat of a room |
//! | `{"type":"offer"/"answer","sdp":"..."}`, `{"type":"new-ice-candidate","candidate":{...}}` | goes to the other seat |
//!
//! | to the browser | |
//! |---|---|
//! | `{"type":"welcome","room","seat","label","iceServers","seconds"}` | the seat, and what to give `RTCPeerConnection` for so long |
//! | `{"type":"peer","here":true}` | the other seat is taken now, or free again |
//! | `offer`, `answer`, `new-ice-candidate` | from the other seat |
//! | `{"type":"carried","sessions":[...]}` | what this server relays for each seat, by its own count |
//! | `{"type":"refused"/"end","why":"...","detail":"..."}` | the last message |
//!
//! Nobody is trusted: a message has a greatest length, messages have a greatest rate, a silent connection an end, and
//! a page of another origin gets no connection at all.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

use super::rooms::{NoSeat, Place, Rooms, Told};

/// The longest message, in bytes: an SDP with many codecs and candidates has a tenth of it.
const LONGEST: usize = 64 << 10;
/// Connections at a time, with a seat or on the way to one.
const CONNECTIONS: usize = 256;
/// How long the first message may take.
const FIRST: Duration = Duration::from_secs(10);
/// How long a message may take to be sent.
const SENDING: Duration = Duration::from_secs(10);
/// A ping goes out so often. A connection from which nothing came meanwhile, twice, is over.
const BEAT: Duration = Duration::from_secs(15);
/// How often it is looked what was relayed.
const LOOK: Duration = Duration::from_secs(2);
/// Messages that may come at once, and more of them each second: a call begins with a few dozen candidates. A long
/// one counts as several, so that what waits for a slow reader is bounded too.
const BURST: f64 = 200.0;
const COUNTS_ONCE: f64 = 2048.0;
const RATE: f64 = 20.0;

/// What the house around it does for signalling.
pub trait Desk: Send + Sync + 'static {
    /// Whether somebody may open a room, and so have credentials handed out.
    ///
    /// # Errors
    /// A word for programs and a sentence for people.
    fn admit(
        &self,
        client: IpAddr,
        headers: &HeaderMap,
        key: Option<&str>,
    ) -> Result<(), (&'static str, String)>;

    /// The `iceServers` for one who is named by `label` in logs and accounting, good for so long.
    fn ice_servers(&self, label: &str, time: Duration) -> Value;

    /// The live sessions of that one, as the admin API tells them.
    fn carried(&self, label: String) -> Pin<Box<dyn Future<Output = Vec<Value>> + Send + '_>>;
}

/// Rooms with a door.
pub struct Signalling {
    rooms: Rooms,
    desk: Arc<dyn Desk>,
    slots: Semaphore,
}

impl Signalling {
    /// No room is open yet.
    pub fn new(desk: Arc<dyn Desk>) -> Arc<Self> {
        Arc::new(Self { rooms: Rooms::default(), desk, slots: Semaphore::new(CONNECTIONS) })
    }

    /// Rooms that are open now.
    pub fn rooms(&self) -> usize {
        self.rooms.count(Instant::now())
    }

    /// Makes a WebSocket of a request of a client's.
    pub fn upgrade(
        self: Arc<Self>,
        client: IpAddr,
        headers: HeaderMap,
        upgrade: WebSocketUpgrade,
    ) -> Response {
        if !of_this_origin(&headers) {
            let why = "this page comes from another address than the WebSocket it asks for";
            return (StatusCode::FORBIDDEN, why).into_response();
        }
        let bounded = upgrade.max_message_size(LONGEST).max_frame_size(LONGEST);
        bounded.on_upgrade(async move |socket| {
            let mut line = Line { socket, allowance: BURST, filled: Instant::now() };
            let end = match self.slots.try_acquire() {
                Ok(_slot) => self.attend(&mut line, client, &headers).await,
                Err(_) => End::refused("too_many", "as many take part as may: try again later"),
            };
            line.close(end).await;
        })
    }

    /// Serves one seat from its first message to its end.
    async fn attend(&self, line: &mut Line, client: IpAddr, headers: &HeaderMap) -> End {
        let place = match line.first().await.and_then(|first| self.seat(&first, client, headers)) {
            Ok(place) => place,
            Err(end) => return end,
        };
        let time = place.ends().saturating_duration_since(Instant::now());
        let welcome = json!({
            "type": "welcome",
            "room": place.room(),
            "seat": place.number(),
            "label": place.label(),
            "iceServers": self.desk.ice_servers(&place.label(), time),
            "seconds": time.as_secs(),
        });
        match line.say(welcome.to_string()).await {
            Ok(()) => self.talk(line, place).await,
            Err(end) => end,
        }
    }

    /// The seat that the first message asks for.
    fn seat(&self, first: &Value, client: IpAddr, headers: &HeaderMap) -> Result<Place<'_>, End> {
        let now = Instant::now();
        let found = match first["type"].as_str() {
            Some("create") => {
                let admitted = self.desk.admit(client, headers, first["key"].as_str());
                admitted.map_err(|(why, detail)| End::refused(why, detail))?;
                let mut random = [0; 20];
                getrandom::fill(&mut random)
                    .map_err(|_| End::refused("no_random", "the system gives no random bytes"))?;
                self.rooms.open(now, client, random)
            }
            Some("join") => self.rooms.enter(now, first["room"].as_str().unwrap_or_default()),
            _ => {
                let detail = "the first message has to be of type create or join";
                return Err(End::refused("not_understood", detail));
            }
        };
        found.map_err(|none| End::refused(none.label(), in_words(none)))
    }

    /// What is relayed for both seats now, or was a moment ago.
    async fn look(&self, place: &Place<'_>) -> Vec<Value> {
        let mut looked = place.looked.lock().await;
        if let Some((at, sessions)) = &*looked
            && at.elapsed() < LOOK / 2
        {
            return sessions.clone();
        }
        let mut sessions = Vec::new();
        for seat in [1, 2] {
            let found = self.desk.carried(place.label_of(seat)).await;
            sessions.extend(found.iter().map(|session| told(seat, session)));
        }
        *looked = Some((Instant::now(), sessions.clone()));
        sessions
    }

    async fn talk(&self, line: &mut Line, mut place: Place<'_>) -> End {
        let mut beat = interval(BEAT);
        let mut look = interval(LOOK);
        for ticks in [&mut beat, &mut look] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.reset();
        }
        let over = sleep_until(place.ends().into());
        tokio::pin!(over);
        let (mut silent, mut known) = (0, Vec::new());
        loop {
            let said = tokio::select! {
                () = &mut over => return End::over("time", "the room is over: open another one"),
                told = place.inbox.recv() => match told {
                    Some(Told::Said(text)) => line.say(text).await,
                    Some(Told::Peer(here)) => {
                        line.say(json!({ "type": "peer", "here": here }).to_string()).await
                    }
                    None => return End::over("too_slow", "too much waited for this browser"),
                },
                heard = line.hear() => {
                    silent = 0;
                    match heard.and_then(|message| passable(&message)) {
                        Ok(text) => {
                            place.say(text);
                            Ok(())
                        }
                        Err(End::Alive) => Ok(()),
                        Err(end) => Err(end),
                    }
                }
                _ = beat.tick() => {
                    silent += 1;
                    if silent > 2 { Err(End::Gone) } else { line.ping().await }
                }
                _ = look.tick() => {
                    let found = self.look(&place).await;
                    if found == known {
                        Ok(())
                    } else {
                        let text = json!({ "type": "carried", "sessions": &found }).to_string();
                        known = found;
                        line.say(text).await
                    }
                }
            };
            if let Err(end) = said {
                return end;
            }
        }
    }
}

/// Why nobody is served any more.
enum End {
    /// The connection is lost, or closed by the other side.
    Gone,
    /// Not an end: something came that says nothing.
    Alive,
    /// There is a last message.
    Told(Value),
}

impl End {
    fn refused(why: &str, detail: impl Into<String>) -> Self {
        Self::Told(json!({ "type": "refused", "why": why, "detail": detail.into() }))
    }

    fn over(why: &str, detail: &str) -> Self {
        Self::Told(json!({ "type": "end", "why": why, "detail": detail }))
    }
}

/// A WebSocket on which all takes its limited time.
struct Line {
    socket: WebSocket,
    /// Messages that may come now.
    allowance: f64,
    filled: Instant,
}

impl Line {
    /// The first message, whatever pings come before it.
    async fn first(&mut self) -> Result<Value, End> {
        let heard = timeout(FIRST, async {
            loop {
                match self.hear().await {
                    Err(End::Alive) => {}
                    heard => return heard,
                }
            }
        });
        let late = |_| Err(End::refused("too_late", "no first message came in time"));
        heard.await.unwrap_or_else(late)
    }

    /// The next message.
    async fn hear(&mut self) -> Result<Value, End> {
        let message = match self.socket.recv().await {
            Some(Ok(message)) => message,
            Some(Err(_)) | None => return Err(End::Gone),
        };
        let long = if let Message::Text(text) = &message { text.len() } else { 0 };
        let price = 1.0 + long as f64 / COUNTS_ONCE;
        let now = Instant::now();
        let more = now.saturating_duration_since(self.filled).as_secs_f64() * RATE;
        (self.allowance, self.filled) = ((self.allowance + more).min(BURST) - price, now);
        if self.allowance < 0.0 {
            return Err(End::over("too_much", "more messages came than a call needs"));
        }
        match message {
            Message::Text(text) => serde_json::from_str(&text)
                .map_err(|_| End::over("not_understood", "a message is not JSON")),
            Message::Binary(_) => Err(End::over("not_understood", "messages are JSON, as text")),
            Message::Ping(_) | Message::Pong(_) => Err(End::Alive),
            Message::Close(_) => Err(End::Gone),
        }
    }

    async fn say(&mut self, text: String) -> Result<(), End> {
        self.send(Message::Text(text.into())).await
    }

    async fn ping(&mut self) -> Result<(), End> {
        self.send(Message::Ping(Default::default())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(SENDING, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    async fn close(mut self, end: End) {
        if let End::Told(last) = end
            && self.say(last.to_string()).await.is_ok()
        {
            let close = CloseFrame { code: close_code::NORMAL, reason: Default::default() };
            let _ = self.send(Message::Close(Some(close))).await;
        }
    }
}

/// What goes to the other seat of a message: what a call needs, and nothing else that is in it.
fn passable(message: &Value) -> Result<String, End> {
    let text = |name: &str| message[name].as_str();
    let passed = match (text("type"), text("sdp"), &message["candidate"]) {
        (Some(kind @ ("offer" | "answer")), Some(sdp), _) => json!({ "type": kind, "sdp": sdp }),
        (Some("new-ice-candidate"), _, candidate @ (Value::Object(_) | Value::Null)) => {
            json!({ "type": "new-ice-candidate", "candidate": candidate })
        }
        _ => {
            let detail = "there are offer and answer with sdp, and new-ice-candidate";
            return Err(End::over("not_understood", detail));
        }
    };
    Ok(passed.to_string())
}

/// What one seat may know of a session of the other: not from where that comes to the server.
fn told(seat: usize, session: &Value) -> Value {
    let known = [
        "id",
        "transport",
        "relayed",
        "age_seconds",
        "to_peer_packets",
        "to_peer_bytes",
        "to_client_packets",
        "to_client_bytes",
    ];
    let fields = known.map(|name| (name.to_owned(), session[name].clone()));
    let mut told: Value = Map::from_iter(fields).into();
    told["seat"] = seat.into();
    told
}

/// Browsers say whose page asks for a WebSocket, and let every page ask (RFC 6455 §10.2).
fn of_this_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| {
        origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))
    });
    origin.is_some() && origin == host
}

const fn in_words(none: NoSeat) -> &'static str {
    match none {
        NoSeat::NoRoom => "there is no such room: it is over, or the link is not whole",
        NoSeat::Full => "two are in this room already",
        NoSeat::TooMany => "as many rooms are open as may be: try again later",
        NoSeat::TooManyOfYours => "you have opened as many rooms as may be: try again later",
    }
}
