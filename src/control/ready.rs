//! Says that the server is ready, and that it no longer is: in a file, in the log and to systemd.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::error::StartError;

/// What was bound.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) udp: Vec<SocketAddr>,
    pub(super) tcp: Vec<SocketAddr>,
    /// For TLS alone.
    pub(super) tls: Vec<SocketAddr>,
    /// For DTLS alone.
    pub(super) dtls: Vec<SocketAddr>,
    pub(super) admin: Option<SocketAddr>,
    /// For HTTP alone.
    pub(super) web: Vec<SocketAddr>,
}

impl Bound {
    /// The content of the ready file.
    fn json(&self) -> String {
        let list = |addresses: &[SocketAddr]| {
            let quoted: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
            quoted.join(",")
        };
        let admin = self.admin.map_or_else(|| "null".to_owned(), |admin| format!("\"{admin}\""));
        format!(
            "{{\"udp\":[{}],\"tcp\":[{}],\"tls\":[{}],\"dtls\":[{}],\"web\":[{}],\"admin\":{admin},\"pid\":{}}}\n",
            list(&self.udp),
            list(&self.tcp),
            list(&self.tls),
            list(&self.dtls),
            list(&self.web),
            std::process::id()
        )
    }

    /// The line `ready`, or another one with the same in it.
    pub(super) fn log(&self, event: &'static str) {
        let list = |addresses: &[SocketAddr]| {
            let texts: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
            texts.join(",")
        };
        let admin = self.admin.map(tracing::field::display);
        let (udp, tcp) = (list(&self.udp), list(&self.tcp));
        let tls = (!self.tls.is_empty()).then(|| list(&self.tls));
        let dtls = (!self.dtls.is_empty()).then(|| list(&self.dtls));
        let web = (!self.web.is_empty()).then(|| list(&self.web));
        let pid = std::process::id();
        tracing::info!(event, udp, tcp, tls, dtls, web, admin, pid, "{event}");
    }
}

/// The file that is there while the server is ready.
#[derive(Debug)]
pub(super) struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Removes what a killed server may have left: it would say too early that all is bound.
    pub(super) fn clear(path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the file at once, so that a reader never sees a part of it.
    pub(super) fn write(path: &Path, bound: &Bound) -> io::Result<Self> {
        let temporary = temporary(path);
        let written = create(&temporary)
            .and_then(|mut file| file.write_all(bound.json().as_bytes()))
            .and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written.map(|()| Self(path.to_owned()))
    }

    /// # Errors
    /// It could not be written.
    pub(super) fn can_be(path: Option<&Path>) -> Result<(), StartError> {
        let Some(path) = path else { return Ok(()) };
        let temporary = temporary(path);
        let tried = create(&temporary).and_then(|_| fs::remove_file(&temporary));
        tried.map_err(|error| StartError::ReadyFile(path.to_owned(), error))
    }

    /// Writes it for what is listened on now, if it is to be there.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn renew(path: Option<&Path>, bound: &Bound) -> Result<Option<Self>, StartError> {
        let write = |path: &Path| {
            Self::write(path, bound).map_err(|error| StartError::ReadyFile(path.to_owned(), error))
        };
        path.map(write).transpose()
    }

    /// Removes it.
    pub(super) fn remove(self) {
        let Self(path) = self;
        if let Err(error) = Self::clear(&path) {
            tracing::warn!(event = "ready_file", "the ready file {path:?} stays: {error}");
        }
    }
}

/// Where it is written before it is there.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    PathBuf::from(name)
}

/// A file of our own: in a directory that everybody may write to, somebody may have put a link there.
fn create(temporary: &Path) -> io::Result<File> {
    ReadyFile::clear(temporary)?;
    File::create_new(temporary)
}

/// Tells the service manager, if there is one that listens (sd_notify(3)).
pub(super) fn notify(state: &str) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
        return;
    };
    if let Err(error) = send(address.as_bytes(), state) {
        tracing::warn!(event = "notify", "the service manager at {address:?} is not told: {error}");
    }
}

/// What `systemctl status` shows beside the process.
#[derive(Debug, Default)]
pub(super) struct Status(String);

impl Status {
    /// Tells the service manager how many there are, and whether the last reload has failed, if that is news. Nobody
    /// depends on it: what cannot be told now is told with the next.
    pub(super) fn tell(&mut self, allocations: u64, failed: bool) {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
        else {
            return;
        };
        let trouble = if failed { "; the last reload has failed, see the log" } else { "" };
        let status = format!("STATUS=serving {allocations} allocations{trouble}");
        if status != self.0 && send(address.as_bytes(), &status).is_ok() {
            self.0 = status;
        }
    }
}

/// Tells it that all is well, if it wants to know (`WatchdogSec`).
pub(super) fn watchdog() {
    static WANTED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("WATCHDOG_USEC").is_some());
    if *WANTED {
        notify("WATCHDOG=1");
    }
}

fn send(address: &[u8], state: &str) -> io::Result<()> {
    let address = match address {
        [b'@', name @ ..] => UnixAddress::from_abstract_name(name)?,
        path => UnixAddress::from_pathname(Path::new(std::ffi::OsStr::from_bytes(path)))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the calls.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_json_of_what_was_bound() {
        let bound = Bound {
            udp: vec!["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()],
            tcp: vec![],
            tls: vec![],
            dtls: vec!["127.0.0.1:3".parse().unwrap()],
            admin: None,
            web: vec![],
        };
        let pid = std::process::id();
        let expected = format!(
            "{{\"udp\":[\"127.0.0.1:1\",\"[::1]:2\"],\"tcp\":[],\"tls\":[],\"dtls\":[\"127.0.0.1:3\"],\
             \"web\":[],\"admin\":null,\"pid\":{pid}}}\n"
        );
        assert_eq!(bound.json(), expected);
    }

    #[test]
    fn nobody_has_it_written_over_another_file() {
        let name = format!("turnwire-ready-{}", getrandom::u32().unwrap());
        let place = std::env::temp_dir().join(name);
        fs::create_dir(&place).unwrap();
        let (path, other) = (place.join("ready.json"), place.join("other"));
        fs::write(&other, "precious").unwrap();
        let bound =
            Bound { udp: vec![], tcp: vec![], tls: vec![], dtls: vec![], admin: None, web: vec![] };
        for way in [&temporary(&path), &path] {
            std::os::unix::fs::symlink(&other, way).unwrap();
            ReadyFile::can_be(Some(&path)).unwrap();
            let written = ReadyFile::write(&path, &bound).unwrap();
            assert!(fs::read_to_string(&path).unwrap().contains("\"pid\""));
            written.remove();
        }
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn an_abstract_socket_is_told() {
        let name = format!("turnwire-notify-{}", getrandom::u32().unwrap());
        let address = UnixAddress::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        send(format!("@{name}").as_bytes(), "READY=1").unwrap();
        let mut told = [0; 64];
        let length = manager.recv(&mut told).unwrap();
        assert_eq!(&told[..length], b"READY=1");
    }
}
