//! Flags and TOML to the settings of each room.
//!
//! [`load`] reads the file that the flags name, puts the flags over it and checks the whole;
//! [`parse`] does the same with a text alone and touches nothing outside. Both give either a
//! [`Config`] that can be used as it stands, or every [`Problem`] at once, each with its line and
//! column (or its flag) and what would be right.
//!
//! ```text
//! keys      what may be written: one table, from which everything else follows
//! reader    walks the TOML by that table
//! grammar   what is said of a file that is no TOML
//! realms    further realms, each a draft of its own
//! value     text to values, for the file and the flags alike
//! flags     the command line, over the file
//! https, web, events, stores, certificates, tokens, others
//!           sections with keys that need more than one line each
//! secrets   what stands in files of its own
//! check     what no value shows by itself
//! doubts    what may be wrong and may be meant
//! settings  the result, with its defaults
//! change    what of it can change under a running server
//! reach     the files and directories that such a server needs
//! shown     all of it, as somebody may see it
//! source    where something stands, and what of its line may be shown
//! manual    the reference, as a file and as a page
//! import    coturn's `turnserver.conf` to a file of ours
//! ```
//!
//! A password or a secret is in no problem, no excerpt and no `Debug`.
//!
//! Not here: what can only be seen on this machine (`control`), and whether an address can be
//! bound (`worker`).

use std::path::Path;

mod certificates;
mod change;
mod check;
mod doubts;
mod draft;
mod events;
mod flags;
mod found;
mod grammar;
mod https;
pub mod import;
mod keys;
mod manual;
mod nearest;
mod others;
mod problem;
mod reach;
mod reader;
mod realms;
mod secrets;
mod settings;
mod shown;
mod source;
mod stores;
mod table;
mod tokens;
mod value;
mod web;

pub use flags::Flags;
pub use keys::known_keys;
pub use manual::{REFERENCE, reference_page};
pub use problem::{Excerpt, Origin, Problem, Problems};
pub use reach::Reach;
pub use settings::{
    AdminSocket, Config, External, Format, Level, Log, OtherServer, Realm, Redirect, Relay, Tls,
    Turn,
};
pub use shown::Shown;
pub use web::{Web, WebKey};

use crate::tls::Identity;
use draft::{Draft, Place};
use source::{Source, Unreadable, read_text};
use value::Wrong;

/// Reads the file that the flags name, if any, and puts the flags over it.
///
/// # Errors
/// Everything that is wrong, in the order of the file, then of the flags.
pub fn load(flags: &Flags) -> Result<Config, Problems> {
    let (draft, source) = draft(flags);
    draft.finish(&source).0
}

/// A configuration with what is in the files that it names.
#[derive(Debug)]
pub struct Examined {
    /// The configuration, or what keeps a server from starting with it or every client away.
    pub config: Result<Config, Problems>,
    /// What may be wrong and may be meant.
    pub remarks: Vec<Problem>,
    /// The certificates that can be used.
    pub certificates: Vec<Identity>,
}

/// The same as [`load`] for somebody who wants to know whether a server would come up with it:
/// also reads the certificates and looks for the user to become.
pub fn examine(flags: &Flags) -> Examined {
    let (mut draft, source) = draft(flags);
    let certificates = certificates::examine(&mut draft);
    stores::examine(&mut draft);
    secrets::examine(flags.config.as_deref(), &mut draft);
    if !draft.broken {
        doubts::look(&mut draft);
    }
    let (config, remarks) = draft.finish(&source);
    Examined { config, remarks, certificates }
}

/// Reads a configuration from text; `name` is what problems call it. A `secrets_file` in it is not
/// read.
///
/// # Errors
/// Everything that is wrong, in the order of the text.
pub fn parse(text: &str, name: &str) -> Result<Config, Problems> {
    let mut draft = Draft::default();
    let source = Source::new(name, text);
    reader::read(source.text(), &mut draft);
    realms::finish(None, &mut draft);
    check(&mut draft);
    draft.finish(&source).0
}

fn draft(flags: &Flags) -> (Draft, Source) {
    let mut draft = Draft::default();
    draft.config.files.extend(flags.config.clone());
    let source = match &flags.config {
        None => Source::new("configuration", ""),
        Some(path) => open(path, &mut draft),
    };
    if !draft.broken {
        reader::read(source.text(), &mut draft);
        draft.config.shown = Shown::of(source.text());
    }
    let is_secretive = secrets::are_in_text(&draft);
    let directory = flags.config.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    secrets::read(directory, &mut draft);
    web::read_secrets(directory, &mut draft);
    certificates::resolve(directory, &mut draft);
    stores::resolve(directory, &mut draft);
    flags.apply(&mut draft);
    secrets::read_flag(flags.secret_file.as_deref(), &mut draft);
    realms::finish(Some(directory), &mut draft);
    draft.config.exposed = secrets::exposed(flags.config.as_deref(), is_secretive, &draft);
    check(&mut draft);
    (draft, source)
}

fn check(draft: &mut Draft) {
    if !draft.broken {
        certificates::pair(draft);
        check::check(draft);
    }
}

/// The file, or as much of it as shows what is wrong with it.
fn open(path: &Path, draft: &mut Draft) -> Source {
    let name = path.display().to_string();
    match read_text(path) {
        Ok(text) => Source::new(name, text),
        Err(unreadable) => {
            let wrong = Wrong::new(unreadable.phrase());
            draft.broken = true;
            let (place, text) = match unreadable {
                Unreadable::NotText(bytes, valid) => {
                    (Place::Nameless(valid..valid), String::from_utf8_lossy(&bytes).into_owned())
                }
                _ => (Place::Whole, String::new()),
            };
            draft.complain(place, wrong);
            Source::new(name, text)
        }
    }
}
