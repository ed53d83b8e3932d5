//! What a server that was told nothing tells its owner: an `iceServers` entry to paste.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::auth::{RestDigest, Secret, Settings, mint_password};

/// How long the printed credential is good, in seconds: a day of trying things out.
pub(super) const LIFETIME: u64 = 24 * 60 * 60;

/// The `iceServers` JSON on one line, with a credential that expires [`LIFETIME`] after `unix`.
pub(super) fn ice_servers(secret: &Secret, auth: &Settings, urls: &[String], unix: u64) -> String {
    let username = format!("{}{}turnwire", unix + LIFETIME, auth.separator);
    let credential = mint_password(digest(auth), secret, &username);
    let entry = json!({ "urls": urls, "username": username, "credential": credential });
    json!({ "iceServers": [entry] }).to_string()
}

/// The lines that name the page, each with the key that opens it: for who sits here, and for who sits elsewhere.
pub(super) fn links(listeners: &[SocketAddr], urls: &[String], key: &Secret) -> Vec<String> {
    let here = listeners.iter().find_map(|listener| match listener.ip() {
        any if any.is_unspecified() => Some(format!("http://localhost:{}/", listener.port())),
        ip => ip.is_loopback().then(|| format!("http://{listener}/")),
    });
    let mut places = urls.iter().filter_map(|url| {
        url.strip_prefix("turn:")?.strip_suffix("?transport=tcp")?.parse::<SocketAddr>().ok()
    });
    let elsewhere = places.find(|place| !place.ip().is_loopback());
    let key = key.expose();
    let here = here.map(|link| format!("test it here:   {link}#key={key}"));
    let elsewhere = elsewhere.map(|place| format!("from elsewhere: http://{place}/#key={key}"));
    here.into_iter().chain(elsewhere).collect()
}

/// SHA-1 is what every client library mints; SHA-256 only where the operator asks for just that.
pub(super) fn digest(auth: &Settings) -> RestDigest {
    let sha1 = auth.rest_digests.is_empty() || auth.rest_digests.contains(&RestDigest::Sha1);
    if sha1 { RestDigest::Sha1 } else { RestDigest::Sha256 }
}

/// Prints it on standard output, the JSON on a line of its own before the links, unless that is the journal: a credential
/// is for no log.
pub(super) fn print(json: &str, links: &[String]) {
    if is_journal(io::stdout().as_fd(), std::env::var("JOURNAL_STREAM").ok().as_deref()) {
        tracing::info!(
            event = "invitation_withheld",
            "started by hand, turnwire prints an iceServers entry; the journal is no place for it",
        );
        return;
    }
    // Nobody may be reading; the server serves all the same.
    let mut text = format!("{json}\n");
    text.extend(links.iter().map(|link| format!("{link}\n")));
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Whether systemd has connected the descriptor to the journal (systemd.exec, `$JOURNAL_STREAM`).
fn is_journal(stream: BorrowedFd<'_>, journal: Option<&str>) -> bool {
    let facts = stream.try_clone_to_owned().and_then(|owned| File::from(owned).metadata());
    let name = facts.map(|facts| format!("{}:{}", facts.dev(), facts.ino()));
    name.is_ok_and(|name| journal == Some(name.as_str()))
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
    fn it_has_a_credential_of_a_day() {
        let secret = Secret::new("north");
        let urls = ["stun:54.0.0.7:3478".to_owned(), "turn:54.0.0.7:3478?transport=udp".to_owned()];
        let text = ice_servers(&secret, &Settings::default(), &urls, 600);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let entry = &value["iceServers"][0];
        assert_eq!(entry["urls"], json!(urls));
        assert_eq!(entry["username"], "87000:turnwire");
        let password = mint_password(RestDigest::Sha1, &secret, "87000:turnwire");
        assert_eq!(entry["credential"], json!(password));
    }
}
