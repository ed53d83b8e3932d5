//! Every option of coturn 4.17, and those that older ones had.

mod noted;
mod table;
mod taken;

use noted::NOTED;
pub(super) use table::page;
use taken::TAKEN;

use super::page::Weight;
use crate::config::nearest::nearest;

/// An option of coturn's.
#[derive(Debug)]
pub(super) struct Opt {
    /// As it stands in the file.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) fate: Fate,
}

/// What stands behind the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Yes or no, and nothing means yes.
    Flag,
    /// On by being there, whatever stands behind it.
    Presence,
    /// A value; of several lines the last one counts.
    Value,
    /// The same, with a default for none.
    Optional,
    /// A value; each line adds one.
    List,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// One of the rooms makes keys of it, or says why not; what that is, in words for the table.
    Room(&'static str),
    /// It is another name of this one.
    Alias(&'static str),
    /// Nothing; said in this section, with the reason.
    Note(&'static str, Weight, &'static str),
}

/// The option of this name. coturn heeds case, and knows no dashes in front.
pub(super) fn known(name: &str) -> Option<&'static Opt> {
    all().find(|opt| opt.name == name)
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Opt> {
    TAKEN.iter().chain(NOTED)
}

/// The option that was most likely meant.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    let plain = |name: &str| name.trim_matches('-').to_lowercase().replace('-', "_");
    let names: Vec<(String, &'static str)> = all().map(|opt| (plain(opt.name), opt.name)).collect();
    let found = nearest(&plain(name), names.iter().map(|(plain, _)| plain.as_str()))?.to_owned();
    names.into_iter().find(|(plain, _)| *plain == found).map(|(_, name)| name)
}

const fn opt(name: &'static str, shape: Shape, fate: Fate) -> Opt {
    Opt { name, shape, fate }
}

const fn note(
    name: &'static str,
    shape: Shape,
    section: &'static str,
    weight: Weight,
    why: &'static str,
) -> Opt {
    opt(name, shape, Fate::Note(section, weight, why))
}
