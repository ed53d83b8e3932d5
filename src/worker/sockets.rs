//! Binding listeners before anybody serves them: at the start, and beside what is listened on at a reload. Serving and
//! closing them is `listen`'s.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use super::listening::{Corners, Departure, Entry, Hold, Kind};
use super::{Alternate, Listening, Settings};
use crate::net::{Transport, UdpOptions, port_is_free, tcp_listener, udp_listener};

/// Connections that may wait to be accepted, on each listener of each worker.
const BACKLOG: u16 = 1024;
/// Tries to find a port that is free for UDP and TCP, when any port will do.
const ATTEMPTS: usize = 32;

/// Listener sockets, bound and not yet served.
pub struct Sockets {
    /// The new ones.
    pub(super) workers: Vec<Listeners>,
    /// What is listened on with these.
    listening: Listening,
    /// Listeners that are to let nobody in any more, by their names.
    pub(super) gone: Vec<(u32, Arc<Departure>)>,
    /// Those of them that are to do so again.
    pub(super) back: Vec<u32>,
    pub(super) holds: Vec<Hold>,
    options: UdpOptions,
}

/// New listener sockets of one worker, with the names of the listeners.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) udp: Vec<(u32, UdpSocket)>,
    pub(super) tcp: Vec<(u32, TcpListener)>,
    /// For TLS alone.
    pub(super) tls: Vec<(u32, TcpListener)>,
    /// For DTLS alone.
    pub(super) dtls: Vec<(u32, UdpSocket)>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({transport}): {source}{}", hint(.source))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// `UDP`, `TCP`, `TLS` or `DTLS`.
    pub transport: &'static str,
    /// What the system says.
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "; another program has this port (a second turnwire, coturn?): stop it, or choose \
             another port with --listen"
        }
        ErrorKind::PermissionDenied => {
            "; ports below 1024 need the capability CAP_NET_BIND_SERVICE (systemd: \
             AmbientCapabilities=CAP_NET_BIND_SERVICE), or, for a server that has become process.user \
             since, a restart"
        }
        ErrorKind::AddrNotAvailable => {
            "; this host has no such address: `ip address` lists those that it has, and what a NAT makes \
             of one goes to --external-ip"
        }
        _ => "",
    }
}

impl Sockets {
    /// Binds UDP and TCP, or UDP for DTLS alone, on every address for every worker.
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    pub fn bind(settings: &Settings) -> Result<Self, BindError> {
        Self::rebind(&Listening::default(), settings, false)
    }

    /// Binds what is not listened on yet, which may take a moment if it was until just now. What is listened on already
    /// stays open, and nothing of it has changed before the workers have taken this. With live `calls`, nothing is
    /// bound that would take their packets from them.
    ///
    /// # Errors
    /// The first address that cannot be listened on; what was bound is closed again.
    pub fn rebind(before: &Listening, settings: &Settings, calls: bool) -> Result<Self, BindError> {
        let buffer = settings.listener_buffer;
        let options = UdpOptions { receive_buffer: buffer, send_buffer: buffer };
        let workers = (0..settings.threads()).map(|_| Listeners::default()).collect();
        let listening = Listening { next: before.next, ..Listening::default() };
        let (gone, back, holds) = Default::default();
        let mut sockets = Self { workers, listening, gone, back, holds, options };
        before.leaving.iter().for_each(|(_, departure)| departure.settle());
        let mut known = Known { before, calls, unclaimed: before.open.clone() };
        known.look(settings)?;
        for (place, address) in settings.listeners.iter().enumerate() {
            if sockets.keep(&mut known, Kind::Plain, *address)? {
                continue;
            }
            // A free port has to be one on the second address as well.
            let beside = settings.alternates.iter().find(|it| it.listener == place);
            let beside = beside.map(|it| it.second).filter(|_| !address.ip().is_unspecified());
            sockets.listen(*address, |port| {
                beside.is_none_or(|second| fits(SocketAddr::new(second.ip(), port), second.port()))
            })?;
        }
        for alternate in &settings.alternates {
            sockets.bind_alternate(&mut known, alternate)?;
        }
        for (kind, all) in
            [(Kind::Tls, &settings.tls_listeners), (Kind::Dtls, &settings.dtls_listeners)]
        {
            for address in all {
                if !sockets.keep(&mut known, kind, *address)? {
                    sockets.listen_sealed(&known, kind, *address)?;
                }
            }
        }
        sockets.keep_covered(&mut known)?;
        sockets.part(known);
        Ok(sockets)
    }

