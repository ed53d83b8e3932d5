//! The command line: reads it, hands over to `control`, and gives the exit code: 0 for success, 1
//! for a problem that was told, 2 for a command line that cannot be understood, 3 for an import that
//! leaves somebody behind and for a server of which no way works.

mod cli;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use turnwire::config::{self, Flags, import};
use turnwire::store::Settings;
use turnwire::tools::{admin, explain, inventory, say, users};

use cli::{Cli, Command, Reference};

/// More than any `turnserver.conf` has; keeps a device file from filling the memory.
const MAX_IMPORT: u64 = 16 << 20;
/// Somebody whom coturn lets in is not taken along.
const LEFT_BEHIND: u8 = 3;

fn main() -> ExitCode {
    match Cli::read().command() {
        Command::Serve(flags) => match config::load(&flags) {
            Ok(config) => turnwire::control::run(config, *flags),
            Err(problems) => fail(problems),
        },
        Command::CheckConfig { file: Some(file), strict, .. } => check_config(file, strict),
        Command::CheckConfig { reference: Some(Reference::Markdown), .. } => {
            print(&config::reference_page())
        }
        Command::CheckConfig { file: None, .. } => print(config::REFERENCE),
        Command::Import { options: true, .. } => print(&import::options_page()),
        Command::Import { file, database, output, .. } => {
            import(file.as_deref(), database.as_deref(), output.as_deref())
        }
        Command::Explain(options) => explain(&options),
        Command::Admin(command) => steer(&command),
        Command::Load(options) => turnwire::tools::load::run(&options),
        Command::Check(options) if options.conformance => {
            turnwire::tools::conformance::run(&options)
        }
        Command::Check(options) => turnwire::tools::check::run(&options),
        Command::Users(options) => users(&options),
        Command::Nat(options) => turnwire::tools::nat::run(&options),
        Command::Credentials(options) => turnwire::tools::credentials::run(&options),
    }
}

/// Speaks to a running server, whose socket is where it says, where its configuration says, or where it usually is.
fn steer(command: &admin::Command) -> ExitCode {
    match sockets(command.target()) {
        Ok(sockets) => admin::run(command, &sockets),
        Err(problems) => fail(problems),
    }
}

fn sockets(target: &admin::Target) -> Result<Vec<PathBuf>, config::Problems> {
    if let Some(path) = &target.socket {
        return Ok(vec![path.clone()]);
    }
    let flags = Flags { config: target.config.clone(), ..Flags::default() };
    Ok(turnwire::control::admin_sockets(&config::load(&flags)?))
}

/// What a cause means, or what a running server decides about one client.
fn explain(options: &explain::Options) -> ExitCode {
    match &options.cause {
        Some(cause) => match turnwire::control::cause_in_words(cause) {
            Ok(words) => print(&words),
            Err(problem) => fail(problem),
        },
        None if options.causes => print(&turnwire::control::causes_page()),
        None => match sockets(&options.target) {
            Ok(sockets) => explain::run(options, &sockets),
            Err(problems) => fail(problems),
        },
    }
}

fn print(page: &str) -> ExitCode {
    say(page, ExitCode::SUCCESS)
}

fn check_config(file: PathBuf, strict: bool) -> ExitCode {
    let name = file.display().to_string();
    let examined = config::examine(&Flags { config: Some(file), ..Flags::default() });
    // Nobody may be reading; the exit code says it as well.
    for remark in &examined.remarks {
        let _ = writeln!(io::stderr(), "warning: {remark}");
    }
    let certificates = examined.certificates.iter();
    let mut page: String =
        certificates.map(|it| format!("{name}: {}\n", cli::certificate(it))).collect();
    let code = match examined.config {
        Ok(_) if strict && !examined.remarks.is_empty() => {
            fail(format_args!("{name}: nothing is wrong, and warnings count (--strict)"))
        }
        Ok(config) => {
            page.push_str(&format!("{name}: ok: {}\n", cli::summary(&config)));
            ExitCode::SUCCESS
        }
        Err(problems) => fail(problems),
    };
    say(&page, code)
}

