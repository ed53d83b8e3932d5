//! Stores of users, as the file has them.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::check::Finding;
use super::draft::Draft;
use super::found::{Found, decimal};
use super::table::{Entry, get, text};
use super::value::{Wrong, choice, number};
use crate::auth::Secret;
use crate::http::Url;
use crate::store::{FileStore, Kind, Settings};

/// The stores themselves.
pub(super) const ASK: &str = "stores.ask";

const ENTRY: Entry = Entry {
    what: "store",
    form: "write it like NAME = { kind = \"sqlite\", path = \"/var/lib/turnwire/users.db\" }",
    keys: &[
        "kind",
        "path",
        "url",
        "realm",
        "timeout_milliseconds",
        "connections",
        "ca",
        "token",
        "signature_secret",
        "url_file",
        "token_file",
        "signature_secret_file",
    ],
};

/// Keys that may stand in a file of their own, and the keys that name it.
const IN_FILES: [(&str, &str); 3] =
    [("url", "url_file"), ("token", "token_file"), ("signature_secret", "signature_secret_file")];

/// What only an application is asked with.
const OF_HTTP: [&str; 5] =
    ["ca", "token", "signature_secret", "token_file", "signature_secret_file"];

const TIMEOUTS: RangeInclusive<u64> = 10..=10_000;
const CONNECTIONS: RangeInclusive<u64> = 1..=1024;

impl Found<'_, '_> {
    /// A table of stores by their names, in the order in which they are asked.
    fn stores(&mut self) -> Option<Vec<(Settings, Files)>> {
        self.tables(&ENTRY, |name, table| Ok((one(name, table)?, files(table)?)))
    }
}

