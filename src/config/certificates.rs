//! Certificates and keys: which belongs to which, and, when somebody asks, what is in the files.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use toml::de::DeValue;

use super::draft::Draft;
use super::found::Found;
use super::value::{Wrong, path};
use crate::net;
use crate::tls::{Files, Identity, Roots};

pub(super) const CERTIFICATES: &str = "tls.certificates";
pub(super) const KEYS: &str = "tls.keys";

/// The certificates' files; a table for each, with its key in it, is the form of other servers.
pub(super) fn list(it: &mut Found<'_, '_>) -> Option<Vec<PathBuf>> {
    let is_section = |value: &DeValue<'_>| matches!(value, DeValue::Table(_));
    let value = it.value();
    let sections = match value.get_ref() {
        DeValue::Array(items) => items.iter().any(|item| is_section(item.get_ref())),
        other => is_section(other),
    };
    if !sections {
        return it.list(path);
    }
    let hint = "write certificates = [\"fullchain.pem\"] and keys = [\"privkey.pem\"] below [tls], \
                each key in its certificate's place";
    let wrong = Wrong::new("expected a list of strings, found a section").hint(hint);
    it.wrongs.push((value.span(), wrong));
    None
}

/// Paths in the file start at the file's directory.
pub(super) fn resolve(directory: &Path, draft: &mut Draft) {
    let all = draft.certificates.iter_mut().chain(&mut draft.keys);
    all.for_each(|path| *path = directory.join(&*path));
}

/// Puts each certificate together with its key; without any key, each file has both in it.
pub(super) fn pair(draft: &mut Draft) {
    let keys = if draft.keys.is_empty() { &draft.certificates } else { &draft.keys };
    let pairs = draft.certificates.iter().zip(keys);
    let files =
        |(chain, key): (&PathBuf, &PathBuf)| Files { chain: chain.clone(), key: key.clone() };
    draft.config.tls.certificates = pairs.map(files).collect();
}

/// Reads the certificates as the server would, and looks for the user: complains of what keeps it
/// from starting and of what every client would refuse, and remarks on the rest.
pub(super) fn examine(draft: &mut Draft) -> Vec<Identity> {
    let roots = Roots::of_system();
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let mut identities = Vec::new();
    for (index, files) in draft.config.tls.certificates.clone().iter().enumerate() {
        let (chain, key) = ((CERTIFICATES, index), (KEYS, index));
        match files.load() {
            Err(invalid) => {
                let values = if invalid.path == files.key { [key, chain] } else { [chain, key] };
                draft.complain_of(&values, Wrong::new(invalid.to_string()));
            }
            Ok(identity) => {
                for doubt in identity.doubts(now, roots.as_ref()) {
                    let wrong = Wrong::new(format!("{}: {doubt}", files.chain.display()));
                    match doubt.is_certain() {
                        true => draft.complain_of(&[chain], wrong),
                        false => draft.remark_on(&[chain], wrong),
                    }
                }
                if files.key_is_exposed() == Some(true) {
                    let what = format!("everybody on this host may read {}", files.key.display());
                    let wrong = Wrong::new(what).hint("take that right away with chmod o-r");
                    draft.remark_on(&[key, chain], wrong);
                }
                identities.push(identity);
            }
        }
    }
    account(draft);
    identities
}

fn account(draft: &mut Draft) {
    let unknown = |what, name| Wrong::new(format!("this host knows no {what} {name:?}"));
    if let Some(name) = draft.config.user.clone()
        && !matches!(net::account(&name), Ok(Some(_)))
    {
        draft.complain_of(&[("process.user", 0)], unknown("user", name));
    }
    if let Some(name) = draft.config.group.clone()
        && !matches!(net::group(&name), Ok(Some(_)))
    {
        draft.complain_of(&[("process.group", 0)], unknown("group", name));
    }
}
