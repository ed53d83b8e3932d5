//! What becomes of a database that was read.

use proptest::prelude::*;

use super::super::{Imported, Stock, Weight, database_of, import};
use crate::auth::Secret;
use crate::config::{Config, parse};
use crate::store::{Inventory, Kind, Settings, Stocked, StockedToken};

const FILE: &str = "lt-cred-mech\nrealm=a.example\n";

fn stock(inventory: Inventory) -> Stock {
    let settings = Settings::from_url("coturn", "redis://:Pw0001@127.0.0.1/0").unwrap();
    Stock { settings, inventory }
}

#[track_caller]
fn load(text: &str, inventory: Inventory) -> (Imported, Config) {
    let imported = import(text.as_bytes(), "t", Some(&stock(inventory)), None);
    match parse(&imported.toml, "out.toml") {
        Ok(config) => (imported, config),
        Err(problems) => panic!("{problems}\n{}", imported.toml),
    }
}

fn pair(one: &str, other: &str) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

fn user(realm: &str, name: &str) -> Stocked {
    Stocked { realm: realm.to_owned(), name: name.to_owned(), usable: true }
}

fn has(imported: &Imported, weight: Weight, words: &str) -> bool {
    imported.notes.iter().any(|note| note.weight == weight && note.text.contains(words))
}

#[test]
fn what_coturn_does_not_read_is_not_taken() {
    let inventory = Inventory {
        allowed: vec![pair("", "10.1.0.1"), pair("a.example", "10.1.0.2")],
        options: vec![["a.example", "max-bps", "7"].map(str::to_owned)],
        origins: vec![pair("https://b.example", "b.example")],
        ..Inventory::default()
    };
    let (_, all) = load(FILE, inventory.clone());
    assert_eq!((all.peers.len(), all.limits.bytes_per_second, all.realms.len()), (2, 7, 1));
    let text = format!("{FILE}no-dynamic-ip-list\nno-dynamic-realms\n");
    let (imported, none) = load(&text, inventory);
    assert_eq!((none.peers.len(), none.limits.bytes_per_second, none.realms.len()), (0, 0, 0));
    assert!(has(&imported, Weight::Same, "coturn does not look at these tables"));
}

#[test]
fn a_realm_has_a_part_in_the_capacity_where_its_allocations_are_bounded() {
    let of = |file: &str, bound: &str| {
        let inventory = Inventory {
            options: vec![["b.example", "max-bps", bound].map(str::to_owned)],
            origins: vec![pair("https://b.example", "b.example")],
            ..Inventory::default()
        };
        let (_, all) = load(&format!("{FILE}bps-capacity=90\n{file}"), inventory);
        (all.limits.all_bytes_per_second, all.realms[0].limits.all_bytes_per_second)
    };
    assert_eq!(of("", "7"), (0, 90));
    assert_eq!(of("max-bps=5\n", "7"), (90, 90));
    assert_eq!(of("max-bps=5\n", "0"), (90, 0));
    assert_eq!(of("", "0"), (0, 0));
}

