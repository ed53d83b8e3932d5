//! What the client-side subcommands do. They stand on [`crate::client`] and know nothing of the server's rooms.

pub mod admin;
mod argument;
pub mod check;
pub mod conformance;
pub mod credentials;
pub mod explain;
pub mod inventory;
pub mod load;
pub mod nat;
mod password;
pub mod users;

use std::io::{self, Write as _};
use std::process::ExitCode;

/// Prints what was asked for, and gives this exit code. Whoever has read enough may close the pipe; what is lost in any
/// other way is told, and fails.
pub fn say(text: &str, code: ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            // There is no third place to say it.
            let _ = writeln!(io::stderr(), "standard output cannot be written: {error}");
            ExitCode::FAILURE
        }
        _ => code,
    }
}
