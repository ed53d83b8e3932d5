//! A listener of HTTP whose connections are few and short, over TCP or a Unix socket: the admin endpoint's and the web's.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Binds one over TCP. Port 0 takes a free one.
///
/// # Errors
/// What the system says.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Lets few connections in at a time, and none for long. Others wait in the system's queue.
pub(super) struct Bounded<L> {
    listener: L,
    slots: Arc<Semaphore>,
    patience: Duration,
    renewed: bool,
}

impl<L> Bounded<L> {
    /// At most `connections` at a time, each of which ends after `patience`.
    pub(super) fn new(listener: L, connections: usize, patience: Duration) -> Self {
        Self { listener, slots: Arc::new(Semaphore::new(connections)), patience, renewed: false }
    }

    /// The time of a connection begins anew with all that is sent on it: answers may go on for as long as they have
    /// something to say.
    pub(super) fn renewed(self) -> Self {
        Self { renewed: true, ..self }
    }
}

impl<L: Listener<Io: Unpin>> Listener for Bounded<L> {
    type Io = Short<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, L::Addr) {
        // unwrap: nobody closes the semaphore.
        let slot = Arc::clone(&self.slots).acquire_owned().await.expect("it is never closed");
        let (stream, client) = Listener::accept(&mut self.listener).await;
        let end = Box::pin(sleep(self.patience));
        let renewed = self.renewed.then_some(self.patience);
        (Short { stream, end, renewed, _slot: slot, held: None }, client)
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.local_addr()
    }
}

/// A connection with an end.
pub(super) struct Short<S> {
    stream: S,
    end: Pin<Box<Sleep>>,
    /// How long it may last after it has sent something.
    renewed: Option<Duration>,
    _slot: OwnedSemaphorePermit,
    held: Option<Box<dyn Send>>,
}

impl<S> Short<S> {
    /// The connection itself.
    pub(super) const fn inner(&self) -> &S {
        &self.stream
    }

    /// Keeps this until the connection ends.
    pub(super) fn hold(&mut self, held: impl Send + 'static) {
        self.held = Some(Box::new(held));
    }

    /// Fails when the time is over, and has the task woken then.
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Short<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Short<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let (Poll::Ready(Ok(_)), Some(patience)) = (&written, self.renewed) {
            self.end.as_mut().reset(Instant::now() + patience);
        }
        written
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
    use axum::Router;
    use axum::routing::get;
    use std::io::{Read, Write};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_connection_that_asks_for_nothing_is_closed_and_makes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Bounded::new(listener, 1, Duration::from_millis(50));
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
