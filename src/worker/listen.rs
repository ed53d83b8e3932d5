//! Listeners that come and go while a worker works.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Token};
use super::listening::Departure;
use super::mailbox::Mailbox;
use super::orders::SocketOrder;
use super::sockets::Listeners;
use super::stream::Acceptor;
use super::udp::{Listener, Serves};
use crate::net::{Interest, UdpOptions, set_buffers};
use crate::time::Now;
use crate::turn::{FiveTuple, Transport};

/// How often it is looked whether a listener that is to end has clients still.
const LOOK: Duration = Duration::from_millis(500);
/// Rounds of accepting what waits at a listener of streams before it is closed: as many as its queue holds.
const LAST_ACCEPTS: usize = 16;

/// What has to happen before a listener is closed.
pub(super) struct Leaving {
    departure: Arc<Departure>,
    /// No allocation in a lower slot has its client there.
    seen: usize,
    /// No client is left at this worker.
    done: bool,
}

impl Engine {
    /// Serves new sockets. One that cannot be served is closed, so that the kernel gives its clients to another
    /// worker's.
    ///
    /// # Errors
    /// The system's limit of watches is reached; all the others are served.
    pub(super) fn open_listeners(&mut self, sockets: Listeners) -> io::Result<()> {
        let plain = self.plain_udp();
        let mut outcome = Ok(());
        let udp = sockets.udp.into_iter().map(|(name, socket)| (name, socket, plain));
        let own = sockets.dtls.into_iter().map(|(name, socket)| (name, socket, Serves::Dtls));
        for (name, socket, serves) in udp.chain(own) {
            outcome = outcome.and(self.open_udp(name, socket, serves));
        }
        let plain = sockets.tcp.into_iter().map(|(name, socket)| (name, socket, false));
        let tls = sockets.tls.into_iter().map(|(name, socket)| (name, socket, true));
        for (name, socket, tls_only) in plain.chain(tls) {
            let place = self.acceptors.vacant_entry();
            let token = Token::Acceptor(place.key() as u32).pack();
            let watched = self.poller.add(socket.as_fd(), token, Interest::Read);
            if watched.is_ok() {
                place.insert(Acceptor { name, socket, tls_only });
            }
            outcome = outcome.and(watched);
        }
        outcome
    }

    fn open_udp(&mut self, name: u32, socket: UdpSocket, serves: Serves) -> io::Result<()> {
        let classes = self.passed_class != 0;
        let mut listener = Listener::new(name, socket, self.relays.trains, serves, classes)?;
        listener.takes_dtls = self.takes_dtls || serves == Serves::Dtls;
        let place = self.listeners.vacant_entry();
        let token = Token::Udp(place.key() as u32).pack();
        self.poller.add(listener.socket.as_fd(), token, Interest::Read)?;
        place.insert(listener);
        Ok(())
    }

    /// What is spoken on a UDP listener that is not for DTLS alone.
    fn plain_udp(&self) -> Serves {
        if self.takes_dtls { Serves::PlainAndDtls } else { Serves::Plain }
    }

    /// Goes by another list of listeners.
    pub(super) fn change_listeners(&mut self, order: &SocketOrder) {
        for listener in order.back.iter() {
            for (_, it) in self.listeners.iter_mut().filter(|(_, it)| it.name == *listener) {
                it.leaving = None;
            }
        }
        if let Err(error) = self.open_listeners(order.take(self.number)) {
            order.complain(self.number, error);
        }
        for (name, departure) in &order.gone {
            self.part_with(*name, departure);
        }
    }

    /// Whether DTLS is begun on the UDP listeners that serve it beside the rest.
    pub(super) fn take_dtls(&mut self, takes: bool) {
        // Who has served DTLS once has what it takes for good, and may have no certificate any more.
        let has_certificate = self.has_certificate && self.dtls.is_some();
        self.takes_dtls = takes && has_certificate;
        let takes = self.takes_dtls;
        for (_, listener) in &mut self.listeners {
            if listener.serves == Serves::Dtls {
                listener.takes_dtls = has_certificate;
            } else {
                // Who has an association keeps it.
                listener.takes_dtls = takes;
                if takes {
                    listener.serves = Serves::PlainAndDtls;
                }
            }
        }
    }

