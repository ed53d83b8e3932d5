use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory of its own, removed with all that is in it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("turnwire-socket-{}-{number}", getrandom::u32().unwrap());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn it_is_its_owners_alone_and_goes_with_the_server() {
    let place = Place::new();
    let (socket, _listener) = Socket::bind(&place.socket()).unwrap();
    assert_eq!(fs::metadata(socket.path()).unwrap().mode() & 0o777, 0o600);
    UnixStream::connect(socket.path()).unwrap();
    socket.remove();
    assert!(!place.socket().exists());
}

#[test]
fn that_of_a_server_that_lives_is_refused_and_that_of_a_dead_one_replaced() {
    let place = Place::new();
    let first = Socket::bind(&place.socket()).unwrap();
    let refused = Socket::bind(&place.socket()).err().unwrap();
    assert!(matches!(&refused, SocketError::Taken(path) if *path == place.socket()), "{refused}");
    UnixStream::connect(place.socket()).expect("the first one is still there");
    // Killed: nothing is taken away.
    drop(first);
    assert!(place.socket().exists());
    let (_socket, _listener) = Socket::bind(&place.socket()).unwrap();
    UnixStream::connect(place.socket()).unwrap();
}

#[test]
fn what_is_no_socket_of_ours_stays() {
    let place = Place::new();
    fs::write(place.socket(), "precious").unwrap();
    let refused = Socket::bind(&place.socket()).err().unwrap();
    assert!(matches!(refused, SocketError::Foreign(_)), "{refused}");
    assert_eq!(fs::read_to_string(place.socket()).unwrap(), "precious");
    fs::remove_file(place.socket()).unwrap();
    // Another program's, which knows nothing of our lock.
    let _other = UnixListener::bind(place.socket()).unwrap();
    let refused = Socket::bind(&place.socket()).err().unwrap();
    assert!(matches!(refused, SocketError::Taken(_)), "{refused}");
    UnixStream::connect(place.socket()).expect("it is still there");
}

#[test]
fn a_link_in_the_place_of_the_lock_is_not_followed() {
    let place = Place::new();
    let (elsewhere, lock) = (place.0.join("elsewhere"), place.0.join("admin.sock.lock"));
    std::os::unix::fs::symlink(&elsewhere, &lock).unwrap();
    for _ in ["to nothing", "to a file"] {
        let refused = Socket::bind(&place.socket()).err().unwrap();
        assert!(matches!(refused, SocketError::System(..)), "{refused}");
        assert!(!place.socket().exists());
        fs::write(&elsewhere, "precious").unwrap();
    }
    fs::remove_file(lock).unwrap();
    Socket::bind(&place.socket()).unwrap();
}

#[test]
fn a_path_that_no_socket_can_have_is_named() {
    let long = PathBuf::from(format!("/tmp/{}", "x".repeat(LONGEST)));
    assert!(matches!(Socket::bind(&long).err().unwrap(), SocketError::TooLong(_)));
}

#[test]
fn the_first_directory_that_can_be_used_is() {
    let place = Place::new();
    fs::write(place.0.join("file"), "").unwrap();
    let all = [place.0.join("file/below"), place.0.join("new/below"), place.0.join("other")];
    let (socket, _listener) = Socket::bind_in(&all).unwrap();
    assert_eq!(socket.path(), place.0.join("new/below/admin.sock"));
    assert!(matches!(Socket::bind_in(&all[..1]), Err(SocketError::System(..))));
}
