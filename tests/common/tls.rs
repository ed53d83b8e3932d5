use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::PKCS_ECDSA_P256_SHA256;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::certificate::{Authority, paths};
use super::{Client, Leg, PATIENCE, Server, Setup};

/// A client's end of TLS.
pub(crate) type Sealed = StreamOwned<ClientConnection, TcpStream>;

/// A server's certificate in files, and the clients that trust it.
pub(crate) struct Trust {
    authority: Authority,
    pub(crate) directory: PathBuf,
}

impl Trust {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("trust-{}-{number}", getrandom::u32().unwrap());
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("a directory for the certificate");
        let trust = Self { authority: Authority::new("a test's"), directory };
        fs::write(trust.root(), trust.authority.pem()).expect("a file for the root");
        trust.renew();
        trust
    }

    /// Puts a new certificate in the place of the old one, and tells how it looks on the wire.
    pub(crate) fn renew(&self) -> Vec<u8> {
        let names = ["localhost", "127.0.0.1", "::1"];
        let issued = self.authority.issue_for(&names, 80, &PKCS_ECDSA_P256_SHA256);
        issued.put(&self.directory);
        CertificateDer::from_pem_slice(issued.chain.as_bytes()).expect("PEM").to_vec()
    }

    /// The file with the root that vouches for it.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("root.pem")
    }

    /// What a client starts from that trusts the certificate.
    pub(crate) fn client(&self) -> ClientConfig {
        trusting(&self.authority)
    }

    /// The same for one version of TLS.
    pub(crate) fn client_of(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        of_versions(&self.authority, &[version])
    }
}

impl Drop for Trust {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A client that trusts what this authority has signed.
pub(crate) fn trusting(authority: &Authority) -> ClientConfig {
    of_versions(authority, rustls::DEFAULT_VERSIONS)
}

fn of_versions(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM");
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("a root");
    ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Speaks TLS on a connection; the handshake is made with the first byte.
pub(crate) fn seal(stream: TcpStream, config: ClientConfig) -> Sealed {
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    StreamOwned::new(connection, stream)
}

impl Setup {
    /// A server with this certificate.
    pub(crate) fn certificate(self, trust: &Trust) -> Self {
        let [chain, key] = paths(&trust.directory);
        self.flag("--cert", chain.display()).flag("--key", key.display())
    }
}

impl Client {
    /// Alice, over TLS on the port that has everything.
    pub(crate) fn tls(server: &Server, trust: &Trust) -> Self {
        Self::tls_to(server.address(), trust)
    }

    pub(crate) fn tls_to(server: SocketAddr, trust: &Trust) -> Self {
        let stream = TcpStream::connect(server).expect("a connection");
        Self::on_tls(seal(stream, trust.client()))
    }

    pub(crate) fn on_tls(stream: Sealed) -> Self {
        Self::on(Leg::Tls(Box::new(stream), Vec::new()))
    }
}
