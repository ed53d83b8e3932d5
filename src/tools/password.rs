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
    read(what, file, only_line, first_line)
}

/// The shared secret that a server mints with, out of a file that the server reads too (`auth.secrets_file`), and as it
/// does: the first of several, one a line, without spaces around it.
pub(super) fn shared(file: &Path) -> Result<Secret, String> {
    read("secret", Some(file), first_secret, first_secret)
}

/// How a secret is taken out of a text.
type Taking = fn(&mut dyn Read) -> io::Result<Secret>;

fn read(
    what: &str,
    file: Option<&Path>,
    from_file: Taking,
    from_input: Taking,
) -> Result<Secret, String> {
    let secret = match file.filter(|path| !is_input(path)) {
        Some(path) => {
            let opened = File::open(path);
            opened.and_then(|mut file| from_file(&mut file)).map_err(|error| {
                format!("the {what} cannot be read from {}: {error}", path.display())
            })?
        }
        None if io::stdin().is_terminal() => prompt(what)?,
        None => from_input(&mut io::stdin())
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
    without_echo(stdin.as_fd(), || first_line(&mut stdin.lock()))
        .and_then(|line| line)
        .map_err(failed)
}

/// The first line, without its end.
fn first_line(from: &mut dyn Read) -> io::Result<Secret> {
    let mut text = Zeroizing::new(String::new());
    io::BufReader::new(from.take(LONGEST + 1)).read_line(&mut text)?;
    line(&text)
}

/// The same of a file with nothing else in it: one with more lines is another file.
fn only_line(from: &mut dyn Read) -> io::Result<Secret> {
    let secret = line(&whole(from)?)?;
    if secret.expose().contains('\n') {
        return Err(io::Error::other("there is more than one line in it"));
    }
    Ok(secret)
}

/// The first line with something in it.
fn first_secret(from: &mut dyn Read) -> io::Result<Secret> {
    let text = whole(from)?;
    // Some editors begin a file with a mark of its byte order, which nobody sees.
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    Ok(Secret::new(lines.find(|line| !line.is_empty()).unwrap_or_default()))
}

fn whole(from: &mut dyn Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    from.take(LONGEST + 1).read_to_string(&mut text)?;
    bounded(&text)?;
    Ok(text)
}

fn line(text: &str) -> io::Result<Secret> {
    bounded(text)?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

fn bounded(text: &str) -> io::Result<()> {
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 4 KiB"));
    }
    Ok(())
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
            assert_eq!(first_line(&mut text.as_bytes()).unwrap().expose(), "hero", "{text:?}");
            assert_eq!(only_line(&mut text.as_bytes()).unwrap().expose(), "hero", "{text:?}");
        }
        assert_eq!(first_line(&mut "hero\nand more".as_bytes()).unwrap().expose(), "hero");
        assert!(only_line(&mut "hero\nand more".as_bytes()).is_err());
        assert_eq!(first_line(&mut " he ro \n".as_bytes()).unwrap().expose(), " he ro ");
        assert!(first_line(&mut "x".repeat(5000).as_bytes()).is_err());
        assert!(first_line(&mut &b"\xFF\n"[..]).is_err());
    }

    #[test]
    fn the_secret_of_a_servers_file_is_the_first_as_the_server_reads_it() {
        for text in ["new", "new\nold\n", "\u{feff}new\r\nold\r\n", "\n  new \n"] {
            assert_eq!(first_secret(&mut text.as_bytes()).unwrap().expose(), "new", "{text:?}");
        }
        assert_eq!(first_secret(&mut " \n\n".as_bytes()).unwrap().expose(), "");
        assert!(first_secret(&mut "x\n".repeat(5000).as_bytes()).is_err());
    }

    #[test]
    fn what_is_made_is_never_the_same() {
        let (one, other) = (make().unwrap(), make().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.expose().len(), 32);
    }
}
