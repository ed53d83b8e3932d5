//! Further realms.

use turnwire::auth::{OnRevocation, Secret};
use turnwire::config::parse;

use crate::{only, problems};

const TWO: &str = r#"
[auth]
sha256 = false
on_revocation = "end"
[limits]
allocations_per_user = 7
channels = 9
[peers]
deny = ["192.0.2.0/24"]
[[realm]]
name = "one.example"
listeners = ["0.0.0.0:3478", "192.0.2.1:3478"]
server_names = ["turn.one.example"]
origins = ["https://One.example/"]
exclusive = true
on_revocation = "refuse"
[realm.users]
alice = "hers"
[realm.limits]
channels = 3
[realm.peers]
allow = ["10.1.0.0/16"]
[[realm]]
name = "two.example"
secrets = ["long"]
sha256 = true
"#;

#[test]
fn a_realm_has_what_it_says_and_the_servers_limits_otherwise() {
    let config = parse(TWO, "t.toml").unwrap_or_else(|it| panic!("{it}"));
    let [one, two] = &config.realms[..] else { panic!("not two realms") };
    assert_eq!((&*one.auth.realm, &*two.auth.realm), ("one.example", "two.example"));
    assert_eq!((one.auth.sha256, two.auth.sha256), (false, true));
    assert_eq!(one.auth.on_revocation, OnRevocation::Refuse);
    assert_eq!(two.auth.on_revocation, OnRevocation::End);
    assert_eq!((one.limits.channels, two.limits.channels), (3, 9));
    assert_eq!(one.limits.allocations_per_user, 7);
    assert_eq!((one.peers.len(), two.peers.len(), config.peers.len()), (1, 0, 1));
    assert_eq!(one.auth.users[0].password, Secret::new("hers"));
    assert!(one.reach.exclusive && !two.reach.exclusive);
    assert_eq!(one.reach.listeners.len(), 2);
    assert_eq!(one.reach.origins, ["https://one.example:443"]);
    assert!(config.auth.users.is_empty() && two.auth.users.is_empty());
}

#[test]
fn each_mistake_in_a_realm_is_told_with_its_place() {
    let realm = |text: &str| format!("[[realm]]\nname = \"r\"\nsecrets = [\"s\"]\n{text}\n");
    let cases = [
        (
            "[realm]\nname = \"x\"".to_owned(),
            "1:1: expected a list of realms, found a section: write [[realm]] above each, with two brackets on each side",
        ),
        (
            "[[realm]]\nsecrets = [\"s\"]".to_owned(),
            "1:1: a realm without a name: every realm needs one: name = \"tenant.example\"",
        ),
        (
            "[[realm]]\nname = \"r\"".to_owned(),
            "2:8: realm.name: nobody can come in by the realm \"r\": give it users, secrets or tokens.keys, or add a store",
        ),
        (realm("user = 1"), "4:1: unknown key \"user\" in [[realm]]: did you mean \"users\"?"),
        (
            realm("[realm.limits]\nalocations = 1"),
            "5:1: unknown key \"alocations\" in [[realm]]: did you mean \"limits.allocations\"?",
        ),
        (realm("sha256 = 1"), "4:10: realm.sha256: expected true or false, found a whole number"),
        (
            realm("origins = [\"null\"]"),
            "4:12: realm.origins: \"null\" is no origin: write it as browsers do, like \"https://meet.example.org\"",
        ),
        (
            realm("server_names = [\"a b\"]"),
            "4:17: realm.server_names: has the domain \"a b\", which is no name of a host: write it as it stands in the certificate, like turn2.example.org",
        ),
        (
            realm("listeners = [\"192.0.2.1:99\"]"),
            "4:14: realm.listeners: nothing listens on 192.0.2.1:99: name one of listen.addresses, listen.tls or listen.dtls",
        ),
        (
            realm("exclusive = true"),
            "4:13: realm.exclusive: nobody can come in by an exclusive realm without a way of its own: give it server_names, listeners or origins",
        ),
        (
            realm("username_anonymity = true\n[realm.users]\na = \"b\""),
            "4:22: realm.username_anonymity: username anonymity cannot be offered together with shared secrets or access tokens: an ephemeral user name or a kid cannot be found by its hash",
        ),
        (
            realm("[realm.users]\n\"a\" = \"x\"\n\"b\" = \"\""),
            "6:1: realm.users: the password of \"b\" must not be empty and have no control characters",
        ),
        (
            realm("[realm.peers]\ndeny = [\"10.0.0.1/8\"]"),
            "5:9: realm.peers.deny: \"10.0.0.1/8\" has bits set behind the prefix: did you mean \"10.0.0.0/8\"?",
        ),
        (
            realm("") + &realm(""),
            "6:8: realm.name: the realm \"r\" is called as another is: realms are told apart by their names",
        ),
        (
            realm("").replace("\"r\"", "\"turnwire\""),
            "2:8: realm.name: the realm \"turnwire\" is called as that of [auth] is: realms are told apart by their names",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(only(&text), expected, "{text}");
    }
}

#[test]
fn what_leads_to_a_realm_leads_to_no_other() {
    let text = TWO.replace("sha256 = true", "server_names = [\"TURN.one.example\"]\nlisteners = [\"0.0.0.0:3478\"]\norigins = [\"https://one.example:443\"]");
    let problems = problems(&text).to_string();
    let expected = [
        "TURN.one.example leads to the realm \"one.example\" already",
        "0.0.0.0:3478 leads to the realm \"one.example\" already",
        "https://one.example:443 leads to the realm \"one.example\" already",
    ];
    for one in expected {
        let low = one.to_lowercase();
        assert!(problems.to_lowercase().contains(&low), "{one} in {problems}");
    }
}

#[test]
fn nothing_secret_of_a_realm_is_shown() {
    let text = "[[realm]]\nname = \"r\"\nsecrets = [\"hunter2\", 3]\nsecret = \"hunter2\"\n[realm.users]\na = 5 # hunter2\n";
    let problems = problems(text).to_string();
    assert!(!problems.contains("hunter2"), "{problems}");
    let config = parse(TWO, "t.toml").unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("hers") && !shown.contains("long"), "{shown}");
}
