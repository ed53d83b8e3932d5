//! The doors of the web: who is let in, how many at a time, and for how long.
//!
//! A stranger's connection costs little and has an end: an address has its share of the connections, a request's head
//! and the whole connection have their time, and only a WebSocket, which has bounds of its own, goes on after it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::serve::Listener as _;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::timeout;

use crate::control::listen::{Bounded, Short};
use crate::turn::Prefix;
use crate::web::{Client, Door, Refused, Web, network};
use crate::worker::proxy;

/// Connections open at a time, on each listener; others wait in the system's queue.
const CONNECTIONS: usize = 512;
/// Those of them that one address may have (of IPv6: a /64): a browser has six, and an office many browsers.
const SHARE: usize = 64;
/// How long a connection may last on which nothing is sent.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one may last at all that does not become a WebSocket.
const AGE: Duration = Duration::from_secs(120);
/// How long the head of a request may take, from the end of the answer before it.
const HEAD: Duration = Duration::from_secs(30);
/// What is kept of a request that is not whole, in bytes: its head has to fit.
const BUFFER: usize = 32 << 10;
/// How long a worker may take to say whose connection it passes on.
const HEADER: Duration = Duration::from_secs(2);
const BACKLOG: i32 = 512;
/// The fixed part of a header of version 2.
const FIXED: usize = 16;

/// Proxies whose word about their clients is taken, as they are by now.
pub(super) type Proxies = Arc<ArcSwap<Vec<Prefix>>>;

/// What every connection is served with.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) app: Router,
    pub(super) web: Arc<Web>,
    pub(super) shares: Shares,
    pub(super) age: Duration,
}

impl Service {
    pub(super) fn new(app: Router, web: Arc<Web>) -> Self {
        Self { app, web, shares: Shares::default(), age: AGE }
    }

    /// Serves what the workers pass on, until the runtime ends.
    pub(super) async fn inside(self, listener: UnixListener) {
        let mut listener = Bounded::new(listener, CONNECTIONS, PATIENCE).renewed();
        loop {
            let (mut stream, _) = listener.accept().await;
            let service = self.clone();
            // Each is read by itself: one worker that lags holds nobody up.
            tokio::spawn(async move {
                if is_ours(stream.inner())
                    && let Some(address) = passed_on(&mut stream).await
                {
                    service.serve(stream, Client { address, door: Door::Shared }).await;
                }
            });
        }
    }

    /// Serves a listener for HTTP alone, until the runtime ends.
    pub(super) async fn own(self, listener: TcpListener, proxies: Proxies) {
        let mut listener = Bounded::new(listener, CONNECTIONS, PATIENCE).renewed();
        loop {
            let (stream, address) = listener.accept().await;
            let ip = address.ip().to_canonical();
            let proxy = proxies.load().iter().any(|proxy| proxy.contains(ip));
            let client = Client { address, door: if proxy { Door::Proxy } else { Door::Own } };
            tokio::spawn(self.clone().serve(stream, client));
        }
    }

    async fn serve<S>(self, mut stream: Short<S>, client: Client)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // A proxy's connections are those of many.
        if client.door != Door::Proxy {
            let Some(share) = self.shares.take(client.address.ip()) else {
                self.web.stats().refuse(Refused::AddressConnections);
                return;
            };
            stream.hold(share);
        }
        let app = TowerToHyperService::new(self.app);
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(ConnectInfo(client));
            let answer = app.call(request);
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // What becomes a WebSocket is done here, and has its own end. Of the others nobody need hear how they ended.
        let _ = timeout(self.age, connection).await;
    }
}

/// How many connections each address has.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of an address, for as long as it stands.
#[derive(Debug)]
pub(super) struct Share {
    all: Shares,
    of: IpAddr,
}

impl Shares {
    /// Nothing when it has as many as may be.
    fn take(&self, ip: IpAddr) -> Option<Share> {
        let of = network(ip);
        // As many entries as connections at most, which are bounded.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(of).or_default();
        if *count >= SHARE {
            return None;
        }
        *count += 1;
        Some(Share { all: self.clone(), of })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = all.entry(self.of) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Whether this process is at its other end: whoever else finds the name of the socket could name any client, or say
/// nothing and hold others up.
fn is_ours(stream: &UnixStream) -> bool {
    let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
    peer.is_some() && peer == i32::try_from(std::process::id()).ok()
}

/// Whose connection it is; nothing when the client has gone.
async fn passed_on(stream: &mut (impl AsyncRead + Unpin)) -> Option<SocketAddr> {
    let mut header = vec![0; FIXED];
    timeout(HEADER, stream.read_exact(&mut header)).await.ok()?.ok()?;
    let length = u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]);
    header.resize(FIXED + usize::from(length), 0);
    timeout(HEADER, stream.read_exact(&mut header[FIXED..])).await.ok()?.ok()?;
    Some(proxy::parse(&header).ok()??.addresses?.client)
}

/// Listens at this name, of the abstract namespace when it begins with a zero (unix(7)).
///
/// # Errors
/// What the system says.
pub(super) fn listen(name: &str) -> io::Result<std::os::unix::net::UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(name)?)?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
