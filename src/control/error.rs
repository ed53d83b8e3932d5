//! Why the server does not start or does not take a configuration, on one line with what to do.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::admin::SocketError;
use super::secret::SecretError;
use crate::{auth, events, store, tls, worker};

/// Why the server does not start: what, where, and what to do, on one line.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Bind(#[from] worker::BindError),
    #[error(transparent)]
    Tls(#[from] tls::ServerError),
    #[error(transparent)]
    Events(#[from] events::NoSink),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the certificate cannot be used: {0}")]
    Certificate(#[from] tls::InvalidFile),
    #[error(transparent)]
    Realms(#[from] auth::InvalidRealms),

    #[error("the store {0:?} {1}")]
    Store(String, store::StoreError),

    #[error("there is no address to relay from: give one of this host with --relay-ip")]
    NoRelay,
    #[error(
        "cannot relay from {0}: {1}; --relay-ip is an address of this host, \
         and what a NAT makes of it goes to --external-ip"
    )]
    Relay(IpAddr, io::Error),
    #[error(
        "{0} is advertised for two relay addresses, {1} and {2}: nobody could tell their ports \
         apart; give each its own with --external-ip PUBLIC/PRIVATE, or relay from one of them"
    )]
    SameAdvertised(IpAddr, IpAddr, IpAddr),
    #[error(
        "NAT discovery on {0} needs a listener of the same family with another address and port: \
         add one with --listen, or leave --nat-alternate out"
    )]
    NoFirst(SocketAddr),
    #[error(
        "{0} is the address outside for both {1} and {2}: NAT discovery needs two; give each its \
         own with --external-ip PUBLIC/PRIVATE"
    )]
    SameOutside(IpAddr, IpAddr, IpAddr),
    #[error("https.backend {0} is this server itself: name the web server's own address and port")]
    OwnBackend(SocketAddr),
    #[error(transparent)]
    AdminSocket(#[from] SocketError),
    #[error("the admin endpoint cannot listen on {0}: {1}; {hint}", hint = hint(.0, .1))]
    Admin(SocketAddr, io::Error),
    #[error("web.listen cannot listen on {0}: {1}; choose another address or port")]
    Web(SocketAddr, io::Error),
    #[error("the ready file {0:?} cannot be written: {1}; is its directory there and ours?")]
    ReadyFile(PathBuf, io::Error),
    #[error("this host knows no {0} {1:?}: make it, or change process.{0}")]
    Unknown(&'static str, String),
    #[error(
        "the user {0:?} cannot be become: {1}; only root can become another user, so start as \
         root or take process.user out"
    )]
    Become(String, io::Error),
    #[error(
        "to find the addresses took longer than {0} s: do relay.stun_server and the name server answer?"
    )]
    Late(u64),
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    #[error("the system refuses {0}: {1}")]
    System(&'static str, io::Error),
}

/// What to do when a TCP address cannot be bound.
fn hint(address: &SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "`ss -ltnp sport = :{port}` tells who has the port; choose another with --admin"
            )
        }
        io::ErrorKind::AddrNotAvailable => "it is no address of this host".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE; choose another with --admin".to_owned()
        }
        _ => "choose another with --admin".to_owned(),
    }
}