    /// What is listened on when these are served.
    pub const fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Whether the workers have nothing to do with it.
    pub fn is_idle(&self) -> bool {
        let none = |it: &Listeners| {
            it.udp.is_empty() && it.tcp.is_empty() && it.tls.is_empty() && it.dtls.is_empty()
        };
        self.gone.is_empty() && self.back.is_empty() && self.workers.iter().all(none)
    }

    /// Goes on with a listener of before; false when there is none.
    fn keep(
        &mut self,
        known: &mut Known<'_>,
        kind: Kind,
        asked: SocketAddr,
    ) -> Result<bool, BindError> {
        if let Some(entry) = known.claim(kind, asked) {
            self.listening.open.push(Entry { asked, ..entry });
            return Ok(true);
        }
        let Some((entry, hold)) = known.recall(kind, asked) else {
            return Ok(false);
        };
        if kind == Kind::Plain {
            // The TCP side has been closed.
            for worker in &mut self.workers {
                let tcp = tcp_listener(entry.bound, BACKLOG);
                let fail = |source| BindError { address: asked, transport: "TCP", source };
                worker.tcp.push((entry.name, tcp.map_err(fail)?));
            }
        }
        self.back.push(entry.name);
        self.holds.push(hold);
        self.listening.open.push(Entry { asked, ..entry });
        Ok(true)
    }

    /// Goes on with the listeners that have an address of their own beneath one for every address: the kernel gives
    /// them all that comes to it, so that nobody else could serve who is new there.
    fn keep_covered(&mut self, known: &mut Known<'_>) -> Result<(), BindError> {
        let leaving = known.before.leaving.iter();
        let leaving = leaving.filter(|(_, departure)| departure.is_open()).map(|(entry, _)| entry);
        let mut covered: Vec<_> = known.unclaimed.iter().chain(leaving).copied().collect();
        covered.retain(|entry| !self.back.contains(&entry.name) && self.is_covered(entry));
        for Entry { kind, bound, .. } in covered {
            self.keep(known, kind, bound)?;
        }
        Ok(())
    }

    /// Whether another listener is for every address with the port of a UDP one.
    fn is_covered(&self, entry: &Entry) -> bool {
        entry.kind != Kind::Tls
            && self.listening.open.iter().any(|it| {
                it.kind == entry.kind
                    && it.name != entry.name
                    && it.bound.ip().is_unspecified()
                    && overlap(it.bound, entry.bound)
            })
    }

    /// Says farewell to what was listened on and is not any more.
    fn part(&mut self, known: Known<'_>) {
        let workers = self.workers.len();
        let still =
            known.before.leaving.iter().filter(|(entry, departure)| {
                departure.is_open() && !self.back.contains(&entry.name)
            });
        self.listening.leaving = still.cloned().collect();
        for entry in known.unclaimed {
            let departure = Departure::new(workers);
            self.gone.push((entry.name, Arc::clone(&departure)));
            if entry.kind != Kind::Tls {
                self.listening.leaving.push((entry, departure));
            }
        }
    }

    /// Binds what of the four addresses is not bound yet.
    fn bind_alternate(
        &mut self,
        known: &mut Known<'_>,
        alternate: &Alternate,
    ) -> Result<(), BindError> {
        let Alternate { listener, first, second: asked } = *alternate;
        let Entry { name, bound, .. } = self.listening.open[listener];
        let first = SocketAddr::new(first, bound.port());
        let mut before = known.before.corners.iter();
        let second = match before.find(|corners| corners.is_of(name, alternate)) {
            Some(corners) => self.listen_besides(known, corners.bound.1, |_| true)?,
            None => {
                let other = |port| fits(SocketAddr::new(first.ip(), port), first.port());
                self.listen_besides(known, asked, other)?
            }
        };
        let corners = [
            first,
            SocketAddr::new(first.ip(), second.port()),
            SocketAddr::new(second.ip(), first.port()),
        ];
        for corner in corners {
            self.listen_besides(known, corner, |_| true)?;
        }
        let bound = (first, second);
        let corners = Corners { listener: name, first: first.ip(), second: asked, bound };
        self.listening.corners.push(corners);
        Ok(())
    }

