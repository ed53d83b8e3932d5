//! One connection to whoever a URL names: TCP, TLS on it, or a Unix socket, within a time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Error;
use super::url::{Origin, Url};
use crate::tls;

/// A connection with whoever is spoken to.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// Makes a connection within this time.
pub(super) async fn connect(
    url: &Url,
    tls: Option<&tls::Client>,
    within: Duration,
) -> Result<Stream, Error> {
    let end = Instant::now() + within;
    let late = |_| Error::ConnectTimeout(url.to_string(), within);
    let (host, port) = match &url.origin {
        Origin::Unix(path) => {
            let connected = timeout_at(end, UnixStream::connect(path)).await.map_err(late)?;
            let failed = |error| Error::Connect(path.display().to_string(), error);
            return connected.map(Stream::Unix).map_err(failed);
        }
        Origin::Tcp { host, port, .. } => (host, *port),
    };
    let found = timeout_at(end, tokio::net::lookup_host((&**host, port))).await.map_err(late)?;
    let addresses: Vec<_> = found.map_err(|error| Error::Resolve(host.clone(), error))?.collect();
    let stream = first_of(host, &addresses, end, within).await?;
    // A request is one write: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return Ok(Stream::Tcp(stream));
    };
    let connector = TlsConnector::from(Arc::clone(tls.config()));
    let shaken = timeout_at(end, connector.connect(tls.name().clone(), stream)).await;
    let secured = shaken.map_err(late)?.map_err(|error| dislike(url, error))?;
    Ok(Stream::Tls(Box::new(secured)))
}

/// The first address that takes a connection. One that is silent costs its share of the time only.
async fn first_of(
    host: &str,
    addresses: &[SocketAddr],
    end: Instant,
    within: Duration,
) -> Result<TcpStream, Error> {
    let nowhere = io::Error::from(io::ErrorKind::NotFound);
    let mut failure = Error::Resolve(host.to_owned(), nowhere);
    for (place, &address) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - place).unwrap_or(u32::MAX);
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = Error::Connect(address.to_string(), error),
            Err(_) => failure = Error::ConnectTimeout(address.to_string(), within),
        }
    }
    Err(failure)
}

fn dislike(url: &Url, error: io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(inner) => Error::Tls(tls::Dislike::from(inner.clone())),
        None if error.kind() == io::ErrorKind::UnexpectedEof => Error::Closed,
        None => Error::Connect(url.to_string(), error),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
