//! What a server that was told nothing tells its owner: an `iceServers` entry to paste.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::auth::{RestDigest, Secret, Settings, mint_password};
use crate::turn::RelayAddress;

/// How long the printed credential is good, in seconds: a day of trying things out.
pub(super) const LIFETIME: u64 = 24 * 60 * 60;

/// The `iceServers` JSON on one line, with a credential that expires [`LIFETIME`] after `unix`.
pub(super) fn ice_servers(
    secret: &Secret,
    auth: &Settings,
    udp: &[SocketAddr],
    tcp: &[SocketAddr],
    relays: &[RelayAddress],
    unix: u64,
) -> String {
    let username = format!("{}{}turnwire", unix + LIFETIME, auth.separator);
    // SHA-1 is what every client library mints; SHA-256 only where the operator asks for just that.
    let sha1 = auth.rest_digests.is_empty() || auth.rest_digests.contains(&RestDigest::Sha1);
    let digest = if sha1 { RestDigest::Sha1 } else { RestDigest::Sha256 };
    let credential = mint_password(digest, secret, &username);
    let (udp, tcp) = (reachable(udp, relays), reachable(tcp, relays));
    let stun = udp.iter().map(|address| format!("stun:{address}"));
    let over_udp = udp.iter().map(|address| format!("turn:{address}?transport=udp"));
    let over_tcp = tcp.iter().map(|address| format!("turn:{address}?transport=tcp"));
    let urls: Vec<_> = stun.chain(over_udp).chain(over_tcp).collect();
    let entry = json!({ "urls": urls, "username": username, "credential": credential });
    json!({ "iceServers": [entry] }).to_string()
}

/// Prints it on standard output, unless that is the journal: a credential is for no log.
pub(super) fn print(json: &str) {
    if is_journal(io::stdout().as_fd(), std::env::var("JOURNAL_STREAM").ok().as_deref()) {
        tracing::info!(
            event = "invitation_withheld",
            "started by hand, turnwire prints an iceServers entry; the journal is no place for it",
        );
        return;
    }
    // Nobody may be reading; the server serves all the same.
    let _ = writeln!(io::stdout(), "{json}");
}

/// Whether systemd has connected the descriptor to the journal (systemd.exec, `$JOURNAL_STREAM`).
fn is_journal(stream: BorrowedFd<'_>, journal: Option<&str>) -> bool {
    let facts = stream.try_clone_to_owned().and_then(|owned| File::from(owned).metadata());
    let name = facts.map(|facts| format!("{}:{}", facts.dev(), facts.ino()));
    name.is_ok_and(|name| journal == Some(name.as_str()))
}

/// Listeners as clients know them: a wildcard stands for the advertised addresses of its family.
fn reachable(listeners: &[SocketAddr], relays: &[RelayAddress]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for listener in listeners {
        let known: Vec<IpAddr> = relays
            .iter()
            .filter(|relay| match listener.ip() {
                any if any.is_unspecified() => relay.local.is_ipv4() == any.is_ipv4(),
                concrete => relay.local == concrete,
            })
            .map(|relay| relay.advertised)
            .collect();
        let own = (known.is_empty() && !listener.ip().is_unspecified()).then_some(listener.ip());
        for ip in known.into_iter().chain(own) {
            let address = SocketAddr::new(ip, listener.port());
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_journal_itself_is_the_journal() {
        let (_reader, writer) = io::pipe().unwrap();
        let facts = File::from(writer.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap();
        let name = format!("{}:{}", facts.dev(), facts.ino());
        assert!(is_journal(writer.as_fd(), Some(&name)));
        assert!(!is_journal(writer.as_fd(), Some("1:1")));
        assert!(!is_journal(writer.as_fd(), None));
    }

    #[test]
    fn it_names_every_way_in_and_a_credential_of_a_day() {
        let relay = |local: &str, advertised: &str| RelayAddress {
            local: local.parse().unwrap(),
            advertised: advertised.parse().unwrap(),
        };
        let relays = [relay("10.0.0.5", "54.0.0.7"), relay("2600::5", "2600::5")];
        let listeners: Vec<SocketAddr> =
            ["0.0.0.0:3478", "[::]:3478", "10.0.0.9:443"].map(|text| text.parse().unwrap()).into();
        let secret = Secret::new("north");
        let text =
            ice_servers(&secret, &Settings::default(), &listeners, &listeners[..1], &relays, 600);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let entry = &value["iceServers"][0];
        let expected = [
            "stun:54.0.0.7:3478",
            "stun:[2600::5]:3478",
            "stun:10.0.0.9:443",
            "turn:54.0.0.7:3478?transport=udp",
            "turn:[2600::5]:3478?transport=udp",
            "turn:10.0.0.9:443?transport=udp",
            "turn:54.0.0.7:3478?transport=tcp",
        ];
        assert_eq!(entry["urls"], json!(expected));
        assert_eq!(entry["username"], "87000:turnwire");
        let password = mint_password(RestDigest::Sha1, &secret, "87000:turnwire");
        assert_eq!(entry["credential"], json!(password));
    }
}
