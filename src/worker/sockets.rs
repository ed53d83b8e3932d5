use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::Settings;
use crate::net::{Transport, UdpOptions, port_is_free, tcp_listener, udp_listener};

/// Connections that may wait to be accepted, on each listener of each worker.
const BACKLOG: u16 = 1024;
/// Tries to find a port that is free for UDP and TCP, when any port will do.
const ATTEMPTS: usize = 32;

/// Every listener socket, bound and not yet served.
pub struct Sockets {
    pub(super) workers: Vec<Listeners>,
    addresses: Vec<SocketAddr>,
}

/// The listener sockets of one worker.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: Vec<TcpListener>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({transport}): {source}{}", hint(.source))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// `UDP` or `TCP`.
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
    /// Binds UDP and TCP on every address for every worker.
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    pub fn bind(settings: &Settings) -> Result<Self, BindError> {
        let count = settings.threads();
        // SO_REUSEPORT would let a second server share the port in silence: look first.
        for address in settings.listeners.iter().filter(|address| address.port() != 0) {
            let fail = |transport| move |source| BindError { address: *address, transport, source };
            port_is_free(*address, Transport::Udp).map_err(fail("UDP"))?;
            port_is_free(*address, Transport::Tcp).map_err(fail("TCP"))?;
        }
        let mut workers: Vec<Listeners> = (0..count).map(|_| Listeners::default()).collect();
        let mut addresses = Vec::new();
        for address in &settings.listeners {
            addresses.push(bind_for_all(*address, settings, &mut workers)?);
        }
        Ok(Self { workers, addresses })
    }

    /// The addresses listened on, for UDP and for TCP alike, in the order of the settings.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

fn bind_for_all(
    address: SocketAddr,
    settings: &Settings,
    workers: &mut [Listeners],
) -> Result<SocketAddr, BindError> {
    let buffer = settings.listener_buffer;
    let options = UdpOptions { receive_buffer: buffer, send_buffer: buffer };
    let mut bound = address;
    for worker in workers {
        let (udp, tcp) = if bound.port() == 0 {
            bind_any(bound, &options)?
        } else {
            bind_both(bound, &options)?
        };
        bound =
            udp.local_addr().map_err(|source| BindError { address, transport: "UDP", source })?;
        worker.udp.push(udp);
        worker.tcp.push(tcp);
    }
    Ok(bound)
}

/// Finds a port that is free for both.
fn bind_any(
    address: SocketAddr,
    options: &UdpOptions,
) -> Result<(UdpSocket, TcpListener), BindError> {
    let fail = |transport| move |source| BindError { address, transport, source };
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let udp = udp_listener(address, options).map_err(fail("UDP"))?;
        let bound = udp.local_addr().map_err(fail("UDP"))?;
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
