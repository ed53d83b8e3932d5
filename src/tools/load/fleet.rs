//! All clients: their sockets, and what they ask of the server.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use super::errand::{Errand, Outcome, Plan, Trouble};
use super::handshakes::Handshakes;
use super::io::Io;
use super::link::{Link, Way};
use super::peer::{Peer, route_to};
use super::ports::Ports;
use crate::client::{Credentials, Event, Expiry, REQUEST_MAX, Request, Session, Timing, Transport};
use crate::net;

/// How often overdue requests are looked for, in nanoseconds.
const TICK: u64 = 20_000_000;
/// How many ports in a row may be somebody else's: another load has as many as it has clients.
const TRIES: usize = 1 << 16;
/// Causes that are told apart: a server may have a new phrase for each.
const CAUSES: usize = 100;

/// Where the server is and how it is talked to.
pub(super) struct Target {
    pub(super) server: SocketAddr,
    pub(super) way: Way,
    pub(super) credentials: Option<Arc<Credentials>>,
    pub(super) sha256: bool,
    pub(super) timing: Timing,
}

/// One client.
pub(super) struct Client {
    /// `None` when it is lost.
    pub(super) link: Option<Link>,
    pub(super) session: Session,
    errand: Option<(Errand, u64)>,
}

impl Client {
    /// Whether it has something to ask at the moment.
    pub(super) const fn is_on_errand(&self) -> bool {
        self.errand.is_some()
    }
}

/// What clients have lost that they had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Their way to the server.
    pub(super) links: u64,
    /// What they have asked in vain to be prolonged.
    pub(super) not_prolonged: u64,
}

/// All clients of a run, with what they share.
pub(super) struct Fleet {
    pub(super) io: Io,
    pub(super) clients: Vec<Client>,
    pub(super) peer: Peer,
    pub(super) plan: Plan,
    target: Target,
    source: IpAddr,
    ports: Ports,
    /// Streams that have something to write.
    dirty: Vec<u32>,
    busy: usize,
    next_tick: u64,
    retransmitted: u64,
    outcomes: Vec<Outcome>,
    losses: Losses,
    causes: BTreeMap<Trouble, u64>,
    /// Kept, so that it is not made anew for each socket that has something.
    events: Vec<Event>,
}

impl Fleet {
    /// A fleet without clients.
    ///
    /// # Errors
    /// The system lacks descriptors, or a way to the server.
    pub(super) fn new(target: Target, plan: Plan, peer: Peer, io: Io) -> io::Result<Self> {
        Ok(Self {
            io,
            clients: Vec::new(),
            peer,
            plan,
            source: route_to(target.server)?,
            ports: Ports::new(getrandom::u32().map_err(|_| io::Error::other("no random numbers"))?),
            target,
            dirty: Vec::new(),
            busy: 0,
            next_tick: 0,
            retransmitted: 0,
            outcomes: Vec::new(),
            losses: Losses::default(),
            causes: BTreeMap::new(),
            events: Vec::new(),
        })
    }

    /// A new client, by its number.
    ///
    /// # Errors
    /// There is no socket for it.
    pub(super) fn open(&mut self) -> io::Result<u32> {
        let number = self.clients.len() as u32;
        let link = self.link(number)?;
        let client = Client { link: Some(link), session: self.session(), errand: None };
        self.clients.push(client);
        Ok(number)
    }

    /// Gives a client a new socket, on which it is a stranger to the server.
    ///
    /// # Errors
    /// There is no socket for it.
    pub(super) fn reopen(&mut self, number: u32) -> io::Result<()> {
        // The old one may hold what is still to be sent.
        self.flush();
        self.clients[number as usize].link = None;
        let (link, session) = (self.link(number)?, self.session());
        let client = &mut self.clients[number as usize];
        (client.link, client.session) = (Some(link), session);
        Ok(())
    }