    /// Gives every listener other buffers, as far as the system lets it.
    pub(super) fn set_listener_buffers(&self, bytes: usize) {
        let options = UdpOptions { receive_buffer: bytes, send_buffer: bytes };
        for (_, listener) in &self.listeners {
            // What it refuses leaves the socket as it is.
            let _ = set_buffers(listener.socket.as_fd(), &options);
        }
    }

    /// Has every listener tell the traffic class, if any of it is kept.
    pub(super) fn tell_classes(&self) {
        for (_, listener) in self.listeners.iter().filter(|_| self.passed_class != 0) {
            listener.tell_class();
        }
    }

    /// Lets nobody in any more at a listener.
    fn part_with(&mut self, name: u32, departure: &Arc<Departure>) {
        let acceptors = self.acceptors.iter().filter(|(_, it)| it.name == name);
        for index in acceptors.map(|(index, _)| index).collect::<Vec<_>>() {
            for _ in 0..LAST_ACCEPTS {
                self.on_acceptor(index);
            }
            self.acceptors.remove(index);
        }
        let mut leaves = false;
        for (_, listener) in self.listeners.iter_mut().filter(|(_, it)| it.name == name) {
            let departure = Arc::clone(departure);
            listener.leaving = Some(Leaving { departure, seen: 0, done: false });
            leaves = true;
        }
        if leaves {
            self.look_again = Some(self.now.mono);
        }
    }

    /// Closes the listeners at which no client of any worker is left.
    pub(super) fn finish_listeners(&mut self, now: Now) {
        if self.look_again.is_none_or(|at| now.mono < at) {
            return;
        }
        let leaving = self.listeners.iter().filter(|(_, it)| it.leaving.is_some());
        let mut left = false;
        for index in leaving.map(|(index, _)| index).collect::<Vec<_>>() {
            let used = self.next_client(index);
            // unwrap: it is one of those that leave.
            let leaving = self.listeners[index].leaving.as_mut().expect("it leaves");
            leaving.seen = used.unwrap_or(leaving.seen);
            if used.is_none() && !leaving.done {
                leaving.done = true;
                leaving.departure.leave();
                if leaving.departure.is_over() {
                    // The others have been done before.
                    self.shared.mailboxes.iter().for_each(Mailbox::wake);
                }
            }
            if leaving.departure.is_over() {
                self.close_listener(index, now);
            } else {
                left = true;
            }
        }
        self.look_again = left.then(|| now.mono + LOOK);
    }

    /// Where a client of a listener was found, to go on from there.
    fn next_client(&self, index: usize) -> Option<usize> {
        let listener = &self.listeners[index];
        let leaving = listener.leaving.as_ref()?;
        let socket = listener.socket.as_raw_fd();
        if self.dtls.as_ref().is_some_and(|dtls| dtls.has_calls_on(socket)) {
            return Some(leaving.seen);
        }
        let leg = index as u32;
        self.server.client_on(leg, leaving.seen).or_else(|| self.server.client_on(leg, 0))
    }

    fn close_listener(&mut self, index: usize, now: Now) {
        self.end_dtls_on(self.listeners[index].socket.as_raw_fd());
        self.effects(now);
        // The batch knows the socket by its number.
        self.outbox.flush(&self.stats);
        let listener = self.listeners.remove(index);
        if let Some(leaving) = listener.leaving {
            drop(listener.socket);
            leaving.departure.close();
        }
    }

    /// Whether a listener that lets nobody new in knows the client.
    pub(super) fn is_known(&self, tuple: &FiveTuple) -> bool {
        self.server.has_allocation(self.now, tuple) || self.has_association(tuple)
    }

    /// Whether a client of UDP has an association of DTLS.
    pub(super) fn has_association(&self, tuple: &FiveTuple) -> bool {
        let tuple = FiveTuple { transport: Transport::Dtls, ..*tuple };
        self.dtls.as_ref().is_some_and(|it| it.knows(&tuple))
    }
}
