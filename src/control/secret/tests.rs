use super::*;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own for each test, removed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("turnwire-secret-{}-{number}", getrandom::u32().unwrap());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join(NAME)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn it_is_made_once_for_its_owner_only_and_found_again() {
    let scratch = Scratch::new();
    let directory = scratch.0.join("new/turnwire");
    let first = find_or_make(Some(&directory), vec![]).unwrap();
    assert_eq!(first.place, Place::Made(directory.join(NAME)));
    assert_eq!((mode(&directory), mode(&directory.join(NAME))), (0o700, 0o600));
    assert_eq!(first.secret.expose().len(), 43);
    let second = find_or_make(Some(&directory), vec![]).unwrap();
    assert_eq!(second.place, Place::Found(directory.join(NAME)));
    assert_eq!(second.secret, first.secret);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn servers_that_start_together_agree() {
    let scratch = Scratch::new();
    create(&scratch.file(), "the other server's secret").unwrap();
    let late = create(&scratch.file(), &generate().unwrap()).unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::AlreadyExists);
    let kept = find_or_make(Some(&scratch.0), vec![]).unwrap();
    assert_eq!(kept.secret.expose(), "the other server's secret");
}

/// In containers that share the directory each may be process 1, and so is whoever was killed before.
#[test]
fn the_number_of_the_process_tells_nobody_apart() {
    let scratch = Scratch::new();
    let leftover = scratch.file().with_extension(format!("{}.new", std::process::id()));
    fs::write(leftover, "half a sec").unwrap();
    let start = || find_or_make(Some(&scratch.0), vec![]).unwrap().secret;
    let all: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(fs::read_to_string(scratch.file()).unwrap().trim(), all[0].expose());
    assert!(all.iter().all(|secret| *secret == all[0]));
}

#[test]
fn one_that_others_may_read_is_refused() {
    let scratch = Scratch::new();
    find_or_make(Some(&scratch.0), vec![]).unwrap();
    fs::set_permissions(scratch.file(), fs::Permissions::from_mode(0o640)).unwrap();
    let error = find_or_make(None, vec![scratch.0.clone()]).unwrap_err();
    assert!(matches!(error, SecretError::Exposed(_)) && error.to_string().contains("chmod 600"));
}

#[test]
fn one_that_is_broken_is_refused_and_kept() {
    let scratch = Scratch::new();
    for content in ["", "short\n", "\u{0}\u{1}", &"x".repeat(5000)] {
        let _ = fs::remove_file(scratch.file());
        write_new(&scratch.file(), content).unwrap();
        let error = find_or_make(Some(&scratch.0), vec![]).unwrap_err();
        assert!(matches!(error, SecretError::Broken(_)), "{content:?}: {error}");
        assert!(scratch.file().exists());
    }
}

#[test]
fn it_stays_in_memory_where_nothing_can_be_written() {
    let scratch = Scratch::new();
    // A file where a directory would have to be: that stops the superuser, too.
    let blocked = scratch.0.join("file");
    fs::write(&blocked, "").unwrap();
    let kept = find_or_make(None, vec![blocked.join("a"), blocked.join("b")]).unwrap();
    let Place::Memory(tried) = kept.place else { panic!("{:?}", kept.place) };
    assert!(tried.contains("file/a") && tried.contains("file/b"), "{tried}");
    let second = find_or_make(None, vec![blocked.join("a")]).unwrap();
    assert_ne!(second.secret, kept.secret);
    let next = find_or_make(None, vec![blocked.join("a"), scratch.0.join("good")]).unwrap();
    assert_eq!(next.place, Place::Made(scratch.0.join("good").join(NAME)));
    let asked_for = find_or_make(Some(&blocked.join("a")), vec![]).unwrap_err();
    assert!(matches!(asked_for, SecretError::Directory(..)));
}

#[test]
fn the_usual_directories_follow_the_environment() {
    let environment = |name: &str| match name {
        "STATE_DIRECTORY" => Some("/var/lib/private/tw:/var/lib/other".to_owned()),
        "XDG_STATE_HOME" => Some("relative".to_owned()),
        "HOME" => Some("/home/user".to_owned()),
        _ => None,
    };
    let expected = ["/var/lib/private/tw", "/var/lib/turnwire", "/home/user/.local/state/turnwire"];
    assert_eq!(usual_directories(environment), expected.map(PathBuf::from));
    assert_eq!(usual_directories(|_| None), [PathBuf::from("/var/lib/turnwire")]);
}

#[test]
fn a_pipe_in_its_place_is_not_waited_for_and_roots_files_are_not_linked_to() {
    let scratch = Scratch::new();
    let made =
        std::process::Command::new("mkfifo").args(["-m", "600"]).arg(scratch.file()).status();
    assert!(made.unwrap().success());
    let error = find_or_make(Some(&scratch.0), vec![]).unwrap_err();
    assert!(matches!(error, SecretError::Broken(_)), "{error}");

    fs::remove_file(scratch.file()).unwrap();
    let precious = Scratch::new();
    create(&precious.file(), "what only root may read").unwrap();
    std::os::unix::fs::symlink(precious.file(), scratch.file()).unwrap();
    let kept = find_or_make(Some(&scratch.0), vec![]).unwrap();
    assert_eq!(kept.secret.expose(), "what only root may read", "the directory is its own");
    // Nobody else may give it away.
    if effective_user() == 0 {
        std::os::unix::fs::chown(&scratch.0, Some(65534), None).unwrap();
        let error = find_or_make(Some(&scratch.0), vec![]).unwrap_err();
        assert!(matches!(error, SecretError::Directory(..)), "{error}");
    }
}
