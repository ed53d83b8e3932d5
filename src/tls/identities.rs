//! The set of identities, and which one a client is shown: by the name that it asks for, and by what it can verify.

use std::cell::RefCell;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Identity;
#[cfg(feature = "dtls")]
use super::dtls::Credentials;

/// The identities of the server, replaced as a whole while sessions live: each handshake takes
/// the set that it finds.
#[derive(Debug)]
pub struct Identities {
    set: ArcSwap<Set>,
}

/// There is not one identity to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no certificate")]
pub struct NoIdentity;

#[derive(Debug)]
struct Set {
    /// In the operator's order; never empty.
    identities: Vec<Identity>,
}

impl Identities {
    /// The first identity, and others with its names, serve clients that name nobody known.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(identities: Vec<Identity>) -> Result<Self, NoIdentity> {
        Ok(Self { set: ArcSwap::from_pointee(Set::new(identities)?) })
    }

    /// Replaces all of them for the handshakes that begin from now on.
    ///
    /// # Errors
    /// When there is none; those before stay.
    pub fn replace(&self, identities: Vec<Identity>) -> Result<(), NoIdentity> {
        self.set.store(Arc::new(Set::new(identities)?));
        Ok(())
    }

    /// What OpenSSL may show to a client that asks for a name, or for none.
    #[cfg(feature = "dtls")]
    pub(super) fn credentials(&self, name: Option<&str>) -> Vec<Credentials> {
        let set = self.set.load();
        set.serving(name).into_iter().map(|identity| identity.credentials.clone()).collect()
    }

    /// The identities of this moment.
    pub fn current(&self) -> Vec<Identity> {
        self.set.load().identities.clone()
    }
}

impl Set {
    fn new(identities: Vec<Identity>) -> Result<Self, NoIdentity> {
        if identities.is_empty() { Err(NoIdentity) } else { Ok(Self { identities }) }
    }

    /// Those that serve a name, most fitting first: its own, a wildcard's, the default's.
    fn serving(&self, name: Option<&str>) -> Vec<&Identity> {
        let named = |name: &str| -> Vec<&Identity> {
            self.identities.iter().filter(|it| it.names().iter().any(|own| own == name)).collect()
        };
        let name = name.map(str::to_ascii_lowercase);
        let exact = name.as_deref().map(named).unwrap_or_default();
        if !exact.is_empty() {
            return exact;
        }
        // RFC 6125 §6.4.3: a wildcard stands for one whole label, the first.
        let parent = name.as_deref().and_then(|name| name.split_once('.'));
        let wild = parent.map(|(_, parent)| named(&format!("*.{parent}"))).unwrap_or_default();
        if !wild.is_empty() {
            return wild;
        }
        let default = &self.identities[0];
        self.identities.iter().filter(|it| it.names() == default.names()).collect()
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        ASKED_NAME.set(name.map(Box::from));
        let set = self.set.load();
        let serving = set.serving(name);
        let usable = |identity: &&&Identity| {
            identity.certified.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        // An RSA signature costs as much as twenty of ECDSA.
        let chosen = serving.iter().filter(usable).min_by_key(|it| it.is_rsa());
        // With none that the client could use, rustls finds out why by itself, in better words.
        chosen.or(serving.first()).map(|identity| Arc::clone(&identity.certified))
    }
}

thread_local! {
    /// What the ClientHello asked for that is being handled on this thread: rustls' unbuffered
    /// connection does not tell it, and calls `resolve` from within `process_tls_records`.
    static ASKED_NAME: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The name in the ClientHello that was handled last on this thread.
pub(super) fn take_asked_name() -> Option<Box<str>> {
    ASKED_NAME.take()
}

#[cfg(test)]
#[path = "identities/tests.rs"]
mod tests;
