use super::super::{Kind, Reply};
use super::*;
use std::sync::atomic::AtomicUsize;

/// A store that says the same to everybody.
struct Says(Result<Option<Found>, StoreError>, AtomicUsize);

impl Store for Says {
    fn look_up<'a>(&'a self, _: &'a Question) -> Reply<'a, Option<Found>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { self.0.clone() })
    }

    fn secrets<'a>(&'a self, _: &'a str) -> Reply<'a, Vec<Secret>> {
        Box::pin(async { self.0.clone().map(|_| vec![Secret::new("north"), Secret::new("")]) })
    }
}

/// A store that never answers.
struct Silent;

impl Store for Silent {
    fn look_up<'a>(&'a self, _: &'a Question) -> Reply<'a, Option<Found>> {
        Box::pin(std::future::pending())
    }

    fn secrets<'a>(&'a self, _: &'a str) -> Reply<'a, Vec<Secret>> {
        Box::pin(std::future::pending())
    }
}

fn desk(stores: Vec<Arc<dyn Store>>) -> Desk {
    let shelf = |store| {
        let timeout = Duration::from_millis(50);
        let settings = Settings { timeout, connections: 2, ..Settings::new("x", Kind::File) };
        let (free, stats) = (Semaphore::new(2), Arc::default());
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Shelf { number, settings, store, free, stats, failing: Mutex::default() })
    };
    Desk { shelves: stores.into_iter().map(shelf).collect() }
}

fn says(what: Result<Option<Found>, StoreError>) -> Arc<Says> {
    Arc::new(Says(what, AtomicUsize::new(0)))
}

fn ask(desk: &Desk) -> &'static str {
    let question = Question { realm: "r".into(), username: "alice".into(), client: None };
    match run(desk.look_up(&question)) {
        Answer::User(..) => "user",
        Answer::NoUser => "nobody",
        Answer::Unavailable => "unavailable",
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}

#[test]
fn the_first_that_knows_the_user_has_the_last_word() {
    let (user, nobody) = (Ok(Some(Found::password("x"))), Ok(None));
    let down = Err(StoreError::Unreachable("gone".to_owned()));
    let cases = [
        (vec![user.clone(), down.clone()], "user"),
        (vec![nobody.clone(), user.clone()], "user"),
        (vec![down.clone(), user.clone()], "user"),
        (vec![nobody.clone(), nobody.clone()], "nobody"),
        (vec![nobody.clone(), down.clone()], "unavailable"),
        (vec![down, nobody], "unavailable"),
        (vec![Ok(Some(Found::password("\u{7}")))], "unavailable"),
        (vec![], "unavailable"),
    ];
    for (stores, expected) in cases {
        let words = format!("{stores:?}");
        let stores = stores.into_iter().map(|it| says(it) as Arc<dyn Store>).collect();
        assert_eq!(ask(&desk(stores)), expected, "{words}");
    }
    let (first, second) = (says(user), says(Ok(None)));
    let both = desk(vec![Arc::clone(&first) as Arc<dyn Store>, Arc::clone(&second) as _]);
    ask(&both);
    let asked = |store: &Says| store.1.load(Ordering::Relaxed);
    assert_eq!((asked(&first), asked(&second)), (1, 0));
}

#[test]
fn one_that_is_silent_has_no_answer_when_its_time_is_over() {
    let desk = desk(vec![Arc::new(Silent)]);
    assert_eq!(ask(&desk), "unavailable");
    assert_eq!(desk.stats()[0].1.get(Outcome::TimedOut), 1);
    assert_eq!(run(desk.secrets("r"))[0].1, None);
}

#[test]
fn questions_beyond_those_that_a_store_takes_at_a_time_wait_within_their_time() {
    let desk = desk(vec![Arc::new(Silent)]);
    let question = Question { realm: "r".into(), username: "alice".into(), client: None };
    let began = Instant::now();
    run(async {
        let ask = || desk.look_up(&question);
        tokio::join!(ask(), ask(), ask(), ask(), ask());
    });
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(desk.stats()[0].1.get(Outcome::TimedOut), 5);
}

#[test]
fn secrets_of_all_stores_count_and_empty_ones_do_not() {
    let desk = desk(vec![says(Ok(None)), says(Ok(None))]);
    let said = run(desk.secrets("r"));
    assert_ne!(said[0].0, said[1].0);
    assert!(said.iter().all(|(_, secrets)| *secrets == Some(vec![Secret::new("north")])));
}

#[test]
fn what_one_store_says_counts_while_another_says_nothing() {
    let down = says(Err(StoreError::Unreachable("gone".to_owned())));
    let desk = desk(vec![down, says(Ok(None)), Arc::new(Silent)]);
    let said: Vec<_> = run(desk.secrets("r")).into_iter().map(|(_, secrets)| secrets).collect();
    assert_eq!(said, [None, Some(vec![Secret::new("north")]), None]);
}

#[test]
fn a_store_of_another_realm_is_not_asked_and_what_it_is_asked_is_all_that_counts() {
    let store = says(Err(StoreError::Unreachable("gone".to_owned())));
    let mut desk = desk(vec![Arc::clone(&store) as Arc<dyn Store>]);
    // unwrap: nobody else has it.
    Arc::get_mut(&mut desk.shelves[0]).unwrap().settings.realm = Some("own".to_owned());
    let own = Question { realm: "own".into(), username: "alice".into(), client: None };
    assert!(matches!(run(desk.look_up(&own)), Answer::Unavailable));
    assert_eq!(ask(&desk), "nobody");
    assert_eq!(run(desk.secrets("r")), []);
    assert_eq!(store.1.load(Ordering::Relaxed), 1);
    let stats = &desk.stats()[0].1;
    assert_eq!((stats.get(Outcome::Failed), stats.get(Outcome::Unknown)), (1, 0));
    assert!(desk.shelves[0].failing.lock().unwrap().is_some(), "nobody has seen it answer");
}

#[test]
fn a_store_that_gives_its_secrets_again_is_back() {
    let desk = desk(vec![says(Ok(None))]);
    *desk.shelves[0].failing.lock().unwrap() = Some((Instant::now(), Instant::now()));
    run(desk.secrets("r"));
    assert!(desk.shelves[0].failing.lock().unwrap().is_none());
}