    fn listen_besides(
        &mut self,
        known: &mut Known<'_>,
        address: SocketAddr,
        fits: impl Fn(u16) -> bool,
    ) -> Result<SocketAddr, BindError> {
        if self.listening.addresses().contains(&address)
            || self.keep(known, Kind::Plain, address)?
        {
            return Ok(address);
        }
        self.listen(address, fits)
    }

    /// Binds the address for all workers; a free port is one that `fits`.
    fn listen(
        &mut self,
        address: SocketAddr,
        fits: impl Fn(u16) -> bool,
    ) -> Result<SocketAddr, BindError> {
        let (mut bound, name) = (address, self.listening.next);
        for worker in &mut self.workers {
            let (udp, tcp) = if bound.port() == 0 {
                bind_any(bound, &self.options, &fits)?
            } else {
                bind_both(bound, &self.options)?
            };
            bound = udp.local_addr().map_err(|source| BindError {
                address,
                transport: "UDP",
                source,
            })?;
            worker.udp.push((name, udp));
            worker.tcp.push((name, tcp));
        }
        self.note(Kind::Plain, address, bound);
        Ok(bound)
    }

    /// Binds the address for TLS or DTLS on all workers.
    fn listen_sealed(
        &mut self,
        known: &Known<'_>,
        kind: Kind,
        address: SocketAddr,
    ) -> Result<(), BindError> {
        let (label, transport) = match kind {
            Kind::Dtls => ("DTLS", Transport::Udp),
            Kind::Tls | Kind::Plain => ("TLS", Transport::Tcp),
        };
        let fail = |source| BindError { address, transport: label, source };
        if !known.has(address) {
            port_is_free(address, transport).map_err(fail)?;
        }
        let (mut bound, name) = (address, self.listening.next);
        for worker in &mut self.workers {
            if transport == Transport::Udp {
                let socket = udp_listener(bound, &self.options).map_err(fail)?;
                bound = socket.local_addr().map_err(fail)?;
                worker.dtls.push((name, socket));
            } else {
                let socket = tcp_listener(bound, BACKLOG).map_err(fail)?;
                bound = socket.local_addr().map_err(fail)?;
                worker.tls.push((name, socket));
            }
        }
        self.note(kind, address, bound);
        Ok(())
    }

    fn note(&mut self, kind: Kind, asked: SocketAddr, bound: SocketAddr) {
        let name = self.listening.next;
        self.listening.next = name.wrapping_add(1);
        self.listening.open.push(Entry { name, kind, asked, bound });
    }
}

/// What is listened on before a change.
struct Known<'a> {
    before: &'a Listening,
    /// Whether somebody may be served there.
    calls: bool,
    /// What of it nobody has wanted yet.
    unclaimed: Vec<Entry>,
}

