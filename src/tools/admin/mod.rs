//! `turnwire status`, `sessions`, `reload`, `drain`, `log-level`: the admin API on the command line. They speak to a
//! running server over its Unix socket.

pub(super) mod http;
mod options;
pub(super) mod table;
mod text;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::say;
use http::{Server, Trouble, encode};
pub use options::{Command, Target};
use options::{Drain, List, Revoke, Sessions, Which};

/// How often a drain is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Sessions asked for at a time.
const PAGE: usize = 500;

/// Asks the server behind the first of these sockets that is one, and prints the answer. Success is an answer that
/// grants what was asked for.
pub fn run(command: &Command, sockets: &[PathBuf]) -> ExitCode {
    let done = Server::find(sockets).and_then(|server| ask(command, &server));
    match done {
        Ok(text) => say(&format!("{}\n", text.trim_end()), ExitCode::SUCCESS),
        Err(trouble) => {
            let _ = writeln!(io::stderr(), "{trouble}");
            ExitCode::FAILURE
        }
    }
}

fn ask(command: &Command, server: &Server) -> Result<String, Trouble> {
    let json = command.target().json;
    let show = |answer: &Value, text: fn(&Value) -> String| {
        if json { answer.to_string() } else { text(answer) }
    };
    match command {
        Command::Status(_) => Ok(show(&server.get("/v1/status")?, text::status)),
        Command::Reload(_) => Ok(show(&server.post("/v1/reload", &json!({}))?, text::message)),
        Command::LogLevel { level, .. } => {
            let body = json!({ "level": level });
            Ok(show(&server.granted("PUT", "/v1/log-level", Some(&body))?, text::message))
        }
        Command::Revoke(options) => revoke(options, server, show),
        Command::Drain(options) => drain(options, server, |answer| show(answer, text::message)),
        Command::Sessions { command } => match command {
            Sessions::List(options) => Ok(show(&list(options, server)?, text::sessions)),
            Sessions::Show { id, measure, .. } => {
                let time =
                    measure.map_or(String::new(), |it| format!("?measure_ms={}", it.as_millis()));
                let path = format!("/v1/sessions/{}{time}", encode(id));
                Ok(show(&server.get(&path)?, text::session))
            }
            Sessions::Kill { which, .. } => kill(which, server, |answer| show(answer, text::ended)),
        },
    }
}

/// As many pages as it takes.
fn list(options: &List, server: &Server) -> Result<Value, Trouble> {
    let filter = options.which.query();
    let mut sessions = Vec::new();
    let mut after = options.after.clone();
    loop {
        let left = options.limit - sessions.len();
        let mut path = format!("/v1/sessions?limit={}", left.min(PAGE));
        for (name, value) in &filter {
            path.push_str(&format!("&{name}={}", encode(value)));
        }
        if let Some(after) = &after {
            path.push_str(&format!("&after={}", encode(after)));
        }
        let mut page = server.get(&path)?;
        if let Some(Value::Array(more)) = page.get_mut("sessions").map(Value::take) {
            sessions.extend(more);
        }
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() || sessions.len() >= options.limit {
            return Ok(json!({ "sessions": sessions, "next": after }));
        }
    }
}

fn kill(
    which: &Which,
    server: &Server,
    show: impl Fn(&Value) -> String,
) -> Result<String, Trouble> {
    let ended = match &which.id {
        Some(id) => server.granted("DELETE", &format!("/v1/sessions/{}", encode(id)), None)?,
        None => {
            let pairs = which.filter.query();
            let pairs: Vec<_> =
                pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
            server.granted("DELETE", &format!("/v1/sessions?{}", pairs.join("&")), None)?
        }
    };
    match ended["ended"].as_u64() {
        Some(0) => Err(Trouble::Refused("no session is like that: none was ended".to_owned())),
        _ => Ok(show(&ended)),
    }
}

fn revoke(
    options: &Revoke,
    server: &Server,
    show: impl Fn(&Value, fn(&Value) -> String) -> String,
) -> Result<String, Trouble> {
    let Some(user) = &options.user else {
        return Ok(show(&server.get("/v1/credentials/revoked")?, text::revoked));
    };
    if options.undo {
        let realm = options.realm.as_ref();
        let realm = realm.map_or(String::new(), |realm| format!("&realm={}", encode(realm)));
        let path = format!("/v1/credentials/revoked?user={}{realm}", encode(user));
        return Ok(show(&server.granted("DELETE", &path, None)?, text::message));
    }
    let seconds = options.time.as_secs();
    let body = json!({ "user": user, "realm": options.realm, "for_seconds": seconds });
    Ok(show(&server.post("/v1/credentials/revoke", &body)?, text::revocation))
}

fn drain(
    options: &Drain,
    server: &Server,
    show: impl Fn(&Value) -> String,
) -> Result<String, Trouble> {
    let body = options.deadline.map_or(json!({}), |it| json!({ "deadline_seconds": it.as_secs() }));
    if !options.wait {
        return Ok(show(&server.post("/v1/drain", &body)?));
    }
    // Another one may start in its place, in a container under the same number.
    let mut last = server.get("/v1/status")?;
    let is_another = |before: &Value, now: &Value| {
        let age = |status: &Value| status["uptime_seconds"].as_u64();
        before["pid"] != now["pid"] || age(now) < age(before)
    };
    server.post("/v1/drain", &body)?;
    let mut told = String::new();
    loop {
        last = match server.get("/v1/status") {
            Ok(status) if !is_another(&last, &status) => status,
            Err(trouble) if !trouble.is_absence() => return Err(trouble),
            Ok(_) | Err(_) => return Ok(show(&json!({ "message": "the server has ended" }))),
        };
        let line = text::draining(&last);
        if line != told {
            let _ = writeln!(io::stderr(), "{line}");
            told = line;
        }
        sleep(LOOK);
    }
}
