use super::super::{Kind, open};
use super::*;

/// A file of its own for one test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let unique = format!("turnwire-store-{}-{name}", getrandom::u32().unwrap());
        Self(std::env::temp_dir().join(unique))
    }

    /// Puts another file in its place.
    fn write(&self, text: &str) {
        let beside = self.0.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, &self.0).unwrap();
    }

    fn settings(&self) -> Settings {
        Settings { path: Some(self.0.clone()), ..Settings::new("file", Kind::File) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn ask(store: &dyn Store, realm: &str, username: &str) -> Result<Option<Found>, StoreError> {
    let question = Question { realm: realm.into(), username: username.into(), client: None };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.look_up(&question))
}

#[test]
fn it_is_read_again_when_it_has_changed() {
    let place = Place::new("changes");
    place.write("alice:first\n");
    let store = open(&place.settings()).unwrap();
    assert_eq!(ask(&*store, "r", "alice"), Ok(Some(Found::password("first"))));
    assert_eq!(ask(&*store, "r", "bob"), Ok(None));
    place.write("alice:other\nbob:second\n");
    assert_eq!(ask(&*store, "r", "alice"), Ok(Some(Found::password("other"))));
    assert_eq!(ask(&*store, "r", "bob"), Ok(Some(Found::password("second"))));
}

#[test]
fn of_a_file_that_is_half_right_nothing_is_taken_until_it_is_right() {
    let place = Place::new("half");
    place.write("alice:first\n");
    let store = open(&place.settings()).unwrap();
    place.write("alice:other\nbob\n");
    let Err(StoreError::Unusable(words)) = ask(&*store, "r", "alice") else {
        panic!("a line of it is none");
    };
    assert!(words.contains(":2: there is no colon") && !words.contains("other"), "{words}");
    place.write("alice:third\n");
    assert_eq!(ask(&*store, "r", "alice"), Ok(Some(Found::password("third"))));
    std::fs::remove_file(&place.0).unwrap();
    assert!(matches!(ask(&*store, "r", "alice"), Err(StoreError::Unreachable(_))));
    place.write("alice:back\n");
    assert_eq!(ask(&*store, "r", "alice"), Ok(Some(Found::password("back"))));
}

#[test]
fn one_that_is_wrong_from_the_start_is_not_opened() {
    let place = Place::new("wrong");
    assert!(matches!(FileStore::open(&place.settings()), Err(StoreError::Unreachable(_))));
    place.write("alice\n");
    assert!(matches!(FileStore::open(&place.settings()), Err(StoreError::Unusable(_))));
    let nowhere = Settings { path: None, ..place.settings() };
    assert!(matches!(FileStore::open(&nowhere), Err(StoreError::Unusable(_))));
}

#[test]
fn it_tells_whether_somebody_has_an_md5_key_only() {
    let place = Place::new("md5");
    let key = "0x0123456789abcdef0123456789abcdef";
    for (text, expected) in
        [("alice:wonder\n".to_owned(), false), (format!("alice:wonder\ndora:{key}\n"), true)]
    {
        place.write(&text);
        assert_eq!(FileStore::open(&place.settings()).unwrap().is_md5_only(), expected, "{text}");
    }
}