#[test]
fn nobody_is_let_in_whom_coturn_keeps_out() {
    let origins = vec![pair("https://b.example", "b.example")];
    let tokens = vec![StockedToken {
        kid: "k".to_owned(),
        key: Secret::new("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
        algorithm: String::new(),
        timestamp: 0,
        lifetime: 0,
        realm: String::new(),
    }];
    let users = vec![user("b.example", "x"), user("c.example", "y")];
    let inventory = Inventory { users, origins, tokens, ..Inventory::default() };
    let (imported, config) = load(FILE, inventory.clone());
    let names: Vec<_> = config.realms.iter().map(|realm| &*realm.auth.realm).collect();
    assert_eq!(names, ["b.example"], "no origin leads to the other");
    assert!(config.auth.tokens.keys.is_empty(), "without oauth");
    assert!(!imported.left_behind);
    // By file or by secret, coturn asks for the one and not for the other.
    let text = "use-auth-secret\nstatic-auth-secret=n\nrealm=b.example\n";
    assert!(has(&load(text, inventory).0, Weight::Act, "coturn lets no user in by a password"));
    let inventory = Inventory { secrets: vec!["a.example".to_owned()], ..Inventory::default() };
    let words = "coturn takes no shared secret without use-auth-secret";
    assert!(has(&load(FILE, inventory.clone()).0, Weight::Act, words));
    for text in ["", "use-auth-secret\n", "static-auth-secret=n\n"] {
        assert!(!has(&load(text, inventory.clone()).0, Weight::Act, words), "{text}");
    }
}

#[test]
fn a_secret_in_the_file_lets_people_into_every_realm() {
    let origins = vec![pair("https://b.example", "b.example")];
    let text = "use-auth-secret\nstatic-auth-secret=one\nstatic-auth-secret=two\nrealm=a.example\n";
    let (imported, config) = load(text, Inventory { origins, ..Inventory::default() });
    assert_eq!(config.realms[0].auth.secrets, config.auth.secrets);
    assert_eq!(config.auth.secrets.len(), 2);
    assert!(!imported.left_behind);
}

#[test]
fn a_token_of_a_realm_that_is_not_written_is_told_of() {
    let token = |kid: &str, realm: &str| StockedToken {
        kid: kid.to_owned(),
        key: Secret::new("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
        algorithm: String::new(),
        timestamp: 0,
        lifetime: 0,
        realm: realm.to_owned(),
    };
    let tokens = vec![token("of-a", "a.example"), token("of-c", "c.example"), token("of-d", "d")];
    // Nothing else names c.example, and no origin leads to d.
    let users = vec![user("d", "x")];
    let inventory = Inventory { tokens, users, ..Inventory::default() };
    let (imported, config) = load(&format!("{FILE}oauth\n"), inventory.clone());
    assert_eq!(config.auth.tokens.keys.len(), 1);
    assert!(imported.left_behind);
    for (kid, realm) in [("of-c", "c.example"), ("of-d", "d")] {
        let words = format!("the key {kid:?} is of the realm {realm:?}");
        assert!(has(&imported, Weight::Act, &words), "{words}");
    }
    // Where coturn takes none, nobody is left behind.
    let inventory = Inventory { tokens: inventory.tokens[1..].to_vec(), ..inventory };
    let (imported, _) = load(FILE, inventory);
    assert!(!imported.left_behind);
    assert!(has(&imported, Weight::Same, "only with oauth in its file"));
}

#[test]
fn realms_that_are_one_by_another_spelling_still_load() {
    // coturn looks for an origin in the form that turnadmin writes, which is with the port.
    let origins = vec![
        pair("https://b.example", "b.example"),
        pair("https://b.example:443", "c.example"),
        pair("https://c.example", "c.example"),
        pair("https://c.example:443", "c.example"),
    ];
    let users = vec![user("b.example", "x")];
    let (imported, config) = load(FILE, Inventory { origins, users, ..Inventory::default() });
    let reach: Vec<_> = config.realms.iter().map(|realm| &*realm.reach.origins).collect();
    assert_eq!(
        reach,
        [&[][..], &["https://b.example:443".to_owned(), "https://c.example:443".to_owned()]]
    );
    assert!(has(&imported, Weight::Act, "leads to the realm \"c.example\" by another spelling"));
    // Names that RFC 8265 holds for one, and the name that a realm has when nobody has said one.
    let users = vec![user("e\u{301}", "x"), user("\u{e9}", "x"), user("turnwire", "x")];
    let (imported, config) = load("", Inventory { users, ..Inventory::default() });
    assert_eq!(config.realms.len(), 1);
    assert!(imported.left_behind && has(&imported, Weight::Act, "is called as another is"));
}

#[test]
fn what_is_said_of_the_default_realm_and_counts_for_others_is_told() {
    let options = vec![["a.example", "user-quota", "7"].map(str::to_owned)];
    let denied = vec![pair("a.example", "198.41.0.9")];
    let (limits, peers) = ("so counts for the other realms", "is closed to the other realms");
    let alone = Inventory { options, denied, ..Inventory::default() };
    let (imported, _) = load(FILE, alone.clone());
    assert!(!has(&imported, Weight::Act, limits) && !has(&imported, Weight::Act, peers));
    let origins = vec![pair("https://b.example", "b.example")];
    let (imported, _) = load(FILE, Inventory { origins, ..alone });
    assert!(has(&imported, Weight::Act, limits) && has(&imported, Weight::Act, peers));
}

#[test]
fn a_realm_cannot_open_what_the_file_denies_and_that_is_said() {
    let origins = vec![pair("https://b.example", "b.example")];
    let allowed = vec![pair("b.example", "192.0.2.1")];
    let denied = vec![pair("b.example", "192.0.2.1"), pair("b.example", "198.41.0.9")];
    let text = format!("{FILE}denied-peer-ip=192.0.2.0-192.0.2.255\nallowed-peer-ip=198.41.0.9");
    let (imported, config) =
        load(&text, Inventory { origins, allowed, denied, ..Inventory::default() });
    assert!(has(&imported, Weight::Act, "no realm can open what peers.deny closes"));
    // What is allowed wins over both, as in coturn.
    let rules: Vec<_> = config.realms[0].peers.iter().map(|rule| rule.prefix.to_string()).collect();
    assert_eq!(rules, ["192.0.2.1/32"]);
}

#[test]
fn who_cannot_come_in_here_is_left_behind_and_told_of() {
    for (users, words) in [
        (vec![user("a.example", "x\u{7}")], "RFC 8265"),
        (vec![user("", "x")], "the empty realm"),
        (vec![user("b\u{7}", "x")], "a realm has 1 to 127 characters"),
    ] {
        let (imported, _) = load(FILE, Inventory { users, ..Inventory::default() });
        assert!(imported.left_behind && has(&imported, Weight::Act, words), "{words}");
    }
    let keyless = Stocked { usable: false, ..user("a.example", "x") };
    let (imported, _) = load(FILE, Inventory { users: vec![keyless], ..Inventory::default() });
    assert!(!imported.left_behind && has(&imported, Weight::Lost, "neither there nor here"));
}

#[test]
fn the_only_realm_of_a_database_is_everybodys() {
    let users = vec![user("a.example", "x")];
    let (imported, config) = load("", Inventory { users, ..Inventory::default() });
    assert_eq!((&*config.auth.realm, config.realms.len()), ("a.example", 0));
    assert!(!imported.toml.contains("open relay") && !imported.left_behind);
    assert!(imported.notes.iter().all(|note| !note.to_string().contains("Pw0001")));
}

#[test]
fn the_database_of_a_file_is_the_one_that_it_names_last() {
    let of = |text: &str| database_of(text.as_bytes());
    let named = of("userdb=/x\nredis-userdb=\"ip=127.0.0.1 dbname=3\"").unwrap();
    assert_eq!((named.kind, named.url), (Kind::Redis, Some(Secret::new("redis://127.0.0.1/3"))));
    let own = of("use-auth-secret").unwrap();
    assert_eq!(own.path.unwrap().to_str(), Some("/var/lib/turn/turndb"));
    assert!(of("mongo-userdb=mongodb://h/d").is_err());
}

/// Texts that a table may have.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "",
            "a.example",
            "b.example",
            "10.0.0.1",
            "10.0.0.0-10.0.0.9",
            "::1",
            "max-bps",
            "user-quota",
            "7",
            "https://b.example",
            "https://b.example:443",
            "turnwire",
            "A256GCM",
            "c\u{7}",
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,9}",
        ".{0,5}",
    ]
}

