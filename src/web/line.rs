//! A WebSocket on which everything takes its limited time and comes at a limited rate.

use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use serde_json::{Value, json};
use tokio::time::timeout;

/// A WebSocket on which all takes its limited time.
pub(super) struct Line {
    socket: WebSocket,
    /// Messages that may come now.
    allowance: f64,
    filled: Instant,
}

impl Line {
    pub(super) fn new(socket: WebSocket) -> Self {
        Self { socket, allowance: BURST, filled: Instant::now() }
    }

    /// The first message, whatever pings come before it.
    pub(super) async fn first(&mut self) -> Result<Value, End> {
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
    pub(super) async fn hear(&mut self) -> Result<Value, End> {
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

    pub(super) async fn say(&mut self, text: String) -> Result<(), End> {
        self.send(Message::Text(text.into())).await
    }

    pub(super) async fn ping(&mut self) -> Result<(), End> {
        self.send(Message::Ping(Default::default())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(SENDING, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    pub(super) async fn close(mut self, end: End) {
        if let End::Told(last) = end
            && self.say(last.to_string()).await.is_ok()
        {
            let close = CloseFrame { code: close_code::NORMAL, reason: Default::default() };
            let _ = self.send(Message::Close(Some(close))).await;
        }
    }
}

/// Why nobody is served any more.
pub(super) enum End {
    /// The connection is lost, or closed by the other side.
    Gone,
    /// Not an end: something came that says nothing.
    Alive,
    /// There is a last message.
    Told(Value),
}

impl End {
    pub(super) fn refused(why: &str, detail: impl Into<String>) -> Self {
        Self::Told(json!({ "type": "refused", "why": why, "detail": detail.into() }))
    }

    pub(super) fn over(why: &str, detail: &str) -> Self {
        Self::Told(json!({ "type": "end", "why": why, "detail": detail }))
    }
}

/// How long the first message may take.
const FIRST: Duration = Duration::from_secs(10);
/// How long a message may take to be sent.
const SENDING: Duration = Duration::from_secs(10);
/// Messages that may come at once, and more of them each second: a call begins with a few dozen candidates. A long
/// one counts as several, so that what waits for a slow reader is bounded too.
const BURST: f64 = 200.0;
const RATE: f64 = 20.0;
const COUNTS_ONCE: f64 = 2048.0;