/// The keys of a store whose values stand in files.
type Files = Vec<(&'static str, PathBuf)>;

pub(super) fn take(to: &mut Draft, it: &mut Found<'_, '_>) {
    if let Some(all) = it.stores() {
        (to.config.stores, to.store_files) = all.into_iter().unzip();
    }
}

fn files(table: &DeTable<'_>) -> Result<Files, Wrong> {
    let mut files = Files::new();
    for (key, file) in IN_FILES {
        let Some(path) = text(table, file)?.filter(|path| !path.is_empty()) else { continue };
        if get(table, key).is_some() {
            return Err(Wrong::new(format!("has {key:?} and {file:?} in it: keep one of them")));
        }
        files.push((file, PathBuf::from(path)));
    }
    Ok(files)
}

/// Gives a store what stood in the file that one of its keys names.
pub(super) fn give(settings: &mut Settings, file: &str, line: &str) -> Result<(), Wrong> {
    let secret = Some(Secret::new(line));
    match file {
        "url_file" => {
            check_url(settings.kind, line)?;
            settings.url = secret;
        }
        "token_file" => settings.token = secret,
        _ => settings.signature_secret = secret,
    }
    Ok(())
}

fn check_url(kind: Kind, url: &str) -> Result<(), Wrong> {
    if kind == Kind::Http {
        // What is wrong with it shows nothing of it.
        Url::parse(url)
            .map_err(|error| Wrong::new(format!("has a url that cannot be used: {error}")))?;
    }
    Ok(())
}

fn one(name: &str, table: &DeTable<'_>) -> Result<Settings, Wrong> {
    let kind = text(table, "kind")?.ok_or_else(|| Wrong::new("has no kind").hint(ENTRY.form))?;
    let kind = choice(kind, Kind::ALL)
        .map_err(|wrong| Wrong::new("is of no kind that is known").hint_of(wrong))?;
    if let Some((what, feature)) = kind.missing() {
        let hint = format!("build it with the feature `{feature}`, or take this store out");
        return Err(
            Wrong::new(format!("needs {what}, without which this turnwire was built")).hint(hint)
        );
    }
    let mut settings = Settings::new(name, kind);
    place(&mut settings, table)?;
    if let Some(realm) = text(table, "realm")? {
        let prepared = crate::auth::prepare(realm);
        let prepared = prepared.ok_or_else(|| Wrong::new("has a realm that is none"))?;
        settings.realm = Some(prepared.into_owned());
    }
    if let Some(millis) = whole(table, "timeout_milliseconds", TIMEOUTS)? {
        settings.timeout = Duration::from_millis(millis);
    }
    if let Some(connections) = whole(table, "connections", CONNECTIONS)? {
        settings.connections = connections as u32;
    }
    let other = OF_HTTP.iter().find(|key| get(table, key).is_some());
    if let (Some(key), true) = (other, kind != Kind::Http) {
        return Err(Wrong::new(format!("has {key:?} in it, which is for the kind \"http\"")));
    }
    let secret = |key| Ok(text(table, key)?.filter(|it| !it.is_empty()).map(Secret::new));
    settings.ca = text(table, "ca")?.map(PathBuf::from);
    settings.token = secret("token")?;
    settings.signature_secret = secret("signature_secret")?;
    Ok(settings)
}

/// A whole number.
fn whole(
    table: &DeTable<'_>,
    name: &str,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, Wrong> {
    match get(table, name) {
        None => Ok(None),
        Some(DeValue::Integer(integer)) => number(&decimal(integer), range)
            .map(Some)
            .map_err(|wrong| Wrong::new(format!("has {name} that cannot be: {}", wrong.what))),
        Some(_) => Err(Wrong::new(format!("must have a whole number as {name}"))),
    }
}

/// Where it is.
fn place(settings: &mut Settings, table: &DeTable<'_>) -> Result<(), Wrong> {
    let (path, url) = (text(table, "path")?, text(table, "url")?);
    match (settings.kind.is_file(), path, url) {
        (true, Some(path), None) if !path.is_empty() => {
            settings.path = Some(PathBuf::from(path));
        }
        (false, None, Some(url)) if !url.is_empty() => settings.url = Some(Secret::new(url)),
        (false, None, None) if text(table, "url_file")?.is_some_and(|path| !path.is_empty()) => {}
        (true, ..) => return Err(Wrong::new("lies in a file: it needs a path, and no url")),
        (false, ..) => return Err(Wrong::new("is not a file: it needs a url, and no path")),
    }
    url.map_or(Ok(()), |url| check_url(settings.kind, url))
}

/// Paths are those from the file's own directory.
pub(super) fn resolve(directory: &Path, draft: &mut Draft) {
    for settings in &mut draft.config.stores {
        for path in [&mut settings.path, &mut settings.ca].into_iter().flatten() {
            *path = directory.join(&*path);
        }
    }
}

/// Reads the files of users as the server would.
pub(super) fn examine(draft: &mut Draft) {
    for (index, settings) in draft.config.stores.clone().iter().enumerate() {
        if settings.kind == Kind::File
            && let Err(error) = FileStore::open(settings)
        {
            let what = format!("the store {:?} {error}", settings.name);
            draft.complain_of(&[(ASK, index)], Wrong::new(what));
        }
    }
    let md5_only = draft.config.stores.iter().position(|it| it.kind.is_md5_only());
    if let (Some(index), true) = (md5_only, draft.config.auth.sha256) {
        let what = format!(
            "the store {:?} keeps MD5 keys, as coturn does: clients that would use SHA-256 are \
             told so at the price of one round trip",
            draft.config.stores[index].name
        );
        draft.remark_on(&[(ASK, index)], Wrong::new(what).hint("auth.sha256 = false spares it"));
    }
}

/// Whose name is behind a hash no store can tell.
pub(super) fn anonymity(draft: &Draft) -> Vec<Finding> {
    if !draft.config.auth.username_anonymity || draft.config.stores.is_empty() {
        return Vec::new();
    }
    let wrong = Wrong::new("username anonymity cannot be offered together with stores")
        .hint("they find users by their names, and clients would send a hash of it (USERHASH)");
    vec![(vec![("auth.username_anonymity", 0), (ASK, 0)], wrong)]
}
