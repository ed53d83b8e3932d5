use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::testing::{Authority, ECDSA};
use super::*;

/// A directory of its own, removed with all that is in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("turnwire-tls-files-{}-{number}", getrandom::u32().unwrap());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_pair_is_read_and_a_key_for_everybody_is_seen() {
    let scratch = Scratch::new();
    let issued = Authority::root("root").issue(&["a.test"], ECDSA);
    let files = Files {
        chain: scratch.write("chain.pem", &issued.certificate),
        key: scratch.write("key.pem", &issued.key),
    };
    assert_eq!(files.load().unwrap().label(), "a.test");
    for (mode, exposed) in [(0o640, false), (0o644, true)] {
        fs::set_permissions(&files.key, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(files.key_is_exposed(), Some(exposed));
    }
    // Nobody comes through a directory that is closed.
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(files.key_is_exposed(), Some(false));
}

#[test]
fn the_file_at_fault_is_named() {
    let scratch = Scratch::new();
    let root = Authority::root("root");
    let issued = root.issue(&["a.test"], ECDSA);
    let chain = scratch.write("chain.pem", &issued.certificate);
    let key = scratch.write("key.pem", &root.issue(&["b.test"], ECDSA).key);
    let missing = scratch.0.join("missing.pem");
    let large = scratch.write("large.pem", &" ".repeat(LARGEST as usize + 1));
    let message = |chain: &Path, key: &Path| {
        let files = Files { chain: chain.to_owned(), key: key.to_owned() };
        files.load().unwrap_err().to_string()
    };
    let name = |path: &Path| format!("{} ", path.display());
    let cases = [
        (&missing, &key, name(&missing) + "cannot be read: No such file"),
        (&chain, &missing, name(&missing) + "cannot be read: No such file"),
        (&scratch.0, &key, name(&scratch.0) + "cannot be read: Is a directory"),
        (&large, &key, name(&large) + "is larger than 1 MiB"),
        (&key, &key, name(&key) + "has no certificate in it, but a private key"),
        (&chain, &key, name(&key) + "does not belong to the certificate"),
    ];
    for (chain, key, expected) in cases {
        let message = message(chain, key);
        assert!(message.starts_with(&expected), "{message}, and not {expected}");
    }
}

#[test]
fn the_barrier_is_the_first_thing_on_the_way_that_hides_the_rest() {
    // Root sees through everything, so nothing here is forbidden: the way itself is what counts.
    let scratch = Scratch::new();
    let archive = scratch.0.join("archive");
    fs::create_dir(&archive).unwrap();
    fs::write(archive.join("key1.pem"), "").unwrap();
    let live = scratch.0.join("live");
    fs::create_dir(&live).unwrap();
    symlink("../archive/key1.pem", live.join("key.pem")).unwrap();
    symlink("../archive/gone.pem", live.join("gone.pem")).unwrap();
    assert_eq!(
        fs::canonicalize(find_barrier(&live.join("key.pem"), LINKS)).unwrap(),
        fs::canonicalize(archive.join("key1.pem")).unwrap()
    );
    let hidden = find_barrier(&live.join("gone.pem"), LINKS);
    assert_eq!(fs::canonicalize(hidden).unwrap(), fs::canonicalize(&archive).unwrap());
    // A link to itself has an end.
    symlink("loop.pem", live.join("loop.pem")).unwrap();
    find_barrier(&live.join("loop.pem"), LINKS);
}

#[test]
fn a_barrier_says_whose_it_is_who_asks_and_what_helps() {
    let barrier = |is_directory| Barrier {
        path: "/etc/letsencrypt/archive".into(),
        is_directory,
        owner: "root".to_owned(),
        group: "ssl-cert".to_owned(),
        mode: 0o700,
        reader: "turnwire".to_owned(),
    };
    let text = barrier(true).to_string();
    let expected = "the directory /etc/letsencrypt/archive is root:ssl-cert with mode 0700, and \
                    this process is turnwire";
    assert!(text.starts_with(expected) && text.contains("g+x"), "{text}");
    for help in ["process.user", "LoadCredential"] {
        assert!(text.contains(help), "{text}");
    }
    assert!(barrier(false).to_string().contains("g+r"));
}

#[test]
fn what_owner_and_mode_let_read_is_barred_by_something_else() {
    let scratch = Scratch::new();
    let file = scratch.0.join("secrets");
    fs::write(&file, "").unwrap();
    let behind = |mode: u32, kind: ErrorKind| {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        Barrier::behind(&kind.into(), &file).map(|it| it.mode)
    };
    assert_eq!(behind(0o040, ErrorKind::PermissionDenied), Some(0o040));
    // As by the sandbox: the owner may, who is this process.
    for mode in [0o600, 0o640, 0o644] {
        assert_eq!(behind(mode, ErrorKind::PermissionDenied), None, "{mode:o}");
    }
    assert_eq!(behind(0o040, ErrorKind::NotFound), None);
    // The first that fits counts, as in the kernel.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o421)).unwrap();
    let about = fs::metadata(&file).unwrap();
    let (owner, group) = (about.uid(), about.gid());
    assert_eq!(rights(&about, owner, &[group]), 4);
    assert_eq!(rights(&about, owner + 1, &[group + 1, group]), 2);
    assert_eq!(rights(&about, owner + 1, &[group + 1]), 1);
}
