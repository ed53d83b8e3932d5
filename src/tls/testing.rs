//! Certificates for the tests of this room, and a server for those of others.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm, date_time_ymd,
};

pub(super) static ECDSA: &SignatureAlgorithm = &PKCS_ECDSA_P256_SHA256;
pub(super) static RSA: &SignatureAlgorithm = &PKCS_RSA_SHA256;
/// The second at which all of it is good, 2026-01-01, and the last one, at the end of that year.
pub(super) const NOW: u64 = 1_767_225_600;
pub(super) const LAST: u64 = 1_798_761_600;

/// Somebody who signs certificates.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, both in PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn root(name: &str) -> Self {
        let key = KeyPair::generate_for(ECDSA).unwrap();
        Self(CertifiedIssuer::self_signed(authority(name), key).unwrap())
    }

    pub(super) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate_for(ECDSA).unwrap();
        Self(CertifiedIssuer::signed_by(authority(name), key, &self.0).unwrap())
    }

    pub(super) fn issue(&self, names: &[&str], algorithm: &'static SignatureAlgorithm) -> Issued {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params("leaf", names).signed_by(&key, &self.0).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }
}

/// A certificate that nobody else has signed.
pub(super) fn self_signed(names: &[&str]) -> Issued {
    let key = KeyPair::generate_for(ECDSA).unwrap();
    let certificate = params("alone", names).self_signed(&key).unwrap().pem();
    Issued { certificate, key: key.serialize_pem() }
}

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// Where a server says 4096 empty ChannelData messages to one client in the longest record, takes its leave, and talks
/// on: what comes after a close_notify is ignored (RFC 8446 §6.1). It hangs up after its client has.
pub(crate) fn talks_after_its_leave() -> SocketAddr {
    let issued = self_signed(&["127.0.0.1"]);
    let chain = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let config =
        ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![chain], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(config).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut stream).unwrap();
        }
        tls.writer().write_all(&[0x40, 0, 0, 0].repeat(4096)).unwrap();
        tls.send_close_notify();
        let mut last = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut last).unwrap();
        }
        last.resize(65_536, 0);
        // The client may have hung up already.
        let _ = stream.write_all(&last);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    address
}
