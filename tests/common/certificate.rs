//! Certificates that a test issues itself.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, SignatureAlgorithm,
};

const DAY: Duration = Duration::from_secs(86400);

/// Somebody who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(authority(name), key).unwrap())
    }

    /// Another authority that this one vouches for.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(authority(name), key, &self.0).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate that is good for `days` more, and its key.
    pub(crate) fn issue(&self, name: &str, days: i32) -> Issued {
        self.issue_for(&[name], days, &PKCS_ECDSA_P256_SHA256)
    }

    /// The same with several names and a key of this kind.
    pub(crate) fn issue_for(
        &self,
        names: &[&str],
        days: i32,
        algorithm: &'static SignatureAlgorithm,
    ) -> Issued {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
                .unwrap();
        params.not_before = (SystemTime::now() - 100 * DAY).into();
        let past = days < 0;
        // A minute more, so that the days are whole when they are counted.
        let last = SystemTime::now() + Duration::from_secs(60);
        let days = DAY * days.unsigned_abs();
        params.not_after = if past { last - days } else { last + days }.into();
        Issued { chain: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// A certificate and its key, both in PEM.
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Issued {
    /// Puts both in place as careful tools do: each whole, and under its name at once.
    pub(crate) fn put(&self, directory: &Path) {
        put(directory, "chain.pem", &self.chain);
        put(directory, "key.pem", &self.key);
    }
}

/// Puts one file in place at once.
pub(crate) fn put(directory: &Path, name: &str, text: &str) {
    let new = directory.join("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, directory.join(name)).unwrap();
}

/// The two paths of [`Issued::put`].
pub(crate) fn paths(directory: &Path) -> [PathBuf; 2] {
    [directory.join("chain.pem"), directory.join("key.pem")]
}