fn inventory() -> impl Strategy<Value = Inventory> {
    let pairs = || prop::collection::vec((word(), word()), 0..5);
    let users = prop::collection::vec((word(), word(), any::<bool>()), 0..4);
    let options = prop::collection::vec([word(), word(), word()], 0..4);
    let tokens = prop::collection::vec(([word(), word(), word(), word()], any::<u64>()), 0..4);
    (users, pairs(), pairs(), pairs(), options, tokens).prop_map(
        |(users, allowed, denied, origins, options, tokens)| {
            let user = |(realm, name, usable)| Stocked { realm, name, usable };
            let token = |([kid, key, algorithm, realm], number): ([String; 4], u64)| StockedToken {
                kid,
                key: Secret::new(key),
                algorithm,
                timestamp: number,
                lifetime: number / 3,
                realm,
            };
            let mut tokens: Vec<_> = tokens.into_iter().map(token).collect();
            tokens.sort_by(|a, b| a.kid.cmp(&b.kid));
            tokens.dedup_by(|a, b| a.kid == b.kid);
            Inventory {
                users: users.into_iter().map(user).collect(),
                secrets: Vec::new(),
                allowed,
                denied,
                options,
                origins,
                tokens,
                admins: Vec::new(),
                unread: Vec::new(),
            }
        },
    )
}

proptest! {
    #[test]
    fn whatever_stands_in_a_database_the_result_loads(
        inventory in inventory(),
        text in prop::sample::select(vec!["", FILE, "lt-cred-mech\noauth\nrealm=b.example", "stun-only"]),
    ) {
        let imported = import(text.as_bytes(), "t", Some(&stock(inventory)), None);
        if let Err(problems) = parse(&imported.toml, "out.toml") {
            prop_assert!(false, "{problems}\n{}", imported.toml);
        }
    }
}
