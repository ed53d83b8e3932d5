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
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

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
/// How long that may take: a call does not wait for it.
const LOOKING: Duration = Duration::from_secs(1);
/// Questions about it at a time, answered or not: workers keep few, and the operator's have to find room among them.
const QUESTIONS: usize = 4;

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
    questions: Arc<Semaphore>,
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
    web.charge(&client, &headers)?;
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
        let questions = Arc::new(Semaphore::new(QUESTIONS));
        Arc::new(Self { rooms: Rooms::default(), web, carried, slots, questions })
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
        let key = settings.keys.now(place.key());
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
                self.rooms.open(now, (client, key), random)
            }
            Some("join") => self.rooms.enter(now, first["room"].as_str().unwrap_or_default()),
            _ => {
                let detail = "the first message has to be of type create or join";
                return Err(End::refused("not_understood", detail));
            }
        };
        found.map_err(|none| End::refused(none.label(), in_words(none)))
    }

    /// Whether the room is one that could be opened now: a reload may have taken the page or its key out.
    fn stands(&self, place: &Place<'_>) -> bool {
        let settings = self.web.settings();
        settings.page && settings.keys.now(place.key()).is_some()
    }

    /// What is relayed for both seats now, or was a moment ago; nothing when that takes too long.
    async fn look(&self, place: &Place<'_>) -> Option<Vec<Value>> {
        timeout(LOOKING, self.look_patiently(place)).await.ok()?
    }

    async fn look_patiently(&self, place: &Place<'_>) -> Option<Vec<Value>> {
        let mut looked = place.looked.lock().await;
        if let Some((at, sessions)) = &*looked
            && at.elapsed() < LOOK / 2
        {
            return Some(sessions.clone());
        }
        let mut sessions = Vec::new();
        for seat in [1, 2] {
            let owner = {
                let settings = self.web.settings();
                owner(settings.keys.now(place.key())?, &place.label_of(seat))
            };
            let asking = Arc::clone(&self.questions).acquire_owned().await.ok()?;
            let carried = Arc::clone(&self.carried);
            // A worker keeps a question that nobody waits for any more: it counts until it is answered.
            let answer = tokio::spawn(async move {
                let _asking = asking;
                carried.sessions(owner).await
            });
            sessions.extend(answer.await.ok()?.iter().map(|session| told(seat, session)));
        }
        *looked = Some((Instant::now(), sessions.clone()));
        Some(sessions)
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
                    if !self.stands(&place) {
                        return End::over("withdrawn", "the page or the key of this room is gone");
                    }
                    match self.look(&place).await.filter(|found| *found != known) {
                        Some(found) => {
                            let text = json!({ "type": "carried", "sessions": &found }).to_string();
                            known = found;
                            line.say(text).await
                        }
                        None => Ok(()),
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::auth::Secret;
    use crate::time::{Mono, Now};
    use crate::web::{Keys, Settings};

    /// Counts who asks, and answers nobody.
    #[derive(Default)]
    struct Stuck(AtomicUsize);

    impl Carried for Stuck {
        fn sessions(&self, _: String) -> Pin<Box<dyn Future<Output = Vec<Value>> + Send + '_>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn many_rooms_ask_workers_that_do_not_answer_no_more_than_a_few_questions() {
        let web = Web::new(|| Now { mono: Mono::from_secs(1), unix: 1 });
        let key = Key::new("one", &Secret::new("secret"), "app", 0, BEAT);
        web.replace(Settings { keys: Keys::new(vec![key.clone()]), ..Settings::default() });
        let stuck = Arc::new(Stuck::default());
        let signalling = Signalling::new(web, Arc::clone(&stuck) as _);
        let rooms = (0..2 * QUESTIONS as u8).map(|number| {
            let (signalling, key) = (Arc::clone(&signalling), key.clone());
            async move {
                let (now, by) = (Instant::now(), IpAddr::from([192, 0, 2, number]));
                let place = signalling.rooms.open(now, (by, &key), [number; 20]).unwrap();
                [signalling.look(&place).await, signalling.look(&place).await]
            }
        });
        let looks = rooms.collect::<tokio::task::JoinSet<_>>().join_all().await;
        assert!(looks.iter().flatten().all(Option::is_none));
        assert_eq!(stuck.0.load(Ordering::Relaxed), QUESTIONS);
    }
}
