//! The admin endpoint: `GET /metrics` and `GET /healthz` over HTTP.
//!
//! It trusts nobody either: a connection serves one request and lives ten seconds, and no more
//! than a few are open at a time, so that a scraper that hangs costs nothing else.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use super::health::Phase;
use super::metrics::{self, Sources};
use super::watch::live;

/// How long a connection may take for its one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections open at a time; others wait in the system's queue.
const CONNECTIONS: usize = 32;

/// What the endpoint answers from.
pub(super) struct Admin {
    sources: Arc<Sources>,
    registry: Registry,
}

impl Admin {
    pub(super) fn new(sources: Arc<Sources>) -> Arc<Self> {
        let registry = metrics::registry(Arc::clone(&sources));
        Arc::new(Self { sources, registry })
    }

    /// Answers requests until the task is dropped.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let router = Router::new()
            .route("/metrics", get(scrape))
            .route("/healthz", get(health))
            .layer(map_response(close))
            .with_state(self);
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let listener = Bounded { listener, slots, patience: PATIENCE };
        axum::serve(listener, router).await
    }
}

/// Binds the endpoint. Port 0 takes a free one.
///
/// # Errors
/// What the system says.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn scrape(State(admin): State<Arc<Admin>>) -> Response {
    match metrics::render(&admin.registry) {
        Ok(text) => page(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", String::new()),
    }
}

async fn health(State(admin): State<Arc<Admin>>) -> Response {
    let sources = &admin.sources;
    let phase = sources.health.phase();
    let code = match phase {
        Phase::Running => StatusCode::OK,
        Phase::Draining | Phase::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    let now = sources.clock.now().mono;
    let body = json!({
        "status": phase.label(),
        "allocations": live(&sources.stats),
        "drain_seconds_left": sources.health.drain_left(now).map(|left| left.as_secs()),
        "uptime_seconds": now.as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    page(code, "application/json", format!("{body}\n"))
}

fn page(code: StatusCode, content: &'static str, body: String) -> Response {
    let content = HeaderValue::from_static(content);
    (code, [(header::CONTENT_TYPE, content)], body).into_response()
}

/// One request for each connection.
async fn close(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// A listener whose connections are few and short.
struct Bounded {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    patience: Duration,
}

impl Listener for Bounded {
    type Io = Short;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Short, SocketAddr) {
        // unwrap: nobody closes the semaphore.
        let slot = Arc::clone(&self.slots).acquire_owned().await.expect("it is never closed");
        let (stream, client) = Listener::accept(&mut self.listener).await;
        (Short { stream, end: Box::pin(sleep(self.patience)), _slot: slot }, client)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with an end.
struct Short {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _slot: OwnedSemaphorePermit,
}

impl Short {
    /// Fails when the time is over, and has the task woken then.
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Short {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Short {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[tokio::test]
    async fn a_connection_that_asks_for_nothing_is_closed_and_makes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slots = Arc::new(Semaphore::new(1));
        let patience = Duration::from_millis(50);
        let listener = Bounded { listener, slots, patience };
        let router = Router::new().route("/", get(async || "here"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let clients = move || {
            let connect = || std::net::TcpStream::connect(address).unwrap();
            let (mut slow, mut next) = (connect(), connect());
            slow.write_all(b"GET / HTTP/1.1\r\nHost").unwrap();
            next.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            next.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("here"), "{answer}");
            assert_eq!(slow.read(&mut [0; 1]).unwrap_or(0), 0);
        };
        tokio::task::spawn_blocking(clients).await.unwrap();
    }
}
