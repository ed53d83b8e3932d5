//! The plan of the house, kept by a test: rooms import only from those below them, the core sees
//! no clock, socket or random source, `unsafe` stays in two places, and no file becomes a drawer.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from the ground up, each with the rooms it may import from.
const ROOMS: [(&str, &[&str]); 16] = [
    ("time", &[]),
    ("text", &[]),
    ("stun", &[]),
    ("net", &[]),
    ("auth", &["stun", "time"]),
    ("turn", &["auth", "stun", "text", "time"]),
    ("tls", &["net", "time"]),
    ("http", &["tls"]),
    ("worker", &["turn", "auth", "net", "tls", "stun", "time"]),
    ("client", &["auth", "stun", "text", "time"]),
    ("store", &["http", "tls", "auth", "net", "text", "time"]),
    ("web", &["auth", "time"]),
    ("events", &["store", "http", "worker", "turn", "tls", "auth", "time"]),
    ("config", &["events", "store", "http", "worker", "turn", "tls", "auth", "net", "text"]),
    (
        "control",
        &[
            "config", "events", "client", "store", "web", "http", "worker", "turn", "tls", "auth",
            "net", "stun", "text", "time",
        ],
    ),
    ("tools", &["client", "store", "net", "tls", "auth", "stun", "text", "time"]),
];

/// What the core is told and never asks for itself.
const OUTSIDE: [&str; 12] = [
    "Instant::now",
    "SystemTime",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "std::thread",
    "std::fs",
    "std::env",
    "tokio",
    "getrandom",
    "libc",
    "tracing",
];

const LONGEST: usize = 500;

struct Source {
    path: PathBuf,
    /// The room, or the file's own name at the top of the house.
    room: String,
    /// The code without comments and without its unit tests.
    code: String,
    lines: usize,
    depth: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&root).unwrap();
                let first = inside.components().next().unwrap().as_os_str();
                let room = first.to_str().unwrap().trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let lines = text.lines().count();
                let tests = inside.components().any(|part| part.as_os_str() == "tests")
                    || inside.ends_with("tests.rs");
                let code = if tests { String::new() } else { code_of(&text) };
                let depth = depth(inside);
                found.push(Source { path, room, code, lines, depth });
            }
        }
    }
    assert!(found.len() > 50, "the sources are not where they were");
    found
}

fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            match lines.next() {
                // A module in a file of its own, or one more `use`: what follows is code again.
                Some(item) if item.ends_with(';') => continue,
                _ => break,
            }
        }
        code.push_str(line);
        code.push('\n');
    }
    code
}

/// How deep the file's module lies: 1 for a room's `mod.rs`.
fn depth(inside: &Path) -> usize {
    let own = usize::from(!inside.ends_with("mod.rs"));
    inside.components().count() - 1 + own
}

/// The rooms that a file names by going up to the root with `super`.
fn climbs(code: &str, depth: usize) -> Vec<String> {
    let root = "super::".repeat(depth);
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices(&root) {
        let from_start = !code[..at].ends_with("super::") && !code[..at].ends_with("self::");
        let rest = &code[at + root.len()..];
        if from_start && !rest.starts_with("super::") {
            rooms.extend(imports(&format!("crate::{rest}")).into_iter().next());
        }
    }
    rooms
}

/// The rooms that a file names as `crate::ROOM` or in `use crate::{...}`.
fn imports(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let name = |text: &str| {
            text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
        };
        match rest.strip_prefix('{') {
            // The top level of the braces only.
            Some(group) => {
                let (mut depth, mut start) = (0, true);
                for (place, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && c.is_ascii_alphabetic() => {
                            rooms.push(name(&group[place..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
            None => rooms.push(name(rest)),
        }
    }
    rooms
}

#[test]
fn arrows_only_point_down() {
    for source in sources() {
        let Some((_, below)) = ROOMS.iter().find(|(room, _)| *room == source.room) else {
            assert!(["lib", "main", "cli"].contains(&&*source.room), "a new room: {}", source.room);
            continue;
        };
        let climbs = climbs(&source.code, source.depth);
        for import in imports(&source.code).into_iter().chain(climbs) {
            let known = ROOMS.iter().any(|(room, _)| *room == import);
            let fine = !known || import == source.room || below.contains(&&*import);
            assert!(fine, "{} imports {import}", source.path.display());
        }
    }
}

#[test]
fn the_core_is_told_everything() {
    for source in sources() {
        if ["time", "text", "stun", "auth", "turn"].contains(&&*source.room) {
            for outside in OUTSIDE {
                let named = source.code.contains(outside);
                assert!(!named, "{} names {outside}", source.path.display());
            }
        }
    }
}

#[test]
fn unsafe_stays_in_net_and_in_the_bindings_to_openssl() {
    for source in sources() {
        let mut words = source.code.split(|c: char| !c.is_alphanumeric() && c != '_');
        let found = words.any(|word| word == "unsafe");
        let place = source.room == "net" || source.path.ends_with("tls/dtls/ffi.rs");
        assert!(!found || place, "{}", source.path.display());
    }
}

#[test]
fn no_file_is_a_drawer_and_nothing_is_left_open() {
    for source in sources() {
        let path = source.path.display();
        assert!(source.lines <= LONGEST, "{path} has {} lines", source.lines);
        for left in ["todo!", "unimplemented!", "dbg!", "FIXME"] {
            assert!(!source.code.contains(left), "{path} has {left}");
        }
    }
}

#[test]
fn the_reader_of_imports_sees_them_all() {
    let code =
        "use crate::net::{self, X};\nuse crate::{auth, turn::{a, b}, worker};\ncrate::time::Mono";
    assert_eq!(imports(code), ["net", "auth", "turn", "worker", "time"]);
    let code = "use super::super::worker::X;\nuse super::Y;\nsuper::super::super::z";
    assert_eq!(climbs(code, 2), ["worker"]);
    assert_eq!(climbs("use super::worker::X;", 1), ["worker"]);
    let code = "a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\nmod tests {\nc\n}\n";
    assert_eq!(code_of(code), "a\nb\n");
}
