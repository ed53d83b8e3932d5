//! coturn's `turnserver.conf` to a configuration of ours.
//!
//! [`import`] is a pure function from text to text: it reads no other file and asks nobody. What stands in a database
//! comes in read already ([`Stock`]).
//!
//! ```text
//! grammar   text to lines, as coturn reads them
//! options   every option there is, and what becomes of it
//! facts     the lines by option; what no room can use is noted
//! listen, tls, relay, discovery, auth, databases, peers, limits, redirect, process
//!           the rooms: each makes keys of its options, or says why not
//! tenants   what lies in coturn's database besides users: realms and their rules
//! token     a key of access tokens there
//! ranges    ranges of addresses to prefixes
//! page      keys and notes, each with its lines, to TOML
//! ```
//!
//! Each line of the file is accounted for: by a key that names it, or by a note. A password or a
//! secret stands in values of the result and nowhere else, not in a comment and not in a [`Note`].

mod auth;
mod databases;
mod discovery;
mod facts;
mod grammar;
mod limits;
mod listen;
mod options;
mod page;
mod peers;
mod process;
mod ranges;
mod redirect;
mod relay;
mod tenants;
mod tls;
mod token;

pub use page::{Note, Weight};
pub use tenants::Stock;

use crate::store::Settings;
use facts::Facts;
use page::Page;
use tenants::Tenants;

/// A configuration made from coturn's.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The text of the file, with the passwords and secrets that were in coturn's.
    pub toml: String,
    /// What is said about lines of coturn's file, in their order.
    pub notes: Vec<Note>,
    /// The text of the file of users known by their MD5 keys, if there are any and it has a place.
    pub users: Option<String>,
    /// How many keys were written.
    pub keys: usize,
    /// Whether somebody whom coturn lets in is not taken along: users known by their MD5
    /// keys without a file for them, a database that cannot be asked, keys of access tokens, options as on a command
    /// line that are about who comes in.
    pub left_behind: bool,
}

/// Every option of coturn's and what it is here: a page in Markdown, `docs/from-coturn.md`.
pub fn options_page() -> String {
    options::page()
}

/// Whether a text is a `turnserver.conf` and nothing else: no section, and an option that only coturn has.
pub(super) fn is_coturns(text: &str) -> bool {
    let mut lines = grammar::lines(text);
    let header = text.lines().any(|line| line.trim_start().starts_with('['));
    !header && lines.any(|line| line.name.contains('-') && options::known(line.name).is_some())
}

/// The database that coturn asks by this file: the one that it names last, or its own.
///
/// # Errors
/// Why it cannot be asked.
pub fn database_of(text: &[u8]) -> Result<Settings, &'static str> {
    let text = String::from_utf8_lossy(text);
    databases::database(&Facts::read(&text, &mut Page::default()))
}

/// Makes a configuration from the text of a `turnserver.conf`, which may be empty, and of what stands in its database.
/// `name` is what the result calls it. Users known by their MD5 keys can go into a file called `users`, in the result's
/// own directory.
pub fn import(text: &[u8], name: &str, stock: Option<&Stock>, users: Option<&str>) -> Imported {
    // coturn reads bytes; a comment in another encoding harms nobody.
    let text = String::from_utf8_lossy(text);
    let mut page = Page::default();
    let mut facts = Facts::read(&text, &mut page);
    let tenants = stock.map(|stock| Tenants::of(stock, &mut facts, &mut page));
    let mut keys = auth::Keys { file: users, text: None };
    let left_behind = rooms(&facts, tenants.as_ref(), &mut keys, &mut page) || facts.unread;
    let toml = page.render(&head(name, left_behind));
    Imported { toml, notes: page.notes(), users: keys.text, keys: page.keys(), left_behind }
}

fn rooms<'t>(
    facts: &Facts<'t>,
    tenants: Option<&Tenants<'t>>,
    keys: &mut auth::Keys<'_>,
    page: &mut Page,
) -> bool {
    let secured = tls::tls(facts, page);
    let listeners = listen::listen(facts, secured, page);
    let seconds = discovery::seconds(facts, &listeners, page);
    let outside = relay::relay(facts, &listeners.ips, &seconds, page);
    discovery::discovery(facts, &seconds, &outside, page);
    let left_behind = auth::auth(facts, tenants, keys, page);
    peers::peers(facts, page);
    limits::limits(facts, page);
    redirect::redirect(facts, &listeners, page);
    process::process(facts, &listeners, page);
    left_behind
}

fn head(name: &str, left_behind: bool) -> String {
    let left = if left_behind {
        "\n\nNOT EVERYBODY IS TAKEN ALONG: search for LOOK HERE below."
    } else {
        ""
    };
    format!(
        "Turnwire's configuration, made from {name} by `turnwire import`. Above each key stand the \
         lines that it comes from. Passwords and secrets are in it: keep it from others.\n\n\
         check it:      turnwire check-config FILE\n\
         run with it:   turnwire --config FILE{left}"
    )
}

#[cfg(test)]
mod tests;
