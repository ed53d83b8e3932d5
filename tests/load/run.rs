//! Runs of `turnwire load`, to their end or until they are interrupted.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// What a run has said.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn new(words: &str) -> Self {
        let output = Command::new(env!("CARGO_BIN_EXE_turnwire"))
            .arg("load")
            .args(words.split_whitespace())
            .output()
            .expect("it runs");
        Self::of(output)
    }

    /// Alice's, for a short time unless the words say another, as JSON.
    pub(crate) fn alice(server: SocketAddr, words: &str) -> Self {
        Self::alice_at(&format!("turn:{server}"), words)
    }

    pub(crate) fn alice_at(uri: &str, words: &str) -> Self {
        let duration = if words.contains("--duration") { "" } else { "--duration 300ms" };
        Self::new(&format!(
            "{uri} --user alice --password wonderland --json --clients 3 {duration} {words}"
        ))
    }

    /// Alice's, that goes on until it is interrupted.
    pub(crate) fn begin(server: SocketAddr, words: &str) -> Running {
        let child = Command::new(env!("CARGO_BIN_EXE_turnwire"))
            .args(["load", &format!("turn:{server}")])
            .args("--user alice --password wonderland --json --duration 1h --clients 3".split(' '))
            .args(words.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Running(child.expect("it runs"))
    }

    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|_| panic!("{} {}", self.stdout, self.stderr))
    }

    /// The report of one that went well.
    #[track_caller]
    pub(crate) fn good(&self) -> Value {
        let report = self.json();
        assert_eq!(self.code, Some(0), "{report:#}");
        assert_eq!(report["ok"], true, "{report:#}");
        assert_eq!(report["failures"], serde_json::json!([]));
        report
    }
}

/// A run that goes on.
pub(crate) struct Running(Child);

impl Running {
    /// How many sockets it has.
    pub(crate) fn sockets(&self) -> usize {
        let all = fs::read_dir(format!("/proc/{}/fd", self.0.id())).expect("it runs");
        let targets = all.filter_map(|one| fs::read_link(one.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// The time for which its first thread has had a core.
    pub(crate) fn cpu(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.0.id()));
        let text = text.expect("it runs");
        Duration::from_nanos(text.split(' ').next().and_then(|it| it.parse().ok()).expect("nanos"))
    }

    /// Gives it no descriptor any more.
    pub(crate) fn starve(&self) {
        let none = libc::rlimit { rlim_cur: 3, rlim_max: 3 };
        let (id, files) = (self.0.id() as i32, libc::RLIMIT_NOFILE);
        // SAFETY: a limit of a child that has not been waited for, from a value that lives through the call.
        assert_eq!(unsafe { libc::prlimit(id, files, &raw const none, std::ptr::null_mut()) }, 0);
    }

    pub(crate) fn wait(self) -> Run {
        Run::of(self.0.wait_with_output().expect("it ends"))
    }

    /// Presses Ctrl-C and waits for the report.
    pub(crate) fn interrupt(self) -> Run {
        // SAFETY: a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.0.id() as i32, libc::SIGINT) }, 0);
        self.wait()
    }
}
