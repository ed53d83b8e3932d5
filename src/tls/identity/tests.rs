use super::super::testing::{Authority, ECDSA, Issued, LAST, RSA};
use super::*;

use base64::Engine as _;
use x509_parser::der_parser::der::parse_der_sequence;

fn read(issued: &Issued) -> Result<Identity, InvalidIdentity> {
    Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes())
}

#[test]
fn a_leaf_tells_its_names_and_its_end() {
    let root = Authority::root("root");
    let issued =
        root.issue(&["Turn.Example.org", "*.example.org", "192.0.2.7", "2001:db8::7"], RSA);
    let identity = read(&issued).unwrap();
    let names = ["turn.example.org", "*.example.org", "192.0.2.7", "2001:db8::7"];
    assert_eq!(identity.names(), names);
    assert_eq!(identity.label(), "turn.example.org");
    assert_eq!(identity.not_after(), LAST as i64);
    assert_eq!(identity.seconds_left(LAST + 60), -60);
    assert!(identity.is_rsa() && identity.chain().len() == 1);
    assert!(!format!("{identity:?}").contains("PRIVATE"));
}

#[test]
fn what_is_no_name_of_a_host_is_no_name_of_a_leaf() {
    let issued = Authority::root("root").issue(&["a\u{1b}[2J.test", "b c.test", "d.test"], ECDSA);
    assert_eq!(read(&issued).unwrap().names(), ["d.test"]);
}

#[test]
fn keys_are_read_in_each_of_their_forms() {
    for (algorithm, label) in [(RSA, "RSA"), (ECDSA, "EC")] {
        let issued = Authority::root("root").issue(&["a.test"], algorithm);
        // RFC 5958 §2: PKCS#8 has the older form (PKCS#1, SEC1) in its OCTET STRING.
        let PrivateKeyDer::Pkcs8(pkcs8) =
            PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap()
        else {
            panic!("rcgen writes PKCS#8");
        };
        let (_, outer) = parse_der_sequence(pkcs8.secret_pkcs8_der()).unwrap();
        let inner = outer.as_sequence().unwrap()[2].as_slice().unwrap();
        let parameters =
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----";
        let old = format!("{parameters}\n{}", pem(&format!("{label} PRIVATE KEY"), inner));
        for key in [&issued.key, &old] {
            let noisy = format!("Bag Attributes: whatever stands around it\n{key}");
            Identity::from_pem(issued.certificate.as_bytes(), noisy.as_bytes()).unwrap();
            // Both in one file.
            let both = format!("{key}{}", issued.certificate);
            Identity::from_pem(both.as_bytes(), both.as_bytes()).unwrap();
        }
    }
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[test]
fn what_is_wrong_is_said_in_words() {
    let root = Authority::root("root");
    let (one, two) = (root.issue(&["a.test"], ECDSA), root.issue(&["b.test"], ECDSA));
    let cut = &one.certificate[..one.certificate.len() / 2];
    let garbled = one.certificate.replacen("MII", "MIJ", 1);
    let swapped = format!("{}{}", two.certificate, one.certificate);
    let encrypted = pem("ENCRYPTED PRIVATE KEY", &[7; 99]);
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END";
    // An RSA key of 1024 bits, from openssl; rustls says of its key only that it is unexpected.
    let short = include_str!("data/short.crt");
    let refused = pem("RSA PRIVATE KEY", &[7; 99]);
    let certificate_of =
        |body| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----");
    let cases = [
        ("", &*one.key, "has no certificate in it: expected PEM"),
        (&one.key, &one.key, "has no certificate in it, but a private key: are the two"),
        (cut, &one.key, "is broken: -----END CERTIFICATE----- is missing"),
        (&certificate_of("%%%%"), &one.key, "is broken: what stands between the dashes is not"),
        (&garbled, &one.key, "is broken at certificate 1: "),
        (&one.certificate, "", "has no private key in it: expected PEM"),
        (&one.certificate, &one.certificate, "has no private key in it, but a certificate"),
        (&one.certificate, &encrypted, "is encrypted with a passphrase"),
        (&one.certificate, old, "is encrypted with a passphrase"),
        (&one.certificate, &two.key, "does not belong to the certificate: one of the two files"),
        (
            &swapped,
            &one.key,
            "does not belong to the first certificate of the chain, but to number 2",
        ),
        (short, &refused, "has an RSA key of 1024 bits"),
        (&one.certificate, &refused, "has a key that cannot be used ("),
    ];
    for (chain, key, expected) in cases {
        let wrong = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(wrong.to_string().starts_with(expected), "{wrong}, and not {expected}");
    }
}
