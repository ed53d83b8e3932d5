use super::*;
use crate::auth::Algorithm;

const MINUTE: Duration = Duration::from_secs(60);

fn user(name: &str) -> Arc<UserName> {
    Arc::new(UserName { realm: "r".into(), name: name.into() })
}

fn password(user: &UserName, password: &str) -> Answer {
    let keys = Keys::stored_password(&user.realm, &user.name, password).unwrap();
    Answer::User(Arc::new(keys), None)
}

fn at(seconds: u64) -> Mono {
    Mono::from_secs(1000 + seconds)
}

fn credential(directory: &Directory, name: &str, now: Mono) -> Option<Arc<Credential>> {
    match directory.find("r", name, now) {
        Entry::User(keys, _) => keys.of(Algorithm::Md5).map(Arc::clone),
        _ => None,
    }
}

#[test]
fn an_answer_is_relied_upon_for_its_time() {
    let directory = Directory::new(Retention { keep: MINUTE, ..Retention::default() });
    let alice = user("alice");
    assert!(matches!(directory.find("r", "alice", at(0)), Entry::NotAsked));
    assert!(!directory.learn(at(0), &alice, password(&alice, "x")));
    assert!(matches!(directory.find("r", "alice", at(9)), Entry::User(_, false)));
    assert!(matches!(directory.find("r", "alice", at(10)), Entry::User(_, true)));
    assert!(matches!(directory.find("other", "alice", at(10)), Entry::NotAsked));
    assert!(matches!(directory.find("r", "alice", at(60)), Entry::NotAsked));
    let mallory = user("mallory");
    directory.learn(at(0), &mallory, Answer::NoUser);
    assert!(matches!(directory.find("r", "mallory", at(9)), Entry::NoUser));
    assert!(matches!(directory.find("r", "mallory", at(10)), Entry::NotAsked));
}

#[test]
fn who_was_known_is_taken_while_no_store_says_anything() {
    let retention = Retention { keep: MINUTE, stale: MINUTE, ..Retention::default() };
    let directory = Directory::new(retention);
    let (alice, bob) = (user("alice"), user("bob"));
    directory.learn(at(0), &alice, password(&alice, "x"));
    directory.learn(at(61), &bob, Answer::Unavailable);
    assert!(matches!(directory.find("r", "bob", at(61)), Entry::Unavailable));
    assert!(matches!(directory.find("r", "bob", at(62)), Entry::NotAsked), "it may be back");
    assert!(credential(&directory, "alice", at(62)).is_none(), "that was about somebody else");
    directory.learn(at(62), &alice, Answer::Unavailable);
    assert!(credential(&directory, "alice", at(62)).is_some());
    directory.learn(at(63), &bob, Answer::NoUser);
    assert!(credential(&directory, "alice", at(63)).is_some(), "so is that");
    assert!(credential(&directory, "alice", at(67)).is_none(), "it may be back");
    directory.learn(at(67), &alice, password(&alice, "x"));
    directory.learn(at(68), &alice, Answer::NoUser);
    assert!(credential(&directory, "alice", at(68)).is_none(), "it is back");
    directory.learn(at(70), &alice, password(&alice, "x"));
    directory.learn(at(190), &alice, Answer::Unavailable);
    assert!(credential(&directory, "alice", at(190)).is_none(), "that was too long");
}

#[test]
fn a_credential_that_is_handed_out_lives_until_the_store_says_something_else() {
    let directory = Directory::new(Retention::default());
    let alice = user("alice");
    directory.learn(at(0), &alice, password(&alice, "x"));
    let held = credential(&directory, "alice", at(0)).unwrap();
    assert!(!directory.learn(at(5), &alice, password(&alice, "x")));
    let again = credential(&directory, "alice", at(5)).unwrap();
    assert!(Arc::ptr_eq(&held, &again), "it is the same credential");
    assert!(!directory.learn(at(6), &alice, Answer::Unavailable));
    assert_eq!(directory.vouches_for(&held), Some(true));
    assert!(directory.learn(at(7), &alice, password(&alice, "y")), "another password");
    assert_eq!(directory.vouches_for(&held), Some(false));
    assert!(directory.learn(at(8), &alice, Answer::NoUser));
    assert_eq!(directory.vouches_for(&held), Some(false));
    assert!(!directory.learn(at(9), &alice, Answer::NoUser));
}

