//! The admin API on the command line.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `turnwire` with these arguments, and waits for its end.
pub(crate) fn turnwire(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnwire"));
    // Nobody's server is found by accident.
    command.args(args).stdin(Stdio::null()).env_remove("STATE_DIRECTORY");
    command.output().expect("it runs")
}

/// The same for the server behind a socket: what it prints, when it succeeds.
#[track_caller]
pub(crate) fn ok(socket: &Path, args: &[&str]) -> String {
    let socket = ["--socket", socket.to_str().expect("UTF-8")];
    let output = turnwire(&[args, &socket].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What it says on standard error when it fails.
#[track_caller]
pub(crate) fn fails(args: &[&str]) -> String {
    let output = turnwire(args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}
