//! `turnwire check --conformance`: the MUSTs of RFC 8489, 8656, 6062, 5780 and 8016, each tried on a server from outside.
//!
//! ```text
//! case       one sentence of an RFC, and how a case can end
//! stand      what is known of the server before the first case, and clients and peers for them
//! client     one 5-tuple: requests with retransmissions, and silence that means something
//! proof      credentials, in all the forms that a server must take or refuse
//! reply      a message from the server, and what can be claimed of it
//! peer       somebody behind the relay
//! rfc*       the cases, a room for each RFC
//! report     text, JSON and JUnit's XML
//! ```
//!
//! A case uses a 5-tuple of its own and leaves nothing behind, so that they run beside each other, and in any order.
//! Silence is claimed only when the server has answered what was sent after. What a server does not offer is
//! skipped; what another case's failure keeps from being tried is called so: neither is a failure, but only what is
//! skipped leaves the exit code at 0.
//!
//! Not here: what takes minutes (the lifetimes of permissions, channels and allocations).

mod case;
mod client;
mod peer;
mod proof;
mod reply;
mod report;
mod rfc5780;
mod rfc6062;
mod rfc8016;
mod rfc8489;
mod rfc8656;
mod stand;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::check::{self, Options, Start, Target};
use super::say;
use crate::client::{Credentials, Uri};
use case::{Case, Done};
use report::Report;
use stand::Stand;

/// How many cases run beside each other.
const BESIDE: usize = 8;
/// The server could not be asked.
const NOTHING: u8 = 3;

/// Every case, in the order of the report.
fn catalogue() -> impl Iterator<Item = &'static Case> {
    [rfc8489::ALL, rfc8656::ALL, rfc6062::ALL, rfc5780::ALL, rfc8016::ALL]
        .into_iter()
        .flatten()
        .flat_map(|cases| cases.iter())
}

/// Tries the cases on each server and prints what came out. 0 when none has failed, 1 when some have or could not be
/// tried, 3 when a server could not be asked: the others' reports are there even so.
pub fn run(options: &Options) -> ExitCode {
    let wanted = |case: &&Case| {
        let begins = |name: &String| case.name.starts_with(name.as_str());
        options.only.is_empty() || options.only.iter().any(begins)
    };
    let cases: Vec<&'static Case> = catalogue().filter(wanted).collect();
    if cases.is_empty() {
        return fail(&format!("no case begins with {}: see --list", options.only.join(", ")));
    }
    if options.list {
        return say(&report::list(&cases, options.json), ExitCode::SUCCESS);
    }
    // Once for all servers: what comes by standard input comes once.
    let users = match Users::read(options) {
        Ok(users) => users,
        Err(why) => return fail(&why),
    };
    let (mut reports, mut code) = (Vec::new(), ExitCode::SUCCESS);
    for uri in &options.uris {
        match examine(uri, options, &users, &cases) {
            Ok(report) => reports.push(report),
            Err(why) => code = fail(&format!("{uri}: {why}")),
        }
    }
    let text = match (options.json, options.junit) {
        (true, _) => report::json(&reports),
        (_, true) => report::junit(&reports),
        _ => report::page(&reports),
    };
    if code == ExitCode::SUCCESS && !reports.iter().all(Report::is_sound) {
        code = ExitCode::FAILURE;
    }
    say(&text, code)
}

/// Who asks.
struct Users {
    first: Arc<Start>,
    second: Option<Arc<Credentials>>,
}

impl Users {
    fn read(options: &Options) -> Result<Self, String> {
        let now = check::unix();
        Ok(Self { first: Arc::new(options.start(now)?), second: second_user(options, now)? })
    }
}

/// Runs the cases on one server, several at a time.
fn examine(
    uri: &Uri,
    options: &Options,
    users: &Users,
    cases: &[&'static Case],
) -> Result<Report, String> {
    let begun = Instant::now();
    // A name leads somewhere at least, or there is a fault.
    let target = Target::all(uri, options).into_iter().next().ok_or("it has no address")?;
    let target = target.map_err(|fault| fault.to_string())?;
    let stand = Stand::new(Arc::clone(&users.first), target, users.second.clone())?;
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = Instant::now();
                    let outcome = (case.run)(&stand);
                    let took = begun.elapsed();
                    if let Ok(mut done) = done.lock() {
                        done.push(Done { case, outcome, took });
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|it| cases.iter().position(|case| case.name == it.case.name));
    Ok(Report { uri: uri.to_string(), done, took: begun.elapsed() })
}

/// Whoever has the secret can be two users; minted for the same second, their names differ in nothing else.
fn second_user(options: &Options, now: u64) -> Result<Option<Arc<Credentials>>, String> {
    let other = Options { user: Some("turnwire-check-2".to_owned()), ..options.clone() };
    if options.secret.is_none()
        && options.secret_file.as_deref().is_none_or(|path| path.as_os_str() == "-")
    {
        return Ok(None);
    }
    Ok(other.start(now)?.identity.map(|identity| identity.credentials))
}

fn fail(problem: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{problem}");
    ExitCode::from(NOTHING)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_places_are_told() {
        let mut names = HashSet::new();
        for case in catalogue() {
            assert!(names.insert(case.name), "{} is there twice", case.name);
            assert!(case.name.contains('.') && !case.name.contains(' '), "{}", case.name);
            assert!(case.section.starts_with(|c: char| c.is_ascii_digit()), "{}", case.name);
            assert!(case.must.ends_with('.'), "{}: {}", case.name, case.must);
        }
    }
}