impl Known<'_> {
    /// Whether somebody else has an address that is wanted. SO_REUSEPORT would let a second server share the port in
    /// silence, so it is looked at before the first is bound; and so is what this server speaks there itself.
    fn look(&self, settings: &Settings) -> Result<(), BindError> {
        let look = |address: SocketAddr| {
            self.is_of_kind(Kind::Plain, address)?;
            self.takes_nothing(Kind::Plain, address)?;
            if self.has(address) { Ok(()) } else { is_free(address) }
        };
        settings.listeners.iter().try_for_each(|address| look(*address))?;
        for Alternate { listener, first, second } in &settings.alternates {
            let asked = settings.listeners[*listener];
            let mut open = self.before.open.iter();
            let known = open.find(|it| it.kind == Kind::Plain && it.asked == asked);
            let port = known.map_or(asked, |it| it.bound).port();
            look(SocketAddr::new(*first, port))?;
            look(*second)?;
            look(SocketAddr::new(*first, second.port()))?;
            look(SocketAddr::new(second.ip(), port))?;
        }
        settings.dtls_listeners.iter().try_for_each(|it| {
            self.is_of_kind(Kind::Dtls, *it)?;
            self.takes_nothing(Kind::Dtls, *it)
        })
    }

    /// Whether the packets of live calls would come to a new UDP socket: the kernel gives one for an address of its own
    /// all that comes to it, also what belongs to calls at one for every address.
    fn takes_nothing(&self, kind: Kind, address: SocketAddr) -> Result<(), BindError> {
        let mut all = self.serving();
        if !self.calls || self.serving().any(|it| it.kind == kind && it.bound == address) {
            return Ok(());
        }
        let above = |it: &&Entry| it.bound.ip().is_unspecified() && overlap(it.bound, address);
        let Some(above) = all.find(above) else {
            return Ok(());
        };
        let source = io::Error::other(format!(
            "this server serves calls at {} still, whose packets would come here: wait until they have ended, use \
             another port, or restart",
            above.bound,
        ));
        Err(BindError { address, transport: label(kind), source })
    }

    /// UDP sockets of now that may have clients.
    fn serving(&self) -> impl Iterator<Item = &Entry> {
        let leaving = self.before.leaving.iter().filter(|(_, departure)| departure.is_open());
        let all = self.before.open.iter().chain(leaving.map(|(entry, _)| entry));
        all.filter(|entry| entry.kind != Kind::Tls)
    }

    /// Whether sockets of this server have the address, or every one with its port.
    fn has(&self, address: SocketAddr) -> bool {
        let open = self.before.open.iter().map(|entry| entry.bound);
        open.chain(self.before.leaving()).any(|bound| overlap(bound, address))
    }

    /// Whether UDP sockets with the address are for the same. Others in their group would take the clients of live calls
    /// from them: the kernel spreads these over the sockets of an address by how many there are.
    fn is_of_kind(&self, kind: Kind, address: SocketAddr) -> Result<(), BindError> {
        let other = |it: &&Entry| it.kind != kind && overlap(it.bound, address);
        let Some(other) = self.serving().find(other) else {
            return Ok(());
        };
        let source = io::Error::other(format!(
            "this server serves calls at {} as {} still; use another port, or restart",
            other.bound,
            label(other.kind),
        ));
        Err(BindError { address, transport: label(kind), source })
    }

    /// A listener that goes on under this address: as it was configured, or as it was bound.
    fn claim(&mut self, kind: Kind, asked: SocketAddr) -> Option<Entry> {
        let of_kind = |entry: &Entry| entry.kind == kind;
        let place = self.unclaimed.iter().position(|it| of_kind(it) && it.asked == asked);
        let bound = || self.unclaimed.iter().position(|it| of_kind(it) && it.bound == asked);
        place.or_else(bound).map(|place| self.unclaimed.remove(place))
    }

    /// One that is about to end, if it does not do so now.
    fn recall(&self, kind: Kind, asked: SocketAddr) -> Option<(Entry, Hold)> {
        let mut leaving = self.before.leaving.iter();
        let (entry, departure) =
            leaving.find(|(entry, _)| entry.kind == kind && entry.bound == asked)?;
        Some((*entry, departure.hold()?))
    }
}

/// What of a kind goes over UDP.
fn label(kind: Kind) -> &'static str {
    if kind == Kind::Dtls { "DTLS" } else { "UDP" }
}

/// Whether something can come to both.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = |ip: IpAddr| ip.is_unspecified();
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || any(one.ip()) || any(other.ip()))
}

/// Whether nobody has the address, for UDP and for TCP. Port 0 is always free.
fn is_free(address: SocketAddr) -> Result<(), BindError> {
    let fail = |transport| move |source| BindError { address, transport, source };
    port_is_free(address, Transport::Udp).map_err(fail("UDP"))?;
    port_is_free(address, Transport::Tcp).map_err(fail("TCP"))
}

/// Whether a port is another than `taken`, and free on this address as well.
fn fits(address: SocketAddr, taken: u16) -> bool {
    address.port() != taken && is_free(address).is_ok()
}

/// Finds a port that is free for both.
fn bind_any(
    address: SocketAddr,
    options: &UdpOptions,
    fits: impl Fn(u16) -> bool,
) -> Result<(UdpSocket, TcpListener), BindError> {
    let fail = |transport| move |source| BindError { address, transport, source };
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let udp = udp_listener(address, options).map_err(fail("UDP"))?;
        let bound = udp.local_addr().map_err(fail("UDP"))?;
        if !fits(bound.port()) {
            continue;
        }
        // Another server may have TCP sockets there that share their port.
        match port_is_free(bound, Transport::Tcp).and_then(|()| tcp_listener(bound, BACKLOG)) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| ErrorKind::AddrInUse.into());
    Err(BindError { address, transport: "TCP", source })
}

fn bind_both(
    address: SocketAddr,
    options: &UdpOptions,
) -> Result<(UdpSocket, TcpListener), BindError> {
    let fail = |transport| move |source| BindError { address, transport, source };
    let udp = udp_listener(address, options).map_err(fail("UDP"))?;
    let tcp = tcp_listener(address, BACKLOG).map_err(fail("TCP"))?;
    Ok((udp, tcp))
}
