//! A configuration in the making: what has been read, from where, and what is wrong with it, until it is finished.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use super::realms::RealmDraft;
use super::source::Source;
use super::value::Wrong;
use super::{Config, Origin, Problem, Problems};

/// A configuration in the making: what has been read, from where, and what is wrong with it.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    /// A file with shared secrets, to be read yet.
    pub(super) secrets_file: Option<PathBuf>,
    /// A file with tokens of the admin API, to be read yet.
    pub(super) tokens_file: Option<PathBuf>,
    /// A file with what the webhook is signed with, to be read yet.
    pub(super) webhook_secret_file: Option<PathBuf>,
    /// Of each store: the keys whose values stand in files, to be read yet.
    pub(super) store_files: Vec<Vec<(&'static str, PathBuf)>>,
    /// Files with certificates, and those with their keys.
    pub(super) certificates: Vec<PathBuf>,
    pub(super) keys: Vec<PathBuf>,
    /// Parts of the file that must not be shown.
    pub(super) hidden: Vec<Range<usize>>,
    /// Further realms.
    pub(super) realms: Vec<RealmDraft>,
    /// Whether the grammar of the file is broken, so that hardly anything is known of it.
    pub(super) broken: bool,
    places: HashMap<&'static str, Vec<Place>>,
    unread: HashSet<&'static str>,
    complaints: Vec<(Place, Wrong)>,
    remarks: Vec<(Place, Wrong)>,
}

/// Where a value was given.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In the file, with the path of its key.
    File(&'static str, Range<usize>),
    /// In the file, but at no known key.
    Nameless(Range<usize>),
    /// With a flag.
    Flag(&'static str),
    /// The file itself.
    Whole,
}

impl Draft {
    /// Remembers where the values of a key were given, one place for each of a list.
    pub(super) fn note(&mut self, key: &'static str, places: impl IntoIterator<Item = Place>) {
        self.places.entry(key).or_default().extend(places);
    }

    /// Notes that one value of a list was given anew.
    pub(super) fn renote(&mut self, key: &'static str, index: usize, place: Place) {
        if let Some(old) = self.places.get_mut(key).and_then(|places| places.get_mut(index)) {
            *old = place;
        }
    }

    /// Forgets where the values of a key were given.
    pub(super) fn forget(&mut self, key: &'static str) {
        self.places.remove(key);
        self.unread.remove(key);
    }

    /// Remembers that a key's value could not be read, so that nothing is concluded from it.
    pub(super) fn unread(&mut self, key: &'static str) {
        self.unread.insert(key);
    }

    /// Whether the values of these keys are what was written.
    pub(super) fn is_read(&self, keys: &[&str]) -> bool {
        !keys.iter().any(|key| self.unread.contains(key))
    }

    /// Where the `index`th value of a key was given; `None` for a default.
    pub(super) fn place(&self, key: &str, index: usize) -> Option<Place> {
        let places = self.places.get(key)?;
        places.get(index).or(places.last()).cloned()
    }

    pub(super) fn complain(&mut self, place: Place, wrong: Wrong) {
        self.complaints.push((place, wrong));
    }

    /// Complains about the first of these values that was not a default.
    pub(super) fn complain_of(&mut self, values: &[(&str, usize)], wrong: Wrong) {
        let place = self.place_of(values);
        self.complain(place, wrong);
    }

    /// Says something about these values that keeps nothing from working.
    pub(super) fn remark_on(&mut self, values: &[(&str, usize)], wrong: Wrong) {
        let place = self.place_of(values);
        self.remarks.push((place, wrong));
    }

    /// Takes in what is wrong with a part, what of it must not be shown, and the files that it was read from.
    pub(super) fn absorb(&mut self, part: Self) {
        self.config.files.extend(part.config.files);
        self.hidden.extend(part.hidden);
        self.complaints.extend(part.complaints);
        self.remarks.extend(part.remarks);
    }

    /// Keeps a value from being shown, but not the header of a section.
    pub(super) fn hide(&mut self, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => table.values().for_each(|value| self.hide(value)),
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                items.iter().for_each(|item| self.hide(item));
            }
            _ => self.hidden.push(value.span()),
        }
    }

    fn place_of(&self, values: &[(&str, usize)]) -> Place {
        let place = values.iter().find_map(|(key, index)| self.place(key, *index));
        place.unwrap_or(Place::Whole)
    }

    /// The configuration, if nothing is wrong with it, and what else was remarked.
    pub(super) fn finish(self, source: &Source) -> (Result<Config, Problems>, Vec<Problem>) {
        let Self { config, hidden, broken, complaints, remarks, .. } = self;
        let problem = |(place, wrong): (Place, Wrong)| {
            let Wrong { what, hint } = wrong;
            match place {
                Place::Whole => Problem { origin: source.whole(), what, hint, excerpt: None },
                Place::Flag(name) => {
                    Problem { origin: Origin::Flag(name), what, hint, excerpt: None }
                }
                Place::File(_, ref span) | Place::Nameless(ref span) => Problem {
                    origin: source.origin(span.start),
                    what: match place {
                        Place::File(key, _) => format!("{key}: {what}"),
                        _ => what,
                    },
                    hint,
                    excerpt: if broken {
                        source.excerpt_of_broken(span)
                    } else {
                        source.excerpt(span, &hidden)
                    },
                },
            }
        };
        let problems = Problems::none_of(complaints.into_iter().map(problem).collect());
        let mut remarks: Vec<_> = remarks.into_iter().map(problem).collect();
        remarks.sort_by(|a, b| a.origin.cmp(&b.origin));
        (problems.map(|()| config), remarks)
    }
}
