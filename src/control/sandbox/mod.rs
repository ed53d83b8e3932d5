//! What this process may do once all is bound and read, whoever has got hold of it.
//!
//! - Files (Landlock, Linux 5.13): those that the configuration names can be read, their directories' new ones as well;
//!   the state directory, the ready file's and the admin socket's can be written; what the system's libraries need for
//!   names and certificates can be read, /etc among it, as far as this process's user may. Nothing can be executed.
//! - System calls (seccomp): those of a server that talks, reads and writes files and has threads. No other program, no
//!   signal to another process, no word into a terminal, no other kind of socket. Whatever else is tried fails with EPERM.
//!
//! It holds for every thread from then on and cannot be taken back: a path that a reload names anew needs a restart.

mod calls;
mod files;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use crate::config::{Config, Reach};

/// What is in force.
#[derive(Debug, Default)]
pub(super) struct Sandbox {
    /// The directories that can be reached, when not all can.
    reach: Option<Reach>,
}

/// What the system's libraries read: names, certificates, time zones, and parts of themselves.
const SYSTEM: [&str; 11] = [
    // As a whole: a rule holds for the file that is there, and who renews resolv.conf or hosts puts another one in
    // its place. What this process's user may not read stays closed.
    "/etc",
    "/usr/share",
    "/usr/lib",
    "/lib",
    "/lib64",
    // What /etc/resolv.conf leads to.
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/proc/self",
    "/proc/sys/net",
    // How many cores this process may have, which is asked again with a reload.
    "/sys/fs/cgroup",
];
/// Devices.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/urandom", "/dev/random"];

impl Sandbox {
    /// Shuts this process in, if the configuration wants that and the kernel can. `state` are directories beside those
    /// that the configuration names.
    pub(super) fn enter(config: &Config, state: Vec<PathBuf>) -> Self {
        if !config.sandbox {
            tracing::info!(event = "sandbox", "no sandbox: process.sandbox is off");
            return Self::default();
        }
        make_spool(config, &state);
        let mut reach = config.reach();
        reach.written.extend(state);
        // Locks and libraries' own files; what is not there needs no rule.
        reach.written.extend(DEVICES.map(PathBuf::from));
        reach.read.extend(SYSTEM.map(PathBuf::from));
        let files = files::restrict(&reach);
        let calls = calls::restrict();
        let (fine, in_words) = match (&files, &calls) {
            (Ok(Some(abi)), Ok(count)) => (
                true,
                format!(
                    "files by Landlock (ABI {abi}), {count} system calls by seccomp; nothing is executed"
                ),
            ),
            (Ok(None), Ok(count)) => (
                false,
                format!(
                    "{count} system calls by seccomp; this kernel has no Landlock, so files are as their owners say"
                ),
            ),
            (files, calls) => {
                let why = [files.as_ref().err(), calls.as_ref().err()];
                let why: Vec<_> = why.into_iter().flatten().map(String::as_str).collect();
                (false, format!("not all of it can be had: {}", why.join("; ")))
            }
        };
        if fine {
            tracing::info!(event = "sandbox", "sandbox: {in_words}");
        } else {
            tracing::warn!(event = "sandbox", "sandbox: {in_words}");
        }
        Self { reach: matches!(files, Ok(Some(_))).then_some(reach) }
    }

    /// The first directory that a configuration needs and that cannot be reached any more.
    pub(super) fn lacks(&self, config: &Config) -> Option<PathBuf> {
        let held = self.reach.as_ref()?;
        let wanted = config.reach();
        // What is not there is missed in other words.
        let within = |directory: &PathBuf, of: &[&Vec<PathBuf>]| {
            !directory.exists()
                || of.iter().any(|held| held.iter().any(|held| directory.starts_with(held)))
        };
        let read = wanted.read.into_iter().find(|it| !within(it, &[&held.read, &held.written]));
        read.or_else(|| wanted.written.into_iter().find(|it| !within(it, &[&held.written])))
    }

    /// What to add to the words of a failure, if the sandbox may be behind it.
    pub(super) fn hint(&self, failure: &str) -> &'static str {
        if self.reach.is_some() && failure.contains("ermission denied") {
            " (the sandbox keeps this process to the directories that its configuration named when it was started: a \
             file elsewhere needs a restart)"
        } else {
            ""
        }
    }
}

/// Makes the directory of what the webhook and Redis have not taken: inside, none can be made beside those that there are.
fn make_spool(config: &Config, state: &[PathBuf]) {
    if config.events.webhook.url.is_none() && config.events.redis.url.is_none() {
        return;
    }
    let wanted = config.events.spool.directory.as_slice();
    let mut wanted = if wanted.is_empty() { state } else { wanted }.iter();
    // Whether it can be used is seen, and said, where it is.
    let made = |directory: &&PathBuf| {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).is_ok()
    };
    let _ = wanted.find(made);
}

#[cfg(test)]
mod tests {
    use super::calls::{F_SETOWN_EX, F_SETSIG, FIOSETOWN, SIOCSPGRP};
    use super::*;
    use std::fs;
    use std::io::ErrorKind;
    use std::process::Command;

    /// Set for the process that is shut in: there is no way back for this one.
    const INSIDE: &str = "TURNWIRE_TEST_SANDBOX";

