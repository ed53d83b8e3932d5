use super::*;

fn alice() -> Arc<UserName> {
    Arc::new(UserName { realm: "r".into(), name: "alice".into() })
}

fn reload(stores: &Arc<Stores>, config: &Config) {
    let mut part = StoresPart(Arc::clone(stores));
    part.prepare(config, config).unwrap_or_else(|error| panic!("{error}"))();
}

#[test]
fn an_older_answer_brings_no_secret_back() {
    let stores = Stores::new(&Config::default());
    let desk = stores.desk.load_full();
    let realm: Arc<str> = "r".into();
    let hear = |round, secret: &str| {
        let said = vec![(1, Some(vec![Secret::new(secret)]))];
        stores.learn_secrets(&desk, &realm, round, said)
    };
    assert!(!hear(1, "north"));
    assert!(hear(3, "south"), "north is gone");
    // The question was on its way when somebody took north out.
    assert!(!hear(2, "north"));
    assert!(!hear(3, "south"), "it has never left");
    assert!(hear(4, "east"));
}

#[test]
fn what_stores_have_said_does_not_count_when_others_are_asked_before_it_is_filed() {
    let config = Config::default();
    let stores = Stores::new(&config);
    let before = stores.desk.load_full();
    let now = Mono::from_secs(1);
    let realm: Arc<str> = "r".into();
    let north = || vec![(1, Some(vec![Secret::new("north")]))];
    reload(&stores, &config);
    assert_eq!(stores.learn(&before, now, &alice(), Answer::NoUser), None);
    assert_eq!(stores.directory.counts(), (0, 0));
    assert!(!stores.learn_secrets(&before, &realm, 1, north()));
    let after = stores.desk.load_full();
    assert!(!stores.learn_secrets(&after, &realm, 1, Vec::new()), "north was never there");
    assert_eq!(stores.learn(&after, now, &alice(), Answer::NoUser), Some(false));
    assert_eq!(stores.directory.counts(), (0, 1));
}
