//! What applications and browsers are served over HTTP: ephemeral credentials for those with an API key, and the page.
//!
//! | request | whose shape it has |
//! |---|---|
//! | `GET /ice` | what `RTCPeerConnection` takes: exactly `{"iceServers": [...]}` |
//! | `GET`, `POST /turn?service=turn` | draft-uberti-behave-turn-rest: `username`, `password`, `ttl`, `uris` |
//! | `POST /v1/turn/keys/{id}/credentials/generate-ice-servers`, `.../generate` | Cloudflare's |
//! | `POST /2010-04-01/Accounts/{sid}/Tokens.json` | Twilio's |
//!
//! It knows neither sockets nor the configuration: [`Web::new`] with a clock, [`Web::replace`] whenever the settings
//! are others, and [`router`] served on whatever listener tells whose connection each is ([`Client`]).
//!
//! Nobody is given a credential without a key, and a credential says whom it was given to: its user is the key's label,
//! with the name that the key's holder has given behind a `/`. So it comes back in sessions and records of them.
//! Every answer with a credential has an end; what a stranger can make grow is bounded.
//!
//! Not here: who listens where (`control`), and what a credential is good for (`auth`, `turn`).

mod admit;
mod answer;
mod client;
mod cloudflare;
mod credential;
mod form;
mod ice;
mod key;
mod line;
mod origins;
mod own;
mod page;
mod rates;
mod rest;
mod rooms;
mod signalling;
mod stats;
mod twilio;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};

pub use answer::{Problem, head, json, unknown_path, wrong_method};
pub use client::{Client, Door};
pub use credential::{Credential, InvalidName, Mint};
pub use form::decode;
pub use key::{Key, Keys};
pub use origins::Origins;
pub use page::page;
pub use rates::network;
pub use signalling::{Carried, Signalling};
pub use stats::{Refused, Shape, Stats};

use crate::time::Now;
use rates::Rates;

/// What a request may bring, in bytes.
const BODY: usize = 16 << 10;

/// What answers are given by.
#[derive(Debug, Default)]
pub struct Settings {
    /// Whether the page is served.
    pub page: bool,
    /// Who may have credentials.
    pub keys: Keys,
    /// With what they are minted: that of the default realm first. Empty when there is no secret to mint with.
    pub mints: Vec<Mint>,
    /// How long a credential is good when nobody asks for another time.
    pub ttl: Duration,
    /// Other sites whose scripts may ask.
    pub origins: Origins,
    /// Requests a minute with one key; 0 is no bound.
    pub per_key: u32,
    /// Requests a minute from one address (of IPv6: from a /64); 0 is no bound.
    pub per_address: u32,
}

/// The application.
pub struct Web {
    settings: ArcSwap<Settings>,
    clock: Box<dyn Fn() -> Now + Send + Sync>,
    rates: Rates,
    stats: Stats,
}

impl Web {
    /// One that serves nothing yet.
    pub fn new(clock: impl Fn() -> Now + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            settings: ArcSwap::default(),
            clock: Box::new(clock),
            rates: Rates::default(),
            stats: Stats::default(),
        })
    }

    /// Answers by other settings from now on.
    pub fn replace(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// What has been counted.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The settings in force.
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// The time.
    pub fn now(&self) -> Now {
        (self.clock)()
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Everything that is served. Each request must come with a [`Client`] as its `ConnectInfo`.
/// `beside` is what else is there when the page is.
pub fn router(web: Arc<Web>, beside: Router<Arc<Web>>) -> Router {
    let credentials = Router::new()
        .route("/ice", get(ice::ice))
        .route("/turn", get(rest::turn).post(rest::turn))
        .route("/v1/turn/keys/{id}/credentials/generate-ice-servers", post(cloudflare::ice_servers))
        .route("/v1/turn/keys/{id}/credentials/generate", post(cloudflare::one_entry))
        .route("/2010-04-01/Accounts/{sid}/Tokens.json", post(twilio::tokens))
        // Within: a browser asks beforehand with a method of its own.
        .method_not_allowed_fallback(answer::wrong_method)
        .layer(from_fn_with_state(Arc::clone(&web), origins::check));
    let page = page()
        .route("/page/ice", get(own::ice))
        .merge(beside)
        .route_layer(from_fn_with_state(Arc::clone(&web), with_page));
    Router::new()
        .merge(credentials)
        .merge(page)
        .fallback(answer::unknown_path)
        .method_not_allowed_fallback(answer::wrong_method)
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(web)
}

/// The WebSocket of calls, beside the page.
pub fn calls(signalling: Arc<Signalling>) -> Router<Arc<Web>> {
    Router::new().route("/page/call", get(signalling::call)).layer(Extension(signalling))
}

/// What the page shows an operator: `view`, which asks for tokens itself, below `/page/admin`. Guessing one is slow.
pub fn operators(web: Arc<Web>, view: Router<Arc<Web>>) -> Router<Arc<Web>> {
    Router::new().nest("/page/admin", view.route_layer(from_fn_with_state(web, admit::guess)))
}

/// Lets nobody see the page where there is none.
async fn with_page(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    if web.settings().page {
        return next.run(request).await;
    }
    answer::unknown_path(request.uri().clone()).await.into_response()
}
