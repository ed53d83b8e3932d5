//! `[https]`: the web server that HTTP is passed on to.

use super::check::Finding;
use super::draft::Draft;
use super::value::{Wrong, path, socket_address};
use crate::net::Endpoint;
use crate::worker::proxy::Version;

pub(super) const BACKEND: &str = "https.backend";
pub(super) const HEADER: &str = "https.proxy_protocol";
pub(super) const PLAIN: &str = "https.plain_http";

/// The versions of the PROXY protocol by name.
pub(super) const HEADERS: &[(&str, Option<Version>)] =
    &[("none", None), ("v1", Some(Version::V1)), ("v2", Some(Version::V2))];

/// What the address of a Unix socket has room for (unix(7)).
const UNIX_MAX: usize = 107;

/// `ADDRESS:PORT` or `unix:PATH`.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    let form = "write it like \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/run/app.sock\"";
    let broken = |what: &str| {
        Wrong::new(format!("{text:?} is not where a server listens: {what}")).hint(form)
    };
    if let Some(name) = text.strip_prefix("unix:") {
        return match path(name) {
            Ok(path) if path.is_relative() => Err(broken("the path must be absolute")),
            Ok(path) if path.as_os_str().len() <= UNIX_MAX => Ok(Endpoint::Unix(path)),
            Ok(_) => Err(broken(&format!("the path is longer than {UNIX_MAX} bytes"))),
            Err(_) => Err(broken("the path is missing")),
        };
    }
    if text.starts_with("http") {
        return Err(broken("no URL, and the backend is spoken to without TLS"));
    }
    match socket_address(text) {
        Ok(address) if address.port() == 0 => Err(broken("the port is 0")),
        Ok(address) if address.ip().is_unspecified() => Err(broken("it is every address")),
        Ok(address) => Ok(Endpoint::Tcp(address)),
        Err(wrong) => Err(wrong.hint(form)),
    }
}

/// A backend that nobody would get to, that is this server itself, or that is not there.
pub(super) fn backend(draft: &Draft) -> Vec<Finding> {
    let worker = &draft.config.worker;
    let Some(backend) = &worker.web.backend else {
        let idle = [(HEADER, worker.web.header.is_some()), (PLAIN, worker.web.plain)];
        let idle = idle.into_iter().filter(|(_, set)| *set);
        let wrong = || Wrong::new("it changes nothing alone").hint("set https.backend as well");
        return idle.map(|(key, _)| (vec![(key, 0)], wrong())).collect();
    };
    let place = vec![(BACKEND, 0)];
    if draft.certificates.is_empty() && !worker.web.plain {
        let wrong = Wrong::new("nobody gets there: there is no certificate for https")
            .hint("set tls.certificates, or --cert and --key; or https.plain_http for http alone");
        return vec![(place, wrong)];
    }
    let Endpoint::Tcp(address) = backend else {
        return Vec::new();
    };
    let mut own = worker.listeners.iter().chain(&worker.tls_listeners).chain(&draft.config.admin);
    let same = own.find(|own| {
        let any = own.ip().is_unspecified() && own.is_ipv4() == address.is_ipv4();
        own.port() == address.port()
            && (own.ip() == address.ip() || any && address.ip().is_loopback())
    });
    let wrong = same.map(|own| {
        Wrong::new(format!("{address} is this server itself, which listens on {own}"))
            .hint("name the web server's own address and port")
    });
    wrong.map(|wrong| (place, wrong)).into_iter().collect()
}