fn users(options: &users::Options) -> ExitCode {
    let (config, state_directory) = (options.config.clone(), options.state_directory.clone());
    match config::load(&Flags { config, state_directory, ..Flags::default() }) {
        Ok(config) => {
            let directories = turnwire::control::state_directories(&config);
            let known = users::Known {
                stores: &config.stores,
                realm: &config.auth.realm,
                directories: &directories,
                sockets: &turnwire::control::admin_sockets(&config),
                user: config.user.as_deref(),
            };
            users::run(options, known)
        }
        Err(problems) => fail(problems),
    }
}

/// What coturn's file says, and its database: that of this URL, or with an empty one that of the file.
fn import(file: Option<&Path>, database: Option<&str>, output: Option<&Path>) -> ExitCode {
    let read = file.map_or(Ok(Vec::new()), coturns_file);
    let read = read.and_then(|text| {
        let stock = database.map(|url| coturns_database(url, &text)).transpose()?;
        Ok((text, stock))
    });
    let (text, stock) = match read {
        Ok(read) => read,
        Err(problem) => return fail(problem),
    };
    let name = file.map_or("coturn's database".into(), |file| file.display().to_string());
    // Users without a password stand in a file of their own.
    let users = output.map(|path| {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".users");
        PathBuf::from(beside)
    });
    let users_name = users.as_deref().and_then(Path::file_name).and_then(OsStr::to_str);
    let imported = import::import(&text, &name, stock.as_ref(), users_name);
    let target = output.map_or("standard output".into(), |path| path.display().to_string());
    let beside = users.as_deref().zip(imported.users.as_deref());
    if let Err((place, error)) = write_all(beside, output, &imported.toml) {
        let place = place.map_or(target, |path| path.display().to_string());
        return fail(format_args!("{place} cannot be written: {error}"));
    }
    let _ = writeln!(io::stderr(), "{}", cli::report(&imported, &name));
    if let Some((path, _)) = beside {
        let what = "the users known by their MD5 keys, for a store of the configuration";
        let _ = writeln!(io::stderr(), "{}: {what}", path.display());
    }
    match config::parse(&imported.toml, &target) {
        Err(problems) => return fail(problems),
        Ok(config) => {
            let _ = writeln!(io::stderr(), "{target}: ok: {}", cli::summary(&config));
        }
    }
    if imported.left_behind { ExitCode::from(LEFT_BEHIND) } else { ExitCode::SUCCESS }
}

fn coturns_file(file: &Path) -> Result<Vec<u8>, String> {
    let (name, mut text) = (file.display(), Vec::new());
    File::open(file)
        .and_then(|it| it.take(MAX_IMPORT + 1).read_to_end(&mut text))
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    if text.len() as u64 > MAX_IMPORT {
        return Err(format!("{name} is larger than {} MiB", MAX_IMPORT >> 20));
    }
    Ok(text)
}

fn coturns_database(url: &str, text: &[u8]) -> Result<import::Stock, String> {
    let settings = match url {
        "" => import::database_of(text).map_err(|why| format!("coturn's database: {why}"))?,
        url => Settings::from_url("coturn", url).map_err(|error| format!("--database: {error}"))?,
    };
    // The result may be kept elsewhere.
    let path = settings.path.map(|path| std::path::absolute(&path).unwrap_or(path));
    let settings = Settings { path, ..settings };
    let inventory = inventory::take(&settings).map_err(|why| format!("coturn's database {why}"))?;
    Ok(import::Stock { settings, inventory })
}

/// Writes both files or none; else the one that cannot be.
fn write_all<'p>(
    beside: Option<(&'p Path, &str)>,
    output: Option<&'p Path>,
    text: &str,
) -> Result<(), (Option<&'p Path>, io::Error)> {
    if let Some((path, text)) = beside {
        write_out(Some(path), text).map_err(|error| (Some(path), error))?;
    }
    write_out(output, text).map_err(|error| {
        if let Some((path, _)) = beside {
            let _ = fs::remove_file(path);
        }
        (output, error)
    })
}

/// Passwords are in it, so it is for its owner alone; what is there already stays as it is.
fn write_out(output: Option<&Path>, text: &str) -> io::Result<()> {
    match output {
        None => io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()),
        Some(path) => {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes()).inspect_err(|_| {
                // Half a file would keep the next from being written.
                let _ = fs::remove_file(path);
            })
        }
    }
}

fn fail(problems: impl std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "{problems}");
    ExitCode::FAILURE
}
