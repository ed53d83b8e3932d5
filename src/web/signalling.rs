//! Signalling between two browsers over a WebSocket (RFC 6455), as JSON in text messages.
//!
//! It is the application's part of a call and no part of TURN; here it is so that a call through this server can be
//! seen without an application.
//!
//! | from the browser | |
//! |---|---|
//! | `{"type":"create","key":"..."}` | first: opens a room; the key is one that the page takes |
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
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::admit::Presented;
use super::line::{End, Line};
use super::rooms::{NoSeat, Place, Rooms, Told};
use super::{Client, Key, Problem, Shape, Web};

/// The longest message, in bytes: an SDP with many codecs and candidates has a tenth of it.
const LONGEST: usize = 64 << 10;
/// Connections at a time, with a seat or on the way to one.
const CONNECTIONS: usize = 256;
/// A ping goes out so often. A connection from which nothing came meanwhile, twice, is over.
const BEAT: Duration = Duration::from_secs(15);
/// How often it is looked what was relayed.
const LOOK: Duration = Duration::from_secs(2);
/// What the server has relayed, by its own count.
pub trait Carried: Send + Sync + 'static {
    /// The live sessions of the one who counts as `owner`, as the admin API tells them.
    fn sessions(&self, owner: String) -> Pin<Box<dyn Future<Output = Vec<Value>> + Send + '_>>;
}

/// Rooms with a door.
pub struct Signalling {
    rooms: Rooms,
    web: Arc<Web>,
    carried: Arc<dyn Carried>,
    slots: Semaphore,
}

/// `GET /page/call`: a request that becomes a WebSocket.
pub(super) async fn call(
    State(web): State<Arc<Web>>,
    Extension(signalling): Extension<Arc<Signalling>>,
    ConnectInfo(client): ConnectInfo<Client>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    if !of_this_origin(&headers) {
        let why = "this page comes from another address than the WebSocket it asks for";
        return Err(Problem::new(StatusCode::FORBIDDEN, why));
    }
    web.charge(&client, &headers, 1)?;
    let bounded = upgrade.max_message_size(LONGEST).max_frame_size(LONGEST);
    Ok(bounded.on_upgrade(async move |socket| {
        let mut line = Line::new(socket);
        let end = match signalling.slots.try_acquire() {
            Ok(_slot) => signalling.attend(&mut line, (&client, &headers)).await,
            Err(_) => End::refused("too_many", "as many take part as may: try again later"),
        };
        line.close(end).await;
    }))
}

impl Signalling {
    /// No room is open yet. Credentials are those of `web`.
    pub fn new(web: Arc<Web>, carried: Arc<dyn Carried>) -> Arc<Self> {
        let slots = Semaphore::new(CONNECTIONS);
        Arc::new(Self { rooms: Rooms::default(), web, carried, slots })
    }

    /// Serves one seat from its first message to its end.
    async fn attend(&self, line: &mut Line, asking: (&Client, &HeaderMap)) -> End {
        let seat = line.first().await.and_then(|first| self.seat(&first, asking));
        let place = match seat {
            Ok(place) => place,
            Err(end) => return end,
        };
        let said = match self.welcome(&place) {
            Ok(welcome) => line.say(welcome.to_string()).await,
            Err(end) => Err(end),
        };
        match said {
            Ok(()) => self.talk(line, place).await,
            Err(end) => end,
        }
    }

    /// What a seat is worth: credentials by the key that the room was opened with, if that is good still.
    fn welcome(&self, place: &Place<'_>) -> Result<Value, End> {
        let settings = self.web.settings();
        let key = settings.keys.named(place.key());
        let Some((key, mint)) = key.and_then(|key| Some((key, settings.mints.get(key.mint)?)))
        else {
            return Err(End::refused("no_room", "the key that this room was opened with is gone"));
        };
        let time = place.ends().saturating_duration_since(Instant::now()).min(key.max_ttl);
        let minted = mint.credential(self.web.now().unix, time, &key.label, &place.label());
        let credential = minted.map_err(|error| End::refused("no_room", error.to_string()))?;
        self.web.stats().give(Shape::Call);
        Ok(json!({
            "type": "welcome",
            "room": place.room(),
            "seat": place.number(),
            "label": owner(key, &place.label()),
            "iceServers": credential.ice_servers(),
            "seconds": time.as_secs(),
        }))
    }

    /// The seat that the first message asks for.
    fn seat(&self, first: &Value, asking: (&Client, &HeaderMap)) -> Result<Place<'_>, End> {
        let (now, client) = (Instant::now(), asking.0.ip(asking.1));
        let found = match first["type"].as_str() {
            Some("create") => {
                let settings = self.web.settings();
                let shown = Presented::token(first["key"].as_str().map(str::as_bytes));
                let key = self.web.admit(&settings, asking, shown).map_err(refusal)?;
                let mut random = [0; 20];
                getrandom::fill(&mut random)
                    .map_err(|_| End::refused("no_random", "the system gives no random bytes"))?;
                self.rooms.open(now, (client, &key.name), random)
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
            let owner = {
                let settings = self.web.settings();
                settings.keys.named(place.key()).map(|key| owner(key, &place.label_of(seat)))
            };
            let Some(owner) = owner else { continue };
            let found = self.carried.sessions(owner).await;
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

/// The user part of a seat's username.
fn owner(key: &Key, label: &str) -> String {
    format!("{}/{label}", key.label)
}

fn refusal(problem: Problem) -> End {
    let why = match problem.code() {
        StatusCode::TOO_MANY_REQUESTS => "too_often",
        StatusCode::UNAUTHORIZED => "key_needed",
        _ => "not_granted",
    };
    End::refused(why, problem.detail())
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
