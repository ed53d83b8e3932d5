//! The page's own files: all of them are there, are kept by browsers as long as they are the same, bring rules with them
//! that keep the page to this server, and say everything in both languages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use turnwire::http::{Client, HeaderValue, Limits, Request, StatusCode, Url, header};

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/assets")
}

/// Every file of the page by its name below `assets/`.
fn files() -> BTreeMap<String, String> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![assets()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(assets()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// The pairs of words by their keys: each in one file only.
fn words(files: &BTreeMap<String, String>) -> BTreeMap<String, [String; 2]> {
    let mut words = BTreeMap::new();
    for (name, text) in files.iter().filter(|(name, _)| name.starts_with("words/")) {
        let pairs: BTreeMap<String, [String; 2]> =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (key, pair) in pairs {
            assert!(words.insert(key.clone(), pair).is_none(), "{key} stands in two files");
        }
    }
    words
}

/// The `{places}` that values are put into.
fn places(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).map(|rest| rest.split_once('}').expect("an end").0).collect()
}

#[test]
fn everything_is_said_in_both_languages_with_the_same_values() {
    for (key, [english, korean]) in words(&files()) {
        assert!(!english.is_empty() && !korean.is_empty(), "{key}");
        assert_eq!(places(&english), places(&korean), "{key}");
    }
}

/// Keys that scripts name whole, and beginnings of keys that they put together.
fn named(script: &str, known: &BTreeSet<&str>) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut whole, mut begun) = (BTreeSet::new(), BTreeSet::new());
    let code = script.lines().filter(|line| !line.trim_start().starts_with(['/', '*']));
    for piece in code.flat_map(|line| line.split(['\'', '`'])) {
        let is_key =
            |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
        let first = piece.split('.').next().unwrap();
        if !known.contains(first) || !piece.contains('.') {
            continue;
        }
        match piece.split_once("${") {
            Some((beginning, _)) if is_key(beginning) => begun.insert(beginning.to_owned()),
            None if is_key(piece) && !piece.ends_with(".js") => whole.insert(piece.to_owned()),
            _ => continue,
        };
    }
    (whole, begun)
}

#[test]
fn words_that_scripts_ask_for_are_there_and_no_others() {
    let files = files();
    let words = words(&files);
    let known: BTreeSet<&str> = words.keys().map(|key| key.split('.').next().unwrap()).collect();
    let mut used = BTreeSet::new();
    for (name, script) in files.iter().filter(|(name, _)| name.ends_with(".js")) {
        let (whole, begun) = named(script, &known);
        for key in whole {
            assert!(words.contains_key(&key), "{name} says {key}, which has no words");
            used.insert(key);
        }
        for beginning in begun {
            let before = used.len();
            used.extend(words.keys().filter(|key| key.starts_with(&beginning)).cloned());
            assert!(
                used.len() > before || used.iter().any(|key| key.starts_with(&beginning)),
                "{name} says {beginning}..., which has no words"
            );
        }
    }
    let idle: Vec<_> = words.keys().filter(|key| !used.contains(*key)).collect();
    assert!(idle.is_empty(), "nobody says {idle:?}");
}

#[test]
fn nothing_comes_from_elsewhere_and_nothing_is_written_into_the_page() {
    for (name, text) in files() {
        for away in ["http://", "https://", "//cdn", "innerHTML", "eval(", "document.write"] {
            let namespace = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!namespace.contains(away), "{name} has {away}");
        }
        if name.ends_with(".html") {
            assert!(!text.contains("style=") && !text.contains("<style"), "{name}: style inline");
            assert!(!text.contains(" on"), "{name}: a handler inline");
            assert_eq!(
                text.matches("<script").count(),
                text.matches("<script type=\"module\" src=").count()
            );
        }
    }
}

/// The page on a port of its own: `http://ADDRESS`.
async fn served() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, turnwire::web::page()).await });
    format!("http://{address}")
}

async fn get(url: &str, path: &str, known: Option<&HeaderValue>) -> turnwire::http::Answer {
    let url = Url::parse(&format!("{url}{path}")).unwrap();
    let limits = Limits { answer: 1 << 20, ..Limits::default() };
    let client = Client::new(url, &turnwire::tls::Trust::System, limits).unwrap();
    let mut request = Request::get(None);
    request.headers.extend(known.map(|tag| (header::IF_NONE_MATCH, tag.clone())));
    client.send(request).await.unwrap()
}

#[tokio::test]
async fn each_file_is_served_as_it_is_and_not_twice() {
    let url = served().await;
    for (name, text) in files() {
        let path = if name == "index.html" { "/".to_owned() } else { format!("/page/{name}") };
        let first = get(&url, &path, None).await;
        assert_eq!((first.status, &first.body[..]), (StatusCode::OK, text.as_bytes()), "{path}");
        let again = get(&url, &path, Some(&first.headers["etag"])).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        let other = get(&url, &path, Some(&HeaderValue::from_static("\"another\""))).await;
        assert_eq!(other.status, StatusCode::OK, "{path}");
    }
    assert_eq!(get(&url, "/page/absent.js", None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn each_file_brings_the_rules_that_keep_the_page_here() {
    let url = served().await;
    for path in ["/", "/page/app.js", "/page/style.css", "/page/words/shell.json"] {
        let headers = get(&url, path, None).await.headers;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["cache-control"], "no-cache");
    }
    let script = get(&url, "/page/app.js", None).await;
    assert_eq!(script.headers["content-type"], "text/javascript; charset=utf-8");
}
