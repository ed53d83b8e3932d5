//! Certificates for the tests of this room.

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