    fn inside(here: &std::path::Path) {
        let config = Config { files: vec![here.join("config/server.toml")], ..Config::default() };
        let sandbox = Sandbox::enter(&config, vec![here.join("state")]);
        assert!(sandbox.reach.is_some());
        let denied = |failed: std::io::Error| failed.kind() == ErrorKind::PermissionDenied;
        assert!(Command::new("/bin/true").spawn().is_err_and(denied), "another program runs");
        assert_eq!(fs::read_to_string(here.join("config/server.toml")).unwrap(), "text");
        fs::write(here.join("state/secret"), "new").unwrap();
        fs::remove_file(here.join("state/secret")).unwrap();
        assert!(fs::write(here.join("config/server.toml"), "other").is_err_and(denied));
        assert!(fs::read_to_string(here.join("elsewhere/key.pem")).is_err_and(denied));
        assert!(fs::read_dir("/root").is_err_and(denied));
        // No file of its own is named there: one that is put in another's place is read as well.
        assert!(fs::read("/etc/passwd").is_ok() && fs::read_dir("/etc").is_ok());
        assert!(fs::write("/etc/turnwire-test", "").is_err());
        // Threads go on being made, names being looked up, sockets being opened.
        std::thread::spawn(|| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).join().unwrap();
        assert!(std::net::ToSocketAddrs::to_socket_addrs("localhost:1").is_ok());
        assert!(crate::net::interface_addresses().is_ok());
        let raw = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, None);
        assert!(raw.is_err_and(denied), "frames can be read");
        assert!(limits(0).is_ok(), "its own limits are not told");
        for (what, done) in [
            ("types into a terminal", typed()),
            ("sends a signal to its parent", signalled(std::os::unix::process::parent_id())),
            ("has the kernel signal another", owned(libc::F_SETOWN)),
            ("has the kernel signal another (F_SETOWN_EX)", owned(F_SETOWN_EX)),
            ("says which signal the kernel sends", owned(F_SETSIG)),
            ("makes another the owner of a file", given(FIOSETOWN)),
            ("makes another the owner of a socket", given(SIOCSPGRP)),
            ("sees its parent's limits", limits(std::os::unix::process::parent_id())),
        ] {
            assert!(done.is_err_and(denied), "{what}");
        }
        let config = Config { files: vec![here.join("elsewhere/key.pem")], ..Config::default() };
        assert_eq!(sandbox.lacks(&config), Some(here.join("elsewhere")));
        assert_eq!(sandbox.lacks(&Config::default()), None);
        assert!(sandbox.hint("Permission denied (os error 13)").contains("restart"));
    }

    fn told(returned: libc::c_long) -> std::io::Result<()> {
        if returned == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }

    fn typed() -> std::io::Result<()> {
        let letter = b'x';
        // SAFETY: there is no such descriptor, and the letter outlives the call.
        told(unsafe { libc::ioctl(-1, libc::TIOCSTI, &raw const letter) }.into())
    }

    fn signalled(process: u32) -> std::io::Result<()> {
        // SAFETY: it has numbers as arguments only; signal 0 is none.
        told(unsafe { libc::syscall(libc::SYS_tgkill, process, process, 0) })
    }

    fn owned(command: i32) -> std::io::Result<()> {
        // SAFETY: there is no such descriptor, so that nothing is read from the argument.
        told(unsafe { libc::fcntl(-1, command, 0) }.into())
    }

    fn given(request: u32) -> std::io::Result<()> {
        let process = std::os::unix::process::parent_id();
        // SAFETY: there is no such descriptor, and the number outlives the call.
        told(unsafe { libc::ioctl(-1, request.into(), &raw const process) }.into())
    }

    fn limits(process: u32) -> std::io::Result<()> {
        // SAFETY: null pointers stand for nothing to be set and nothing to be told.
        told(unsafe {
            let none = std::ptr::null_mut::<libc::rlimit>();
            libc::syscall(libc::SYS_prlimit64, process, libc::RLIMIT_NOFILE, none, none)
        })
    }

    #[test]
    fn the_spool_is_made_for_whoever_reads_from_it() {
        let here =
            std::env::temp_dir().join(format!("turnwire-made-{}", getrandom::u32().unwrap()));
        let spool = here.join("deep/spool");
        let mut config = Config::default();
        config.events.spool.directory = Some(spool.clone());
        make_spool(&config, &[]);
        assert!(!here.exists(), "nobody reads from it");
        config.events.redis.url = Some(crate::auth::Secret::new("redis://h"));
        make_spool(&config, &[]);
        let made = spool.is_dir();
        let _ = fs::remove_dir_all(&here);
        assert!(made);
    }

    #[test]
    fn whoever_is_inside_reaches_what_is_named_and_starts_nothing() {
        if let Some(here) = std::env::var_os(INSIDE) {
            return inside(std::path::Path::new(&here));
        }
        let here =
            std::env::temp_dir().join(format!("turnwire-sandbox-{}", getrandom::u32().unwrap()));
        for directory in ["config", "state", "elsewhere"] {
            fs::create_dir_all(here.join(directory)).unwrap();
        }
        fs::write(here.join("config/server.toml"), "text").unwrap();
        fs::write(here.join("elsewhere/key.pem"), "key").unwrap();
        let name =
            "control::sandbox::tests::whoever_is_inside_reaches_what_is_named_and_starts_nothing";
        let mut again = Command::new(std::env::current_exe().unwrap());
        let done =
            again.args([name, "--exact", "--nocapture"]).env(INSIDE, &here).output().unwrap();
        fs::remove_dir_all(&here).unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.success() && String::from_utf8_lossy(&done.stdout).contains("1 passed"),
            "{told}"
        );
    }
}
