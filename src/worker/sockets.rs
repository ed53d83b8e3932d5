use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::{Alternate, Settings};
use crate::net::{Transport, UdpOptions, port_is_free, tcp_listener, udp_listener};

/// Connections that may wait to be accepted, on each listener of each worker.
const BACKLOG: u16 = 1024;
/// Tries to find a port that is free for UDP and TCP, when any port will do.
const ATTEMPTS: usize = 32;

/// Every listener socket, bound and not yet served.
pub struct Sockets {
    pub(super) workers: Vec<Listeners>,
    addresses: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    dtls: Vec<SocketAddr>,
    alternates: Vec<(SocketAddr, SocketAddr)>,
    options: UdpOptions,
}

/// The listener sockets of one worker.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: Vec<TcpListener>,
    /// For TLS alone.
    pub(super) tls: Vec<TcpListener>,
    /// For DTLS alone.
    pub(super) dtls: Vec<UdpSocket>,
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
             AmbientCapabilities=CAP_NET_BIND_SERVICE)"
        }
        ErrorKind::AddrNotAvailable => "; this host has no such address",
        _ => "",
    }
}

impl Sockets {
    /// Binds UDP and TCP, or UDP for DTLS alone, on every address for every worker.
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    pub fn bind(settings: &Settings) -> Result<Self, BindError> {
        let buffer = settings.listener_buffer;
        let options = UdpOptions { receive_buffer: buffer, send_buffer: buffer };
        let workers = (0..settings.threads()).map(|_| Listeners::default()).collect();
        let (addresses, tls, dtls, alternates) = Default::default();
        let mut sockets = Self { workers, addresses, tls, dtls, alternates, options };
        // SO_REUSEPORT would let a second server share the port in silence: look first.
        settings.listeners.iter().try_for_each(|address| is_free(*address))?;
        for Alternate { listener, first, second } in &settings.alternates {
            let port = settings.listeners[*listener].port();
            is_free(*second)?;
            is_free(SocketAddr::new(*first, second.port()))?;
            is_free(SocketAddr::new(second.ip(), port))?;
        }
        for (place, address) in settings.listeners.iter().enumerate() {
            // A free port has to be one on the second address as well.
            let beside = settings.alternates.iter().find(|it| it.listener == place);
            let beside = beside.map(|it| it.second).filter(|_| !address.ip().is_unspecified());
            sockets.listen(*address, |port| {
                beside.is_none_or(|second| fits(SocketAddr::new(second.ip(), port), second.port()))
            })?;
        }
        for alternate in &settings.alternates {
            sockets.bind_alternate(alternate)?;
        }
        settings.tls_listeners.iter().try_for_each(|address| sockets.listen_tls(*address))?;
        settings.dtls_listeners.iter().try_for_each(|address| sockets.listen_dtls(*address))?;
        Ok(sockets)
    }

    /// Binds what of the four addresses is not bound yet.
    fn bind_alternate(&mut self, alternate: &Alternate) -> Result<(), BindError> {
        let Alternate { listener, first, second } = *alternate;
        let first = SocketAddr::new(first, self.addresses[listener].port());
        let other = |port| fits(SocketAddr::new(first.ip(), port), first.port());
        let second = self.listen_besides(second, other)?;
        let corners = [
            first,
            SocketAddr::new(first.ip(), second.port()),
            SocketAddr::new(second.ip(), first.port()),
        ];
        for corner in corners {
            self.listen_besides(corner, |_| true)?;
        }
        self.alternates.push((first, second));
        Ok(())
    }

    fn listen_besides(
        &mut self,
        address: SocketAddr,
        fits: impl Fn(u16) -> bool,
    ) -> Result<SocketAddr, BindError> {
        if self.addresses.contains(&address) {
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
        let mut bound = address;
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
            worker.udp.push(udp);
            worker.tcp.push(tcp);
        }
        self.addresses.push(bound);
        Ok(bound)
    }

    /// Binds the address for TLS on all workers.
    fn listen_tls(&mut self, address: SocketAddr) -> Result<(), BindError> {
        let fail = |source| BindError { address, transport: "TLS", source };
        port_is_free(address, Transport::Tcp).map_err(fail)?;
        let mut bound = address;
        for worker in &mut self.workers {
            let socket = tcp_listener(bound, BACKLOG).map_err(fail)?;
            bound = socket.local_addr().map_err(fail)?;
            worker.tls.push(socket);
        }
        self.tls.push(bound);
        Ok(())
    }

    /// The same for DTLS.
    fn listen_dtls(&mut self, address: SocketAddr) -> Result<(), BindError> {
        let fail = |source| BindError { address, transport: "DTLS", source };
        port_is_free(address, Transport::Udp).map_err(fail)?;
        let mut bound = address;
        for worker in &mut self.workers {
            let socket = udp_listener(bound, &self.options).map_err(fail)?;
            bound = socket.local_addr().map_err(fail)?;
            worker.dtls.push(socket);
        }
        self.dtls.push(bound);
        Ok(())
    }

    /// The addresses listened on for TLS alone, in the order of the settings.
    pub fn tls(&self) -> &[SocketAddr] {
        &self.tls
    }

    /// The same for DTLS.
    pub fn dtls(&self) -> &[SocketAddr] {
        &self.dtls
    }

    /// The addresses listened on, for UDP and for TCP alike, in the order of the settings; behind
    /// these what the alternates add.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first and the second address of each alternate, with their ports.
    pub fn alternates(&self) -> &[(SocketAddr, SocketAddr)] {
        &self.alternates
    }
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
