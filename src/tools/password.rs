//! Passwords and secrets that come in without being shown.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Read, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::auth::Secret;
use crate::net::without_echo;

/// What is longer is another file.
const LONGEST: u64 = 4096;

/// A new one: made, read from a file or from standard input, or typed twice.
pub(super) fn new(what: &str, generate: bool, file: Option<&Path>) -> Result<Secret, String> {
    if generate {
        return make();
    }
    let typed = file.is_none_or(is_input) && io::stdin().is_terminal();
    let secret = old(what, file)?;
    if typed && prompt(&format!("{what}, again"))? != secret {
        return Err("the two are not the same: nothing was changed".to_owned());
    }
    Ok(secret)
}

/// One that is known already: the only line of a file; or without a file, or with `-`, the first line of standard input,
/// or what is typed there.
pub(super) fn old(what: &str, file: Option<&Path>) -> Result<Secret, String> {
    let secret = match file.filter(|path| !is_input(path)) {
        Some(path) => {
            let opened = File::open(path);
            opened.and_then(only_line).map_err(|error| {
                format!("the {what} cannot be read from {}: {error}", path.display())
            })?
        }
        None if io::stdin().is_terminal() => prompt(what)?,
        None => first_line(io::stdin())
            .map_err(|error| format!("the {what} cannot be read from standard input: {error}"))?,
    };
    if secret.expose().is_empty() {
        return Err(format!("the {what} is empty"));
    }
    Ok(secret)
}

fn is_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn prompt(what: &str) -> Result<Secret, String> {
    let failed = |error: io::Error| format!("the {what} cannot be read: {error}");
    let mut stderr = io::stderr();
    write!(stderr, "{what}: ").and_then(|()| stderr.flush()).map_err(failed)?;
    let stdin = io::stdin();
    without_echo(stdin.as_fd(), || first_line(stdin.lock())).and_then(|line| line).map_err(failed)
}

/// The first line, without its end.
fn first_line(from: impl Read) -> io::Result<Secret> {
    let mut text = Zeroizing::new(String::new());
    io::BufReader::new(from.take(LONGEST + 1)).read_line(&mut text)?;
    line(&text)
}

/// The same of a file with nothing else in it: one with more lines is another file.
fn only_line(from: impl Read) -> io::Result<Secret> {
    let mut text = Zeroizing::new(String::new());
    from.take(LONGEST + 1).read_to_string(&mut text)?;
    let secret = line(&text)?;
    if secret.expose().contains('\n') {
        return Err(io::Error::other("there is more than one line in it"));
    }
    Ok(secret)
}

fn line(text: &str) -> io::Result<Secret> {
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 4 KiB"));
    }
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

/// 192 bits, as characters that need no quoting anywhere.
fn make() -> Result<Secret, String> {
    let mut bytes = Zeroizing::new([0; 24]);
    getrandom::fill(&mut *bytes)
        .map_err(|error| format!("the system gives no random bytes: {error}"))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_password_whatever_ends_it() {
        for text in ["hero", "hero\n", "hero\r\n"] {
            assert_eq!(first_line(text.as_bytes()).unwrap().expose(), "hero", "{text:?}");
            assert_eq!(only_line(text.as_bytes()).unwrap().expose(), "hero", "{text:?}");
        }
        assert_eq!(first_line("hero\nand more".as_bytes()).unwrap().expose(), "hero");
        assert!(only_line("hero\nand more".as_bytes()).is_err());
        assert_eq!(first_line(" he ro \n".as_bytes()).unwrap().expose(), " he ro ");
        assert!(first_line("x".repeat(5000).as_bytes()).is_err());
        assert!(first_line(&b"\xFF\n"[..]).is_err());
    }

    #[test]
    fn what_is_made_is_never_the_same() {
        let (one, other) = (make().unwrap(), make().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.expose().len(), 32);
    }
}
