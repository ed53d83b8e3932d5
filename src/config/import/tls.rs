//! Certificates, and what is served with them.

use super::facts::{Facts, OFF};
use super::page::Page;
use super::page::Weight::{Act, Lost, Same};

/// What is served with a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secured {
    pub(super) tls: bool,
    pub(super) dtls: bool,
}

const NONE: Secured = Secured { tls: false, dtls: false };

pub(super) fn tls(facts: &Facts<'_>, page: &mut Page) -> Secured {
    let secured = certificate(facts, page);
    let switches = facts.all_of(&["no-tls", "no-dtls", "dtls"]);
    let version = facts.all("no-tlsv1_2");
    if !secured.tls && !secured.dtls {
        if !switches.is_empty() {
            let text = "without a certificate there is neither TLS nor DTLS";
            page.note("tls", Same, &switches, text);
        }
        if !version.is_empty() {
            page.note("tls", Same, &version, "there is no TLS");
        }
        return NONE;
    }
    switch_dtls(facts, secured, page);
    match facts.switch("no-tlsv1_2") {
        Some(true) => page.key("tls", "min_version", "1.3", &version),
        Some(false) => page.note("tls", Same, &version, OFF),
        None => {}
    }
    secured
}

/// The certificate and its key, if coturn serves anything with them.
fn certificate(facts: &Facts<'_>, page: &mut Page) -> Secured {
    let from = facts.all_of(&["cert", "pkey"]);
    let password = facts.all("pkey-pwd");
    let wanted = Secured {
        tls: !facts.on("no-tls"),
        // coturn before 4.17 served DTLS unless told otherwise.
        dtls: cfg!(feature = "dtls") && !facts.on("no-dtls") && facts.switch("dtls") != Some(false),
    };
    let (cert, key) = match (facts.value("cert"), facts.value("pkey")) {
        (None, None) => {
            if !password.is_empty() {
                page.note("tls", Same, &password, "there is no key that it could be for");
            }
            return NONE;
        }
        _ if !wanted.tls && !wanted.dtls => {
            let text = "coturn serves neither TLS nor DTLS: with a certificate, TLS would be";
            page.note("tls", Same, &[from, password].concat(), text);
            return NONE;
        }
        (Some(cert), Some(key)) => (cert, key),
        (cert, _) => {
            let (there, other) = match cert {
                Some(_) => ("certificate", "key (pkey; by default turn_server_pkey.pem)"),
                None => ("key", "certificate (cert; by default turn_server_cert.pem)"),
            };
            let text = format!(
                "there is no TLS yet: coturn looks in several directories for the {other} of this \
                 {there}. Write both paths into tls.certificates and tls.keys"
            );
            page.note("tls", Act, &[from, password].concat(), text);
            return NONE;
        }
    };
    if [cert, key].iter().any(|path| !path.starts_with('/')) {
        let text = "coturn looks for this path in several directories: write the whole path";
        page.note("tls", Act, &from, text);
    }
    page.key("tls", "certificates", vec![cert], &facts.all("cert"));
    page.key("tls", "keys", vec![key], &facts.all("pkey"));
    if !password.is_empty() {
        let text = "a key under a passphrase is not read, the server would not start. Take the \
                    passphrase off: openssl pkey -in KEY -out NEWKEY; chmod 600 NEWKEY";
        page.note("tls", Act, &password, text);
    }
    wanted
}

fn switch_dtls(facts: &Facts<'_>, secured: Secured, page: &mut Page) {
    let dtls = facts.all_of(&["no-dtls", "dtls"]);
    if secured.dtls {
        if !dtls.is_empty() {
            page.note("listen", Same, &dtls, "DTLS is served with the certificate");
        }
    } else {
        page.key("listen", "dtls_on_udp", false, &dtls);
    }
    let tls = facts.all("no-tls");
    if secured.tls && !tls.is_empty() {
        page.note("tls", Same, &tls, OFF);
    } else if !tls.is_empty() {
        let text = "with a certificate, which DTLS needs, TLS is served on listen.addresses too";
        page.note("tls", Lost, &tls, text);
    }
}