#[test]
fn the_answers_that_somebody_relies_on_are_asked_for_again_in_time() {
    let directory = Directory::new(Retention { keep: MINUTE, ..Retention::default() });
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    for one in [&alice, &bob, &carol] {
        directory.learn(at(0), one, password(one, "x"));
    }
    let held = credential(&directory, "alice", at(0)).unwrap();
    let _ = credential(&directory, "bob", at(0));
    assert!(directory.pass(at(44), 10).is_empty());
    assert_eq!(directory.pass(at(45), 10), [Arc::clone(&alice), Arc::clone(&bob)]);
    for one in [&alice, &bob] {
        directory.learn(at(45), one, password(one, "x"));
    }
    assert_eq!(directory.pass(at(100), 10), [Arc::clone(&alice)], "nobody has asked for bob");
    let late = at(60 + 3600 + 45);
    assert_eq!(directory.pass(late, 10), [alice], "whoever is in a call is asked for for ever");
    assert_eq!(directory.counts(), (1, 0));
    drop(held);
    assert!(directory.pass(late, 10).is_empty());
    assert_eq!(directory.counts(), (0, 0));
}

#[test]
fn strangers_take_nobodys_room() {
    let directory = Directory::new(Retention { users: 4, ..Retention::default() });
    let alice = user("alice");
    directory.learn(at(0), &alice, password(&alice, "x"));
    let held = credential(&directory, "alice", at(0)).unwrap();
    for number in 0..100 {
        directory.learn(at(1), &user(&format!("stranger{number}")), Answer::NoUser);
        let other = user(&format!("user{number}"));
        directory.learn(at(1), &other, password(&other, "x"));
    }
    assert_eq!(directory.counts(), (4, 4));
    assert!(credential(&directory, "alice", at(1)).is_some(), "she is in a call");
    drop(held);
}

#[test]
fn other_stores_are_asked_about_everybody() {
    let directory = Directory::new(Retention::default());
    let alice = user("alice");
    directory.learn(at(0), &alice, password(&alice, "x"));
    let held = credential(&directory, "alice", at(0)).unwrap();
    directory.set_retention(Retention::default(), true);
    assert!(matches!(directory.find("r", "alice", at(0)), Entry::NotAsked));
    assert_eq!(directory.pass(at(0), 10), [alice]);
    assert_eq!(directory.vouches_for(&held), Some(true), "nobody has said that it is not good");
}

#[test]
fn an_answer_is_good_for_the_request_that_asked_however_short_it_is_kept() {
    let directory = Directory::new(Retention::default());
    let alice = user("alice");
    let Answer::User(keys, _) = password(&alice, "x") else { unreachable!() };
    directory.learn(at(0), &alice, Answer::User(keys, Some(Duration::ZERO)));
    assert!(credential(&directory, "alice", at(0)).is_some());
    assert!(credential(&directory, "alice", at(1)).is_none());
}

#[test]
fn a_user_who_comes_back_is_looked_through_once() {
    let directory = Directory::new(Retention { keep: MINUTE, ..Retention::default() });
    let alice = user("alice");
    for _ in 0..5 {
        directory.learn(at(0), &alice, password(&alice, "x"));
        directory.learn(at(0), &alice, Answer::NoUser);
        directory.learn(at(0), &user("alice"), password(&alice, "x"));
    }
    let _held = credential(&directory, "alice", at(0)).unwrap();
    assert_eq!(directory.counts(), (1, 0));
    assert_eq!(directory.pass(at(45), 100), [Arc::clone(&alice)]);
    assert_eq!(directory.pass(at(45), 100), [alice]);
}

/// Each removal used to look through all the others, with all workers waiting: that took minutes.
#[test]
fn very_many_users_are_removed_in_no_time() {
    let directory = Directory::new(Retention { users: 50_000, ..Retention::default() });
    let realm: Arc<str> = "r".into();
    let everybody: Vec<_> = (0..50_000).map(|number| user(&format!("user{number}"))).collect();
    let began = std::time::Instant::now();
    for user in &everybody {
        let keys = Keys::stored(&realm, &user.name, Some(&[7; 16]), None);
        directory.learn(at(0), user, Answer::User(Arc::new(keys), None));
    }
    assert_eq!(directory.counts().0, 50_000);
    for user in everybody.iter().rev() {
        directory.learn(at(1), user, Answer::NoUser);
    }
    assert_eq!(directory.counts().0, 0);
    assert!(began.elapsed() < MINUTE / 4, "{:?}", began.elapsed());
    assert!(directory.pass(at(1), 60_000).is_empty());
}
