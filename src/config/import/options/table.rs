//! The options as a page to read: `docs/from-coturn.md`.

use super::{Fate, Opt, Shape, all};
use crate::config::import::page::Weight;

/// What stands above the table.
const HEAD: &str = "\
# Every option of coturn, and what it is here

`turnwire import turnserver.conf` makes all of this of your file, line by line, and says what needs a
look; this page is for looking one option up. `turnwire import --options` prints it. The options are
those of coturn 4.17 and of older ones, as they stand in the file (on the command line with two dashes
in front); `[section]` and `section.key` are Turnwire's, explained in `config/turnwire.toml`.

To try the result out, use `turnwire check`. `turnutils_uclient`, with which the guides for coturn do it, binds
channel numbers of the older RFC 5766 and is refused with 400: give it `-s`, or set `turn.rfc5766_channels`.

With `--database` (and a URL, where it is not the one of the file: `sqlite:PATH`, `postgresql://...`,
`mysql://...`, `redis://...`) coturn's database is read as well, and nothing in it is changed:

| table (key in Redis) | here |
|---|---|
| `turnusers_lt` (`turn/realm/R/user/U/key`) | stays where it is: the database becomes a store that is asked (`[stores.ask]`). Its keys are MD5: users in it cannot use SHA-256 until `turnwire users add` gives them a password |
| `turn_secret` (`turn/realm/R/secret`) | the same, asked again every `stores.refresh_secrets` |
| `turn_origin_to_realm` (`turn/origin/O`) | `[[realm]]` with `name` and `origins`; a realm that no origin leads to is not served by coturn, and left out when its file is there to say which realm is its own |
| `turn_realm_option` (`turn/realm/R/max-bps`, ...) | `[realm.limits]`, or `[limits]` for coturn's own realm: `bytes_per_second`, `allocations`, `allocations_per_user` |
| `allowed_peer_ip`, `denied_peer_ip` (`turn/realm/R/allowed-peer-ip`, ...) | `[realm.peers]`, or `[peers]` for coturn's own realm and for every realm |
| `oauth_key` (`turn/oauth/kid/K`) | `[auth.tokens.keys]` or `[realm.tokens.keys]`, with `oauth` in coturn's file |
| `admin_user` (`turn/admin_user/N`) | nothing: there is no web page with passwords; see `[admin]` |

What is configured here is no longer read from the database: a change of a limit or a peer there has no
effect any more. MongoDB is not read.

| | |
|---|---|
| key | it becomes what is named, or needs no word |
| same | it is so here without a word in the file |
| lost | there is no equal, and somebody may miss it |
| look | there is no equal, and somebody must look at it |

| coturn | | here |
|---|---|---|
";

/// The page, in Markdown.
pub(in crate::config::import) fn page() -> String {
    let mut options: Vec<&Opt> = all().collect();
    options.sort_by_key(|opt| (opt.name.to_lowercase(), opt.name));
    options.iter().fold(HEAD.to_owned(), |page, opt| page + &row(opt))
}

fn row(opt: &Opt) -> String {
    let (word, text) = match opt.fate {
        Fate::Room(text) => ("key", text.to_owned()),
        Fate::Alias(name) => ("key", format!("another name of `{name}`")),
        Fate::Note(section, weight, why) => (word(weight), placed(section, weight, why)),
    };
    let value = match opt.shape {
        Shape::Flag | Shape::Presence => "",
        Shape::Value | Shape::List => "=...",
        Shape::Optional => "[=...]",
    };
    // A bar would end the cell.
    format!("| `{}{value}` | {word} | {} |\n", opt.name, text.replace('|', "\\|"))
}

const fn word(weight: Weight) -> &'static str {
    match weight {
        Weight::Same => "same",
        Weight::Lost => "lost",
        Weight::Act => "look",
    }
}

fn placed(section: &str, weight: Weight, why: &str) -> String {
    match weight {
        Weight::Same => why.to_owned(),
        _ => format!("{why} (`[{section}]`)"),
    }
}
