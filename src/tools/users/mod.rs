//! `turnwire users`: who is in a database, and who shall be.

mod page;

use std::fs::DirBuilder;
use std::future::Future;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::admin::http::{Server, Trouble};
use super::{password, say};
use crate::auth::{Secret, prepare};
use crate::net::{self, effective_user};
use crate::store::{DATABASE, Entry, Keeper, Kind, Settings, keeper};

/// A person waits longer than a request does.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Where a running server hears that it is to ask its stores.
const REFRESH: &str = "/v1/credentials/refresh";

/// The flags of `turnwire users`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What to do
    #[command(subcommand)]
    pub action: Action,

    /// A database, as its URL (`ps` shows it), or the name of one of the configuration's stores
    #[arg(long, value_name = "STORE", global = true)]
    pub store: Option<String>,

    /// The server's configuration file, for its stores and its realm
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Where the server keeps its own database, turnwire.db
    #[arg(long, value_name = "DIRECTORY", global = true)]
    pub state_directory: Option<String>,

    /// The realm [default: the configuration's]
    #[arg(long, value_name = "REALM", global = true)]
    pub realm: Option<String>,
}

/// What is to be done with users.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// Add a user, or give one a new password, which is asked for or read from standard input
    Add {
        /// The user's name
        #[arg(value_name = "NAME")]
        name: String,
        /// Make a password and print it, this once
        #[arg(long, conflicts_with = "password_file")]
        generate: bool,
        /// A file with nothing but the password in it, or - for standard input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Remove a user
    Remove {
        /// The user's name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List the users, of every realm unless --realm is given
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The secrets that the server shares with applications
    #[command(subcommand)]
    Secret(SecretAction),
}

impl Action {
    /// Whether it makes a database that is not there.
    const fn adds(&self) -> bool {
        matches!(self, Self::Add { .. } | Self::Secret(SecretAction::Add { .. }))
    }
}

/// What is to be done with shared secrets.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum SecretAction {
    /// Add a secret, which is asked for or read from standard input
    Add {
        /// Make a secret and print it, this once
        #[arg(long, conflicts_with = "secret_file")]
        generate: bool,
        /// A file with nothing but the secret in it, or - for standard input
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// Remove a secret, which is asked for or read from standard input
    Remove {
        /// A file with nothing but the secret in it, or - for standard input
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// The one that begins with this, as `list` shows it
        #[arg(long, value_name = "START", conflicts_with = "secret_file")]
        starts_with: Option<String>,
    },
    /// List how the secrets begin
    List {
        /// Print them whole
        #[arg(long)]
        show: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// What the configuration says.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its stores.
    pub stores: &'a [Settings],
    /// Its realm.
    pub realm: &'a str,
    /// Where a server keeps its state, by preference.
    pub directories: &'a [PathBuf],
    /// Where a running server may be told.
    pub sockets: &'a [PathBuf],
    /// Whom it becomes when root has started it.
    pub user: Option<&'a str>,
}

/// Does it, and says what was done. Fails with one line that says why.
pub fn run(options: &Options, known: Known<'_>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        let (settings, place) = settings(options, known)?;
        let new = settings.path.clone().filter(|path| !path.exists());
        let own = known.directories.iter().any(|directory| {
            settings.path.as_ref().is_some_and(|path| *path == directory.join(DATABASE))
        });
        let realm = realm(options, known, &settings).to_owned();
        let work = work(options, known, settings);
        let text = runtime.block_on(work).map_err(|problem| format!("{place}: {problem}"))?;
        tell(&options.action, &realm, known.sockets);
        Ok(page::with_news(text, new.as_deref(), own))
    });
    match done {
        Ok(text) => say(&text, ExitCode::SUCCESS),
        Err(problem) => {
            let _ = writeln!(io::stderr(), "{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Has the server that runs here ask its stores now, and not when what it knows is out of date. It may have none of them,
/// and need not be there.
fn tell(action: &Action, realm: &str, sockets: &[PathBuf]) {
    let news = match action {
        Action::List { .. } | Action::Secret(SecretAction::List { .. }) => return,
        Action::Secret(_) => json!({}),
        Action::Add { name, .. } | Action::Remove { name } => {
            json!({ "user": name, "realm": realm })
        }
    };
    let told = Server::find(sockets).and_then(|server| server.post(REFRESH, &news));
    let _ = match told {
        Ok(_) => writeln!(io::stderr(), "the server that runs here was told"),
        Err(Trouble::NoServer(_)) => Ok(()),
        Err(trouble) => writeln!(io::stderr(), "the server that runs here was not told: {trouble}"),
    };
}

fn realm<'a>(options: &'a Options, known: Known<'a>, settings: &'a Settings) -> &'a str {
    options.realm.as_deref().or(settings.realm.as_deref()).unwrap_or(known.realm)
}

/// The database that is meant, and what it is called.
fn settings(options: &Options, known: Known<'_>) -> Result<(Settings, String), String> {
    let (settings, place) = match &options.store {
        Some(text) => match known.stores.iter().find(|store| store.name == *text) {
            Some(store) => (store.clone(), text.clone()),
            None => (
                Settings::from_url("store", text).map_err(|error| error.to_string())?,
                "--store".into(),
            ),
        },
        None if known.stores.is_empty() => own_database(options, known)?,
        None => {
            let written = known.stores.iter().find(|store| is_written_here(store.kind));
            let store = written.ok_or(
                "the stores of the configuration are written by others: name a database with --store",
            )?;
            (store.clone(), store.name.clone())
        }
    };
    Ok((Settings { timeout: TIMEOUT, ..settings }, place))
}

const fn is_written_here(kind: Kind) -> bool {
    !matches!(kind, Kind::File | Kind::Http)
}

/// The server's own, which is made when it is not there.
fn own_database(options: &Options, known: Known<'_>) -> Result<(Settings, String), String> {
    let path = match (find(known.directories)?, options.action.adds()) {
        (Some(path), _) => path,
        (None, true) => place_for_one(known)?,
        (None, false) => {
            let paths = known.directories.iter().map(|directory| directory.join(DATABASE));
            let looked: Vec<_> = paths.map(|path| path.display().to_string()).collect();
            return Err(format!(
                "there is no database of users yet (looked for {}): make one with `turnwire users add`, or say \
                 which with --store or --config",
                looked.join(", ")
            ));
        }
    };
    let place = path.display().to_string();
    Ok((Settings { path: Some(path), ..Settings::new("store", Kind::Sqlite) }, place))
}

/// The first that is there and is for us. Where a server's may be that is not, none is made elsewhere: nobody would look
/// there.
fn find(directories: &[PathBuf]) -> Result<Option<PathBuf>, String> {
    let mut barred = None;
    for directory in directories {
        let path = directory.join(DATABASE);
        match path.try_exists() {
            Ok(true) => return Ok(Some(path)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                barred.get_or_insert(directory);
            }
            Ok(false) | Err(_) => {}
        }
    }
    barred.map_or(Ok(None), |directory| {
        Err(format!(
            "{} is for the user that the server runs as: run this as that user or as root (sudo), or say where with \
             --store or --state-directory",
            directory.display()
        ))
    })
}

/// Where one is to be made.
fn place_for_one(known: Known<'_>) -> Result<PathBuf, String> {
    let mut tried = Vec::new();
    for directory in known.directories {
        match make_directory(directory, known.user) {
            Ok(()) => return Ok(directory.join(DATABASE)),
            Err(error) => tried.push(format!("{}: {error}", directory.display())),
        }
    }
    Err(format!("no directory for it ({}): give a --state-directory", tried.join("; ")))
}

/// One that can be written, and by `user` as well if there is one and the directory is not there yet.
fn make_directory(directory: &Path, user: Option<&str>) -> io::Result<()> {
    let user = user.filter(|_| effective_user() == 0 && !directory.exists());
    if let Some(account) = user.map(net::account).transpose()?.flatten() {
        // The database goes to whomever the directory belongs to; if that is root, the server says so when it starts.
        let _ = account.make_directory(directory);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let probe = directory.join(format!(".{}.probe", std::process::id()));
    std::fs::File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe))
}

/// What is to be printed.
async fn work(options: &Options, known: Known<'_>, settings: Settings) -> Result<String, String> {
    let realm = realm(options, known, &settings);
    let realm = prepare(realm).ok_or_else(|| format!("{realm:?} can be no realm"))?;
    let realm = &*realm;
    let keeper = keeper(&settings, options.action.adds()).map_err(|error| error.to_string())?;
    match &options.action {
        Action::Add { name, generate, password_file } => {
            // A name that nobody could have is told before a password is asked for.
            Entry::new(realm, name, &Secret::new("x")).map_err(|error| error.to_string())?;
            let what = format!("password of {name}");
            let password = password::new(&what, *generate, password_file.as_deref())?;
            let entry = Entry::new(realm, name, &password).map_err(|error| error.to_string())?;
            told(keeper.prepare()).await?;
            let changed = told(keeper.put_user(&entry)).await?;
            Ok(page::added(&entry, changed, generate.then_some(&password)))
        }
        Action::Remove { name } => {
            // As it was when it was written.
            let entry =
                Entry::new(realm, name, &Secret::new("x")).map_err(|error| error.to_string())?;
            match told(keeper.remove_user(entry.realm(), entry.name())).await? {
                true => Ok(page::removed(&entry)),
                false => Err(format!("there is no {name:?} of realm {realm:?}")),
            }
        }
        Action::List { json } => {
            let users = told(keeper.users(options.realm.as_deref())).await?;
            Ok(page::users(&users, *json))
        }
        Action::Secret(action) => secret(action, realm, keeper).await,
    }
}

async fn secret(
    action: &SecretAction,
    realm: &str,
    keeper: Arc<dyn Keeper>,
) -> Result<String, String> {
    match action {
        SecretAction::Add { generate, secret_file } => {
            let secret = password::new("secret", *generate, secret_file.as_deref())?;
            told(keeper.prepare()).await?;
            let new = told(keeper.put_secret(realm, &secret)).await?;
            Ok(page::secret_added(realm, new, generate.then_some(&secret)))
        }
        SecretAction::Remove { secret_file, starts_with } => {
            let secret = match starts_with {
                Some(start) => the_one(start, told(keeper.secrets(realm)).await?)?,
                None => password::old("secret", secret_file.as_deref())?,
            };
            match told(keeper.remove_secret(realm, &secret)).await? {
                true => Ok(format!("removed a secret of realm {realm:?}\n")),
                false => Err(format!("there is no such secret of realm {realm:?}")),
            }
        }
        SecretAction::List { show, json } => {
            let secrets = told(keeper.secrets(realm)).await?;
            Ok(page::secrets(realm, &secrets, *show, *json))
        }
    }
}

fn the_one(start: &str, secrets: Vec<Secret>) -> Result<Secret, String> {
    // As `list` shows what it has left out.
    let start = start.trim_end_matches('…');
    if start.is_empty() {
        return Err("every secret begins so: give more of it".to_owned());
    }
    let mut found = secrets.into_iter().filter(|secret| secret.expose().starts_with(start));
    match (found.next(), found.next()) {
        (Some(secret), None) => Ok(secret),
        (None, _) => Err("no secret begins so".to_owned()),
        (Some(_), Some(_)) => Err("several secrets begin so: give more of it".to_owned()),
    }
}

async fn told<T, E: ToString>(work: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    work.await.map_err(|error| error.to_string())
}
