//! The admin endpoint: HTTP with JSON, over a Unix socket and over TCP.
//!
//! | path | Unix socket | TCP |
//! |---|---|---|
//! | `/metrics`, `/livez`, `/readyz`, `/healthz` | everybody who may open it | everybody |
//! | `/v1/...` | everybody who may open it | with a token only |
//!
//! It trusts nobody: a connection serves one request and has an end, no more than a few are open at a time, and what
//! a request may bring is small. So whoever hangs costs nothing else. Only who follows a client (`explain`) is answered
//! for longer: its time begins anew with each line.
//!
//! What changes the server is asked of the main loop (`wishes`).

mod credentials;
mod explain;
mod health;
mod page;
mod query;
mod sessions;
mod socket;
mod status;
mod steer;
mod token;
mod view;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post, put};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::error::StartError;
use super::listen::Bounded;
use super::metrics::{self, Sources};
use super::reload::{Commit, Part};
use super::wishes::Wisher;
use crate::config::{Config, Shown};
use crate::web::{unknown_path, wrong_method};
use crate::worker::{Followers, Remote, Workers};
use page::page;
use token::Tokens;

pub(super) use socket::{SOCKET_NAME, Socket, SocketError};

/// How long a connection may take for its one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same on the Unix socket: a reload may take its time.
const SOCKET_PATIENCE: Duration = Duration::from_secs(60);
/// Connections open at a time; others wait in the system's queue.
const CONNECTIONS: usize = 32;
/// What a request may bring, in bytes.
const BODY: usize = 16 << 10;

/// What the endpoint answers from.
pub(super) struct Admin {
    sources: Arc<Sources>,
    registry: Registry,
    wisher: Wisher,
    remote: Remote,
    followers: Followers,
    settings: ArcSwap<Settings>,
}

/// What a reload changes.
struct Settings {
    tokens: Tokens,
    /// The configuration in force.
    shown: Shown,
}

impl Settings {
    fn new(config: &Config) -> Arc<Self> {
        let tokens = Tokens::new(&config.admin_tokens);
        Arc::new(Self { tokens, shown: config.shown.clone() })
    }
}

impl Admin {
    pub(super) fn new(
        sources: Arc<Sources>,
        wisher: Wisher,
        workers: &Workers,
        config: &Config,
    ) -> Arc<Self> {
        let settings = ArcSwap::new(Settings::new(config));
        let registry = metrics::registry(Arc::clone(&sources));
        let (remote, followers) = (workers.remote(), workers.followers());
        Arc::new(Self { sources, registry, wisher, remote, followers, settings })
    }

    /// Answers requests over TCP until the task is dropped.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let authorize = from_fn_with_state(Arc::clone(&self), token::authorize);
        let router = finish(open().merge(steering().route_layer(authorize)), self);
        axum::serve(Bounded::new(listener, CONNECTIONS, PATIENCE).renewed(), router).await
    }

    /// The same on the Unix socket, whose file says who may come.
    pub(super) async fn serve_socket(
        self: Arc<Self>,
        listener: tokio::net::UnixListener,
    ) -> io::Result<()> {
        let router = finish(open().merge(steering()), self);
        axum::serve(Bounded::new(listener, CONNECTIONS, SOCKET_PATIENCE).renewed(), router).await
    }
}

/// The admin endpoint, as a part of what a reload changes.
pub(super) struct AdminPart(pub(super) Arc<Admin>);

impl Part for AdminPart {
    fn prepare<'a>(&'a mut self, _: &Config, after: &'a Config) -> Result<Commit<'a>, StartError> {
        let settings = Settings::new(after);
        Ok(Box::new(move || self.0.settings.store(settings)))
    }
}

/// What everybody may see who gets there.
fn open() -> Router<Arc<Admin>> {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/healthz", get(health::summary))
}

/// What the operator may see and do.
fn steering() -> Router<Arc<Admin>> {
    let sessions = get(sessions::list).delete(sessions::end_many);
    Router::new()
        .route("/v1/sessions", sessions)
        .route("/v1/sessions/{id}", get(sessions::show).delete(sessions::end_one))
        .route("/v1/explain", get(explain::explain))
        .route("/v1/status", get(status::status))
        .route("/v1/counters", get(status::counters))
        .route("/v1/config", get(status::config))
        .route("/v1/credentials/revoke", post(credentials::revoke))
        .route("/v1/credentials/revoked", get(credentials::list).delete(credentials::restore))
        .route("/v1/credentials/refresh", post(credentials::refresh))
        .route("/v1/openapi.json", get(document))
        .route("/v1/reload", post(steer::reload))
        .route("/v1/drain", post(steer::drain))
        .route("/v1/log-level", put(steer::log_level))
}

fn finish(router: Router<Arc<Admin>>, admin: Arc<Admin>) -> Router {
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(map_response(close))
        .with_state(admin)
}

async fn scrape(State(admin): State<Arc<Admin>>) -> Response {
    match metrics::render(&admin.registry) {
        Ok(text) => page(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", String::new()),
    }
}

/// What can be asked for, and what is answered (OpenAPI 3.1).
async fn document() -> Response {
    page(StatusCode::OK, "application/json", include_str!("../../../docs/openapi.json").to_owned())
}

/// One request for each connection.
async fn close(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}
