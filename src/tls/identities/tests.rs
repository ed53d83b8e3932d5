use super::super::testing::{Authority, ECDSA, Issued, RSA};
use super::*;

fn identity(issued: &Issued) -> Identity {
    Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes()).unwrap()
}

/// The serial numbers of those that serve a name.
fn serving(set: &Set, name: Option<&str>) -> Vec<String> {
    set.serving(name).into_iter().map(|identity| identity.serial().to_owned()).collect()
}

#[test]
fn a_name_finds_its_own_then_a_wildcard_s_then_the_default() {
    let root = Authority::root("root");
    let issue = |names: &[&str], algorithm| identity(&root.issue(names, algorithm));
    let default = issue(&["turn.example.org"], ECDSA);
    let wild = issue(&["*.example.org"], ECDSA);
    let other = issue(&["a.example.org", "b.example.net"], ECDSA);
    let twin = issue(&["turn.example.org"], RSA);
    let all = vec![default.clone(), wild.clone(), other.clone(), twin.clone()];
    let set = Set::new(all).unwrap();
    let both = [default.serial(), twin.serial()];
    assert_eq!(serving(&set, Some("turn.example.org")), both);
    assert_eq!(serving(&set, Some("TURN.Example.Org")), both);
    assert_eq!(serving(&set, None), both);
    assert_eq!(serving(&set, Some("elsewhere.test")), both);
    assert_eq!(serving(&set, Some("a.example.org")), [other.serial()]);
    assert_eq!(serving(&set, Some("x.example.org")), [wild.serial()]);
    // RFC 6125 §6.4.3: neither two labels nor none.
    assert_eq!(serving(&set, Some("x.y.example.org")), both);
    assert_eq!(serving(&set, Some("example.org")), both);
}

#[test]
fn there_is_always_one() {
    assert_eq!(Identities::new(Vec::new()).unwrap_err(), NoIdentity);
    let one = identity(&Authority::root("root").issue(&["a.test"], ECDSA));
    let identities = Identities::new(vec![one.clone()]).unwrap();
    assert_eq!(identities.replace(Vec::new()), Err(NoIdentity));
    assert_eq!(identities.current()[0].serial(), one.serial());
}
