use super::super::testing::{Authority, ECDSA, Issued, LAST, NOW, self_signed};
use super::*;

const DAY: u64 = 86400;

/// What is doubted of a leaf with these certificates behind it.
fn doubts(
    issued: &Issued,
    behind: &[&Authority],
    now: u64,
    roots: Option<&Authority>,
) -> Vec<Doubt> {
    let behind: String = behind.iter().map(|authority| authority.pem()).collect();
    let chain = format!("{}{behind}", issued.certificate);
    let identity = Identity::from_pem(chain.as_bytes(), issued.key.as_bytes()).unwrap();
    let roots = roots.map(|root| Roots::from_pem(root.pem().as_bytes()));
    identity.doubts(now, roots.as_ref())
}

#[test]
fn a_chain_that_reaches_a_root_is_not_doubted() {
    let root = Authority::root("root");
    let middle = root.intermediate("middle");
    let inner = middle.intermediate("inner");
    let leaf = inner.issue(&["a.test"], ECDSA);
    assert_eq!(doubts(&leaf, &[&inner, &middle], NOW, Some(&root)), []);
    // The root may stand there too, and then nobody needs to know it here.
    assert_eq!(doubts(&leaf, &[&inner, &middle, &root], NOW, None), []);
    // Nothing is said where nothing is known.
    assert_eq!(doubts(&leaf, &[], NOW, None), []);
}

#[test]
fn who_is_missing_is_named() {
    let root = Authority::root("root");
    let middle = root.intermediate("middle");
    let inner = middle.intermediate("inner");
    let leaf = inner.issue(&["a.test"], ECDSA);
    let missing = |behind: &[&Authority], name: &str| {
        let found = doubts(&leaf, behind, NOW, Some(&root));
        assert_eq!(found, [Doubt::MissingIssuer(format!("CN={name}"))]);
        assert!(!found[0].is_certain() && found[0].to_string().contains("fullchain"));
    };
    missing(&[], "inner");
    missing(&[&inner], "middle");
    // The right one further up does not close a gap.
    missing(&[&middle], "inner");
}

#[test]
fn an_order_that_clients_cannot_follow_is_named() {
    let root = Authority::root("root");
    let middle = root.intermediate("middle");
    let inner = middle.intermediate("inner");
    let leaf = inner.issue(&["a.test"], ECDSA);
    let found = doubts(&leaf, &[&middle, &inner], NOW, Some(&root));
    assert_eq!(found, [Doubt::Order { place: 1, issuer: "CN=inner".to_owned() }]);
    assert!(found[0].is_certain());
}

#[test]
fn dates_are_compared_with_the_clock() {
    let root = Authority::root("root");
    let leaf = root.issue(&["a.test"], ECDSA);
    let at = |now| doubts(&leaf, &[], now, Some(&root));
    assert_eq!(at(LAST), []);
    assert_eq!(at(LAST + 1), [Doubt::Expired(1)]);
    assert_eq!(
        at(LAST + 3 * DAY)[0].to_string(),
        "the certificate has expired 3 days ago: renew it"
    );
    assert!(matches!(at(NOW - 400 * DAY)[..], [Doubt::NotYetValid(_)]));
}

#[test]
fn certificates_that_no_browser_takes_are_named() {
    assert_eq!(doubts(&self_signed(&["a.test"]), &[], NOW, None), [Doubt::SelfSigned]);
    let root = Authority::root("root");
    let nameless = root.issue(&[], ECDSA);
    assert_eq!(doubts(&nameless, &[], NOW, Some(&root)), [Doubt::Nameless]);
    let odd = root.issue(&["a.test"], &rcgen::PKCS_ED25519);
    assert_eq!(doubts(&odd, &[], NOW, Some(&root)), [Doubt::Ed25519]);
}
