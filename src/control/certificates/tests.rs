use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// 2027-01-01, the end of every certificate here.
const END: u64 = 1_798_761_600;

/// A directory of its own, removed with all that is in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("turnwire-certificates-{}-{number}", getrandom::u32().unwrap());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Puts a file in place as careful tools do: whole, and under its name at once.
    fn put(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn files(&self) -> Files {
        Files { chain: self.path("chain.pem"), key: self.path("key.pem") }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate and its key.
fn issue(name: &str) -> [String; 2] {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = date_time_ymd(2027, 1, 1);
    [params.self_signed(&key).unwrap().pem(), key.serialize_pem()]
}

fn watched(files: Files) -> Watched {
    let (read, identity) = (stamps(&files), files.load().unwrap());
    Watched { files, identity, read, trouble: None, warned: None }
}

/// A pair of files that is watched.
fn start() -> (Scratch, Watched) {
    let scratch = Scratch::new();
    let [chain, key] = issue("first.test");
    scratch.put("chain.pem", &chain);
    scratch.put("key.pem", &key);
    let watched = watched(scratch.files());
    (scratch, watched)
}

fn at(seconds: u64) -> Mono {
    Mono::from_secs(seconds)
}

#[test]
fn a_renewed_certificate_is_taken_into_use() {
    let (scratch, mut watched) = start();
    assert!(watched.look(at(0), false).is_none());
    let [chain, key] = issue("second.test");
    // The key comes a moment after the certificate.
    scratch.put("chain.pem", &chain);
    assert!(watched.look(at(2), false).is_none());
    assert_eq!(watched.identity.label(), "first.test");
    scratch.put("key.pem", &key);
    assert!(matches!(watched.look(at(4), false), Some(Remark::Loaded)));
    assert_eq!(watched.identity.label(), "second.test");
    assert!(watched.look(at(100), false).is_none());
}

#[test]
fn written_over_in_place_it_is_seen_as_well() {
    let (_scratch, mut watched) = start();
    let [chain, key] = issue("a-longer-name.test");
    fs::write(&watched.files.key, key).unwrap();
    fs::write(&watched.files.chain, chain).unwrap();
    assert!(matches!(watched.look(at(2), false), Some(Remark::Loaded)));
}

#[test]
fn a_link_that_leads_elsewhere_is_a_change() {
    // As Kubernetes does it: the files are links through a link that is replaced.
    let scratch = Scratch::new();
    for (directory, name) in [("one", "first.test"), ("two", "second.test")] {
        fs::create_dir(scratch.path(directory)).unwrap();
        let [chain, key] = issue(name);
        scratch.put(&format!("{directory}/chain.pem"), &chain);
        scratch.put(&format!("{directory}/key.pem"), &key);
    }
    symlink("one", scratch.path("data")).unwrap();
    symlink("data/chain.pem", scratch.path("chain.pem")).unwrap();
    symlink("data/key.pem", scratch.path("key.pem")).unwrap();
    let mut watched = watched(scratch.files());
    assert!(watched.look(at(0), false).is_none());
    symlink("two", scratch.path("data.new")).unwrap();
    fs::rename(scratch.path("data.new"), scratch.path("data")).unwrap();
    assert!(matches!(watched.look(at(2), false), Some(Remark::Loaded)));
    assert_eq!(watched.identity.label(), "second.test");
}

#[test]
fn what_stays_wrong_is_said_once_for_each_change() {
    let (scratch, mut watched) = start();
    scratch.put("chain.pem", &issue("second.test")[0]);
    let grace = GRACE.as_secs();
    assert!(watched.look(at(10), false).is_none());
    assert!(watched.look(at(9 + grace), false).is_none());
    let Some(Remark::Failed(invalid)) = watched.look(at(10 + grace), false) else {
        panic!("nothing was said");
    };
    assert!(invalid.to_string().contains("key.pem does not belong"), "{invalid}");
    assert!(watched.look(at(500), false).is_none());
    assert_eq!(watched.identity.label(), "first.test");
    // Another change, another word, after another while.
    scratch.put("chain.pem", "nothing");
    assert!(watched.look(at(501), false).is_none());
    assert!(matches!(watched.look(at(501 + grace), false), Some(Remark::Failed(_))));
    // Who asks is answered at once.
    assert!(matches!(watched.look(at(600), true), Some(Remark::Failed(_))));
}

#[test]
fn files_that_come_back_are_no_news_unless_they_were_missed() {
    let (scratch, mut watched) = start();
    let away = |there: &str, gone: &str| {
        fs::rename(scratch.path(there), scratch.path(gone)).unwrap();
    };
    away("key.pem", "away");
    assert!(watched.look(at(0), false).is_none());
    away("away", "key.pem");
    assert!(watched.look(at(2), false).is_none());
    away("key.pem", "away");
    assert!(watched.look(at(4), false).is_none());
    assert!(matches!(watched.look(at(100), false), Some(Remark::Failed(_))));
    away("away", "key.pem");
    assert!(matches!(watched.look(at(102), false), Some(Remark::Recovered)));
    // Read again on demand, they are what they were.
    assert!(watched.look(at(104), true).is_none());
}

#[test]
fn what_cannot_be_read_has_not_recovered_because_it_looks_as_it_did() {
    let (scratch, mut watched) = start();
    // As a key that only the user before this one could read.
    fs::write(scratch.path("key.pem"), "nothing").unwrap();
    watched.read = stamps(&watched.files);
    assert!(matches!(watched.look(at(0), true), Some(Remark::Failed(_))));
    assert!(watched.look(at(2), false).is_none());
    assert!(watched.look(at(100), false).is_none());
}

#[test]
fn its_end_is_announced_and_then_lamented() {
    let (_scratch, mut watched) = start();
    let mut said = Vec::new();
    // Every six hours, from twenty days before to two days after.
    for hour in (0..22 * 24).step_by(6) {
        let unix = END - 20 * DAY + hour * 3600;
        if let Some(Remark::Ends(nearness, _)) = watched.end(unix) {
            said.push((nearness, hour / 24));
        }
    }
    let expected = [
        (Nearness::Near, 6),
        (Nearness::Close, 17),
        (Nearness::Close, 18),
        (Nearness::Close, 19),
        (Nearness::Expired, 20),
        (Nearness::Expired, 21),
    ];
    assert_eq!(said, expected);
}
