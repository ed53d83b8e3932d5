//! Secrets that stand in files of their own, for systemd's LoadCredential, a Docker secret, or a directory that fewer
//! people read. A relative path counts from the configuration's own directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::draft::{Draft, Place};
use super::events::{self, SECRET_FILE as WEBHOOK};
use super::source::read_text;
use super::stores;
use super::value::{self, Wrong};
use crate::auth::Secret;
use crate::http::Url;
use crate::store::Kind;
use crate::tls::others_may_read;

/// Adds what stands in files of its own: shared secrets, the admin's tokens, the webhook's secret and the stores'.
pub(super) fn read(directory: &Path, draft: &mut Draft) {
    let shared = draft.secrets_file.clone();
    if let Some((place, lines)) =
        lines_of(directory, shared, ("auth.secrets_file", 0), "secret", draft)
    {
        draft.note("auth.secrets", lines.iter().map(|_| place.clone()));
        draft.config.auth.secrets.extend(lines.iter().map(|line| Secret::new(line.as_str())));
    }
    let tokens = draft.tokens_file.clone();
    if let Some((place, lines)) =
        lines_of(directory, tokens, ("admin.tokens_file", 0), "token", draft)
    {
        for line in lines {
            match value::admin_token(&line) {
                Ok(token) => draft.config.admin_tokens.push(token),
                Err(wrong) => draft.complain(place.clone(), wrong),
            }
        }
    }
    let webhook = draft.webhook_secret_file.clone();
    if let Some((place, lines)) = lines_of(directory, webhook, (WEBHOOK, 0), "secret", draft)
        && let Some(line) = lines.first()
    {
        match events::signing(line) {
            Ok(secret) => draft.config.events.webhook.secret = Some(secret),
            Err(wrong) => draft.complain(place, wrong),
        }
    }
    for (index, files) in draft.store_files.clone().into_iter().enumerate() {
        for (key, path) in files {
            let wrong = match first_line(&directory.join(&path), draft) {
                Ok(line) => stores::give(&mut draft.config.stores[index], key, &line).err(),
                Err(wrong) => Some(wrong),
            };
            if let Some(Wrong { what, hint }) = wrong {
                let name = &draft.config.stores[index].name;
                let what = format!("the store {name:?}: {key}: {what}");
                draft.unread(stores::ASK);
                draft.complain_of(&[(stores::ASK, index)], Wrong { what, hint });
            }
        }
    }
}

/// Whether secrets stand in the text itself, as long as no file beside it has been read.
pub(super) fn are_in_text(draft: &Draft) -> bool {
    let config = &draft.config;
    let (auth, events) = (&config.auth, &config.events);
    let has_password = |url: &Secret| has_password(url.expose());
    !auth.secrets.is_empty()
        || !auth.users.is_empty()
        || !auth.tokens.keys.is_empty()
        || !config.admin_tokens.is_empty()
        || config.redirect.credentials.is_some()
        || config.web.keys.iter().any(|key| key.secret.is_some())
        || config.stores.iter().any(|store| {
            store.token.is_some()
                || store.signature_secret.is_some()
                || store.url.as_ref().is_some_and(has_password)
        })
        || events.webhook.secret.is_some()
        || events.webhook.url.as_ref().is_some_and(Url::has_query)
        || events.redis.url.as_ref().is_some_and(has_password)
        || draft.realms.iter().any(|realm| are_in_text(realm.draft()))
}

/// Whether something in a URL lets one in: `//NAME:PASSWORD@` or `?token=...`.
fn has_password(url: &str) -> bool {
    const NAMES: [&str; 6] = ["password=", "passwd=", "token=", "key=", "api_key=", "secret="];
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':'))
        || rest.split(['?', '&', ' ']).any(|part| NAMES.iter().any(|name| part.starts_with(name)))
}

/// Files with secrets in them that everybody on this host may read, each once; `own` is the configuration itself.
pub(super) fn exposed(own: Option<&Path>, is_secretive: bool, draft: &Draft) -> Vec<PathBuf> {
    let own = |path: &Path| own == Some(path);
    let files = draft.config.files.iter().filter(|path| !own(path) || is_secretive);
    let stores = draft.config.stores.iter().filter(|store| store.kind == Kind::File);
    let all = files.chain(stores.filter_map(|store| store.path.as_ref()));
    // Docker's secrets are everybody's, in a container that is nobody else's.
    let all = all.filter(|path| !path.starts_with("/run/secrets"));
    let all: BTreeSet<_> = all.filter(|path| others_may_read(path) == Some(true)).collect();
    all.into_iter().cloned().collect()
}

/// Remarks on them, but for the configuration itself, which may lie elsewhere while it is checked.
pub(super) fn examine(own: Option<&Path>, draft: &mut Draft) {
    for path in draft.config.exposed.clone() {
        if own != Some(&path) {
            let what = format!("everybody on this host may read {}", path.display());
            let wrong = Wrong::new(what).hint("take that right away with chmod o-r");
            draft.remark_on(&[], wrong);
        }
    }
}

/// Adds the shared secrets of the file that a flag names.
pub(super) fn read_flag(path: Option<&Path>, draft: &mut Draft) {
    const FLAG: &str = "--secret-file";
    let Some(path) = path else { return };
    draft.config.files.push(path.to_owned());
    match lines(path, "secret") {
        Ok(lines) => {
            for line in lines {
                draft.config.auth.secrets.push(Secret::new(line.as_str()));
                draft.note("auth.secrets", [Place::Flag(FLAG)]);
                draft.config.shown.add("auth.secrets", None, None);
            }
        }
        Err(wrong) => draft.complain(Place::Flag(FLAG), wrong),
    }
}

/// The lines of a file that a key names, at least one, and where it names it.
pub(super) fn lines_of(
    directory: &Path,
    path: Option<PathBuf>,
    (key, index): (&'static str, usize),
    what: &str,
    draft: &mut Draft,
) -> Option<(Place, Vec<Zeroizing<String>>)> {
    let (path, place) = (directory.join(path?), draft.place(key, index)?);
    draft.config.files.push(path.clone());
    match lines(&path, what) {
        Ok(lines) => Some((place, lines)),
        Err(wrong) => {
            draft.unread(key);
            draft.complain(place, wrong);
            None
        }
    }
}

fn first_line(path: &Path, draft: &mut Draft) -> Result<Zeroizing<String>, Wrong> {
    draft.config.files.push(path.to_owned());
    Ok(lines(path, "line")?.swap_remove(0))
}

/// Those of a file that are not empty, at least one.
fn lines(path: &Path, what: &str) -> Result<Vec<Zeroizing<String>>, Wrong> {
    let name = path.display();
    let text = read_text(path);
    let text = text.map_err(|error| Wrong::new(format!("{name} {}", error.phrase())))?;
    // Some editors begin a file with a mark of its byte order, which nobody sees.
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.map(|line| Zeroizing::new(line.to_owned())).collect();
    if lines.is_empty() {
        let wrong = Wrong::new(format!("{name} has no {what} in it"));
        return Err(wrong.hint("write one on each line"));
    }
    Ok(lines)
}
