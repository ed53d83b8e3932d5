//! The command line: reads it, hands over to `control`, and gives the exit code: 0 for success, 1
//! for a problem that was told, 2 for a command line that cannot be understood.

mod cli;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use turnwire::config::{self, Flags};

use cli::{Cli, Command};

fn main() -> ExitCode {
    match Cli::parse().command() {
        Command::Serve(flags) => match config::load(&flags) {
            Ok(config) => turnwire::control::run(config, *flags),
            Err(problems) => fail(&problems),
        },
        Command::CheckConfig { file } => check_config(file),
        Command::Load(options) => turnwire::tools::load::run(&options),
    }
}

fn check_config(file: PathBuf) -> ExitCode {
    let name = file.display().to_string();
    let examined = config::examine(&Flags { config: Some(file), ..Flags::default() });
    // Nobody may be reading; the exit code says it as well.
    for remark in &examined.remarks {
        let _ = writeln!(std::io::stderr(), "warning: {remark}");
    }
    for certificate in &examined.certificates {
        let _ = writeln!(std::io::stdout(), "{name}: {}", cli::certificate(certificate));
    }
    match examined.config {
        Ok(config) => {
            let _ = writeln!(std::io::stdout(), "{name}: ok: {}", cli::summary(&config));
            ExitCode::SUCCESS
        }
        Err(problems) => fail(&problems),
    }
}

fn fail(problems: &config::Problems) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{problems}");
    ExitCode::FAILURE
}