    fn link(&mut self, number: u32) -> io::Result<Link> {
        let Target { way, server, .. } = &self.target;
        let mut tries = 0;
        loop {
            let source = SocketAddr::new(self.source, self.ports.take());
            match Link::open(&self.io, way, source, *server, number.into()) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < TRIES => {
                    tries += 1
                }
                opened => return opened,
            }
        }
    }

    fn session(&self) -> Session {
        let Target { timing, sha256, .. } = self.target;
        let transport = if self.is_stream() { Transport::Tcp } else { Transport::Udp };
        Session::new(transport, self.target.credentials.clone(), timing).prefer_sha256(sha256)
    }

    /// TLS handshakes with the same server, so many a second.
    ///
    /// # Errors
    /// There is no TLS on this system.
    pub(super) fn handshakes(&self, rate: u32, start: u64) -> io::Result<Handshakes> {
        Handshakes::new(rate, self.source, self.target.server, start).map_err(io::Error::other)
    }

    /// Whether the clients' links are streams.
    pub(super) fn is_stream(&self) -> bool {
        self.target.way.is_stream()
    }

    /// How many clients are on an errand.
    pub(super) const fn busy(&self) -> usize {
        self.busy
    }

    /// Requests that were sent again because no answer came.
    pub(super) const fn retransmitted(&self) -> u64 {
        self.retransmitted
    }

    /// What has been lost so far.
    pub(super) const fn losses(&self) -> Losses {
        self.losses
    }

    /// What has failed, and how often.
    pub(super) const fn causes(&self) -> &BTreeMap<Trouble, u64> {
        &self.causes
    }

    /// Sends a client on an errand; its time counts from `started`.
    pub(super) fn begin(&mut self, number: u32, errand: Errand, started: u64) {
        let client = &mut self.clients[number as usize];
        if client.link.is_none() || client.errand.is_some() {
            return;
        }
        client.errand = Some((errand, started));
        self.busy += 1;
        self.go_on(number, None);
    }

    /// The errands that have ended since the last call.
    pub(super) fn take_outcomes(&mut self, into: &mut Vec<Outcome>) {
        into.clear();
        std::mem::swap(into, &mut self.outcomes);
    }

    /// Sends the first `len` bytes of a slot over a client's link; whether there was room for it.
    pub(super) fn send(&mut self, number: u32, slot: usize, len: usize) -> bool {
        self.via(number, |link, io| link.send(io, slot, len))
    }

    /// The same of a request, for which there is nearly always room.
    fn ask(&mut self, number: u32, slot: usize, len: usize) -> bool {
        self.via(number, |link, io| link.ask(io, slot, len))
    }

    fn via(&mut self, number: u32, send: impl FnOnce(&mut Link, &mut Io) -> bool) -> bool {
        let Some(link) = &mut self.clients[number as usize].link else {
            return false;
        };
        if link.is_stream() {
            self.dirty.push(number);
        }
        send(link, &mut self.io)
    }

    /// Sends the first `len` bytes of a slot from the built-in peer; whether there is one.
    pub(super) fn send_from_peer(&mut self, to: SocketAddr, slot: usize, len: usize) -> bool {
        let Some(socket) = self.peer.socket() else {
            return false;
        };
        self.io.send(socket, to, slot, 0..len);
        true
    }

    /// Hands over what has come to the built-in peer, and sends back what `sink` says yes to.
    ///
    /// # Errors
    /// None that a sound system makes.
    pub(super) fn at_peer(
        &mut self,
        event: net::Event,
        sink: &mut dyn FnMut(SocketAddr, &[u8]) -> bool,
    ) -> io::Result<()> {
        let Some(socket) = self.peer.socket() else {
            return Ok(());
        };
        if event.error() {
            // Whatever it was about is lost, and will be missed.
            self.io.icmp(socket.as_fd());
        }
        for place in self.io.receive(socket.as_fd())? {
            let Some(datagram) = self.io.datagram(place) else {
                continue;
            };
            let (from, slot) = (datagram.from, datagram.slot);
            for range in datagram.segments() {
                if sink(from, self.io.bytes(slot, range.clone())) {
                    self.io.send(socket, from, slot, range);
                }
            }
        }
        Ok(())
    }

    /// Sends all that waits.
    pub(super) fn flush(&mut self) {
        self.io.flush();
        for place in 0..self.dirty.len() {
            self.flush_stream(self.dirty[place]);
        }
        self.dirty.clear();
    }

    fn flush_stream(&mut self, number: u32) {
        if let Some(link) = &mut self.clients[number as usize].link
            && let Err(error) = link.flush(&self.io, number.into())
        {
            self.lose(number, &error);
        }
    }

    /// Does what an event of the poller says. `each` gets every message from the server, with the client's session,
    /// and tells what it means to that.
    pub(super) fn handle(
        &mut self,
        number: u32,
        event: net::Event,
        each: &mut dyn FnMut(&mut Session, &[u8]) -> Option<Event>,
    ) {
        let Some(client) = self.clients.get_mut(number as usize) else {
            return;
        };
        let Some(link) = &mut client.link else {
            return;
        };
        if event.error()
            && let Some(error) = link.failure(&self.io)
        {
            return self.lose(number, &error);
        }
        if event.writable() && link.is_stream() {
            self.dirty.push(number);
        }
        if !event.readable() {
            return;
        }
        let mut events = std::mem::take(&mut self.events);
        let session = &mut client.session;
        let received =
            link.receive(&mut self.io, &mut |packet| events.extend(each(session, packet)));
        if link.has_output() {
            self.dirty.push(number);
        }
        events.drain(..).for_each(|event| self.on_event(number, event));
        self.events = events;
        if let Err(error) = received {
            self.lose(number, &error);
        }
    }

    fn on_event(&mut self, number: u32, event: Event) {
        match event {
            Event::Ignored | Event::Data(_) => {}
            Event::Challenged => self.transmit(number, None),
            Event::Failed(failure) => self.finish(number, Err(Trouble::Request(failure))),
            Event::Done(request) => self.go_on(number, Some(request)),
        }
    }

    /// Begins the next request of the errand, or ends it.
    fn go_on(&mut self, number: u32, done: Option<Request>) {
        let client = &self.clients[number as usize];
        let Some((errand, _)) = client.errand else {
            return;
        };
        // Who gives an allocation back needs no peer, and may do so because there is none.
        if errand != Errand::TearDown
            && self.plan.peer.is_none()
            && let Some(relayed) = client.session.relayed()
        {
            match self.peer.address(&self.io, relayed) {
                Ok(address) => self.plan.peer = Some(address),
                Err(error) => {
                    let trouble = Trouble::Link(format!("no peer for {relayed}: {error}"));
                    return self.finish(number, Err(trouble));
                }
            }
        }
        match errand.next(done, &self.plan) {
            Some(request) => self.transmit(number, Some(request)),
            None => self.finish(number, Ok(())),
        }
    }

    /// Sends a request, or a challenged one again.
    fn transmit(&mut self, number: u32, request: Option<Request>) {
        let (now, id, slot) = (self.io.mono(), self.io.id(), self.io.slot());
        let session = &mut self.clients[number as usize].session;
        let out = &mut self.io.out(slot)[..REQUEST_MAX];
        let written = match request {
            Some(request) => session.begin(now, id, request, out),
            None => session.repeat(now, id, out),
        };
        match written {
            Ok(length) if self.ask(number, slot, length) => {}
            // On a stream nothing is ever sent again.
            Ok(_) => self.finish(number, Err(Trouble::Link("no room for a request".to_owned()))),
            Err(error) => self.finish(number, Err(Trouble::Link(error.to_string()))),
        }
    }

    /// Retransmits and gives up what is overdue.
    pub(super) fn expire(&mut self) {
        if self.busy == 0 {
            return;
        }
        let nanos = self.io.nanos();
        if nanos < self.next_tick {
            return;
        }
        self.next_tick = nanos + TICK;
        let now = self.io.mono();
        for number in 0..self.clients.len() as u32 {
            let Client { session, errand, .. } = &mut self.clients[number as usize];
            // Whose link is lost keeps a request for which nobody waits any more.
            if errand.is_none() || session.deadline().is_none_or(|deadline| deadline > now) {
                continue;
            }
            let slot = self.io.slot();
            match session.expire(now, &mut self.io.out(slot)[..REQUEST_MAX]) {
                Expiry::Nothing => {}
                Expiry::Send(length) => {
                    self.retransmitted += 1;
                    self.ask(number, slot, length);
                }
                Expiry::Failed(failure) => self.finish(number, Err(Trouble::Request(failure))),
            }
        }
    }

    /// A client's socket is of no use any more.
    fn lose(&mut self, number: u32, error: &io::Error) {
        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
        let words = match (refused, self.is_stream()) {
            (true, _) => {
                format!("nothing listens on {} ({})", self.target.server, self.target.way.label())
            }
            (false, true) if error.kind() == io::ErrorKind::UnexpectedEof => {
                "the server has closed the connection".to_owned()
            }
            _ => error.to_string(),
        };
        // It may hold what is still to be sent by its number.
        self.io.flush();
        self.clients[number as usize].link = None;
        self.losses.links += 1;
        self.finish(number, Err(Trouble::Link(words)));
    }

    fn finish(&mut self, number: u32, result: Result<(), Trouble>) {
        let client = &mut self.clients[number as usize];
        let (errand, lost) = (client.errand.take(), client.link.is_none());
        if errand.is_some() {
            self.busy -= 1;
        }
        if let Err(trouble) = &result {
            let known = self.causes.contains_key(trouble) || self.causes.len() < CAUSES;
            let cause = if known { trouble.clone() } else { Trouble::Link("others".to_owned()) };
            *self.causes.entry(cause).or_default() += 1;
        }
        match errand {
            // It goes on beside the load, and nobody waits for it. Who is lost is counted as that already.
            Some((Errand::KeepUp, _)) => {
                self.losses.not_prolonged += u64::from(result.is_err() && !lost);
            }
            Some((errand, started)) => {
                let ended = self.io.nanos();
                self.outcomes.push(Outcome { client: number, errand, started, ended, result });
            }
            None => {}
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::super::interrupt::Interrupt;
    use super::super::options::Mode;
    use super::*;

    /// Longer than a busy system makes a server's answer wait.
    pub(in super::super) const fn patient() -> Timing {
        Timing { rto: Duration::from_secs(10), requests: 2, last: 1 }
    }

    /// A fleet that is known to a server without credentials and learns its peer from that.
    pub(in super::super) fn fleet(server: SocketAddr, timing: Timing) -> Fleet {
        let target = Target { server, way: Way::Udp, credentials: None, sha256: false, timing };
        let plan = Plan { mode: Mode::Channel, family: None, peer: None };
        let io = Io::new(false, Interrupt::default()).unwrap();
        Fleet::new(target, plan, Peer::new(None), io).unwrap()
    }

    /// Two prolong what they have, of a server that says nothing; one of them loses its way to it meanwhile.
    #[test]
    fn a_loss_is_one_loss() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let timing = Timing { rto: Duration::from_millis(30), requests: 2, last: 1 };
        let mut fleet = fleet(silent.local_addr().unwrap(), timing);
        for number in 0..2 {
            assert_eq!(fleet.open().unwrap(), number);
            fleet.begin(number, Errand::KeepUp, 0);
        }
        fleet.lose(0, &io::ErrorKind::ConnectionRefused.into());
        let mut events = Io::events();
        while fleet.busy() > 0 {
            fleet.flush();
            fleet.io.wait(&mut events, Duration::from_millis(5)).unwrap();
            fleet.expire();
        }
        assert_eq!(fleet.losses(), Losses { links: 1, not_prolonged: 1 });
        assert_eq!(fleet.causes().values().copied().collect::<Vec<_>>(), [1, 1]);
        assert_eq!(fleet.retransmitted(), 1);
    }
}
