//! What all handshakes have in common: OpenSSL's settings, and the certificates that it finds for each.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    AlpnError, NameType, SniError, Ssl, SslAlert, SslContext, SslContextBuilder, SslMethod,
    SslOptions, SslRef, SslSessionCacheMode, SslVersion,
};
use openssl::x509::X509;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::ffi;
use crate::tls::{Identities, Protocol};

/// What OpenSSL keeps datagrams of a handshake below, in bytes: it fits through every tunnel, and
/// what is lost of a flight in fragments is lost alone.
pub(super) const MTU: u32 = 1200;

/// Forward secrecy and AEAD only, the cheapest first. RFC 8489 §6.2.3 wants DHE with RSA too.
const SUITES: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
    ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
    ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
    DHE-RSA-AES128-GCM-SHA256";
const GROUPS: &str = "X25519:P-256:P-384";

/// A certificate with its chain and its key, as OpenSSL takes them. Cheap to clone.
#[derive(Clone)]
pub(in crate::tls) struct Credentials {
    leaf: X509,
    chain: Vec<X509>,
    key: PKey<Private>,
}

impl Credentials {
    /// From a chain, leaf first, and the leaf's key.
    ///
    /// # Errors
    /// When OpenSSL cannot use them.
    pub(in crate::tls) fn new(
        chain: &[CertificateDer<'_>],
        key: &PrivateKeyDer<'_>,
    ) -> Result<Self, ErrorStack> {
        let mut chain = chain.iter().map(|certificate| X509::from_der(certificate));
        let leaf = chain.next().unwrap_or_else(|| Err(ErrorStack::get()))?;
        let chain = chain.collect::<Result<_, _>>()?;
        Ok(Self { leaf, chain, key: private_key(key.secret_der())? })
    }

    fn apply(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        ssl.set_certificate(&self.leaf)?;
        ssl.set_private_key(&self.key)?;
        self.chain.iter().try_for_each(|certificate| ssl.add_chain_cert(certificate.clone()))
    }
}

/// Reads a key that rustls can use. Two forms are none of OpenSSL's: SEC1 without the curve, and
/// PKCS#8 of version 2 (RFC 5958), which is written anew.
fn private_key(der: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    PKey::private_key_from_der(der).or_else(|errors| {
        let curves = [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING];
        let keys = curves.into_iter().map(|curve| EcdsaKeyPair::from_private_key_der(curve, der));
        let ecdsa = keys.flatten().find_map(|key| key.to_pkcs8v1().ok());
        let ed25519 = || Ed25519KeyPair::from_pkcs8(der).ok()?.to_pkcs8v1().ok();
        let anew = ecdsa.or_else(ed25519).ok_or(errors)?;
        PKey::private_key_from_der(anew.as_ref())
    })
}

/// The name, if it is in a list of protocols (RFC 7301 §3.1).
fn named<'a>(mut list: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    while let Some((length, rest)) = list.split_first() {
        let (one, others) = rest.split_at_checked(usize::from(*length))?;
        if one == name {
            return Some(one);
        }
        list = others;
    }
    None
}

/// Makes the server's side of handshakes.
pub struct Acceptor {
    context: SslContext,
}

impl Acceptor {
    /// Each handshake takes the identities that it finds: of those that serve the name that the
    /// client asks for (SNI), the first of each kind of key.
    ///
    /// # Errors
    /// When this system's OpenSSL lacks what is needed.
    pub fn new(identities: &Arc<Identities>) -> Result<Self, ErrorStack> {
        let identities = Arc::clone(identities);
        let mut context = SslContextBuilder::new(SslMethod::dtls_server())?;
        context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
        context.set_max_proto_version(Some(SslVersion::DTLS1_2))?;
        context.set_cipher_list(SUITES)?;
        context.set_groups_list(GROUPS)?;
        ffi::enable_dhe(&mut context);
        ffi::bound_messages(&mut context, 4096);
        context.set_options(
            SslOptions::COOKIE_EXCHANGE
                | SslOptions::NO_QUERY_MTU
                // No resumption, so that the last flight is always the server's, and nothing is
                // kept for those who have left.
                | SslOptions::NO_TICKET
                | SslOptions::CIPHER_SERVER_PREFERENCE
                // But a client that puts ChaCha20 first has no hardware for AES.
                | SslOptions::PRIORITIZE_CHACHA,
        );
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        // The cookie was found good before there was a session.
        context.set_cookie_verify_cb(|_, _| true);
        context.set_cookie_generate_cb(|_, _| Err(ErrorStack::get()));
        context.set_alpn_select_callback(|_, offered| {
            let offers = |protocol: &Protocol| named(offered, protocol.name().as_bytes());
            // RFC 7301 §3.2: with nothing in common the handshake fails.
            Protocol::ALL.iter().find_map(offers).ok_or(AlpnError::ALERT_FATAL)
        });
        context.set_servername_callback(move |ssl, alert| {
            let credentials = identities.credentials(ssl.servername(NameType::HOST_NAME));
            let mut kinds = HashSet::new();
            let mut first = credentials.iter().filter(|it| kinds.insert(it.key.id().as_raw()));
            first.try_for_each(|credentials| credentials.apply(ssl)).map_err(|_| {
                *alert = SslAlert::INTERNAL_ERROR;
                SniError::ALERT_FATAL
            })
        });
        Ok(Self { context: context.build() })
    }

    /// A session that waits for a ClientHello with a good cookie.
    pub(super) fn session(&self) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_mtu(MTU)?;
        ssl.set_accept_state();
        ffi::stop_timer(&mut ssl);
        Ok(ssl)
    }
}
