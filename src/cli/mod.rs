//! The command line: commands, exit codes, output.
//!
//! One definition stands behind help and behaviour. What a command prints for a person or a program goes to standard
//! output, what went wrong to standard error. Exit codes: 0 done; 1 what was asked failed (a check, a delivery, an
//! unknown id); 2 usage, or a configuration that the command could not use.

mod advice;
mod backup;
mod bench;
mod burst;
mod called;
mod certs;
mod check;
mod cutoff;
mod dev;
mod explain;
mod export;
mod faults;
mod head;
mod health;
mod histogram;
mod import;
mod interrupt;
mod known;
mod lists;
mod output;
#[cfg(test)]
mod players;
mod profiles;
mod progress;
mod provider;
mod prune;
mod rehearse;
mod repetitions;
mod replay;
mod runtime;
mod sample;
mod scenes;
mod send;
mod sender;
mod serve;
mod stored;
mod tamper;
mod toml_text;
mod why;
mod why_prose;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Environment, Fault};
use crate::store::StoreFault;

pub use output::Outcome;

/// What the environment says.
const VARIABLES: &str = "\
Variables:
  COUNTERSIGN_CONFIG      the configuration file, where --config names none
  COUNTERSIGN_LOG         which lines are logged: error, warn, info, debug, trace,
                          or as in info,countersign=debug [default: info]
  COUNTERSIGN_LOG_FORMAT  text or json [default: text]
  COUNTERSIGN_STORE__URL  store.url, and so any key of the configuration,
                          its parts joined by __";

/// Receives payment webhooks over mutual TLS: checks who sends, checks the signature, keeps each event once, and
/// follows the payment.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = VARIABLES
)]
struct Cli {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
// Each says in its own module what it is for.
enum Command {
    Dev(dev::Dev),
    /// Serve by the configuration
    Serve,
    Check(check::Check),
    Certs(certs::Certs),
    Send(send::Send),
    Bench(bench::Bench),
    Explain(explain::Explain),
    Profiles(profiles::ProfilesCommand),
    Rehearse(rehearse::Rehearse),
    Events(lists::Events),
    Payments(lists::Payments),
    Cutoff(cutoff::Cutoff),
    Refusals(lists::Refusals),
    Why(why::Why),
    Prune(prune::PruneCommand),
    Migrate(serve::Migrate),
    Backup(backup::Backup),
    Export(export::ExportArguments),
    Import(import::ImportArguments),
    Health(health::Health),
}

/// How many rows a list holds when nobody says.
const LIMIT_DEFAULT: u64 = 100;

/// Which rows a list holds.
#[derive(Clone, Debug, Args)]
struct Selection {
    /// Only this tenant's
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Only what came at or after this time: RFC 3339, or an age such as 15m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = output::parse_since)]
    since: Option<jiff::Timestamp>,
    /// How many at the most; 0 is all
    #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT)]
    limit: u64,
    /// Print JSON Lines
    #[arg(long)]
    json: bool,
}

/// Runs the command that the process was called with.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let code = if usage.use_stderr() {
                Outcome::Unusable
            } else {
                Outcome::Done
            };
            // Nobody is left to tell that standard error is closed.
            let _closed = usage.print();
            return code.into();
        }
    };
    let environment = Environment::of_process();
    if let Some(fault) = output::fault_of_log(&environment) {
        output::complain(&format!("countersign: {fault}"));
        return Outcome::Unusable.into();
    }
    let place = environment.configuration_file(cli.config);
    let outcome = match cli.command {
        // Who serves answers on the wire.
        Command::Dev(command) => return command.run(&place, &environment).into(),
        Command::Serve => return serve::run(&place, &environment).into(),
        Command::Check(command) => command.run(&place, &environment),
        Command::Certs(command) => command.run(&place, &environment),
        Command::Send(command) => command.run(&place, &environment),
        Command::Bench(command) => command.run(&place, &environment),
        Command::Explain(command) => command.run(&place, &environment),
        Command::Rehearse(command) => command.run(&place, &environment),
        Command::Profiles(command) => command.run(&place, &environment),
        Command::Events(command) => command.run(&place, &environment),
        Command::Payments(command) => command.run(&place, &environment),
        Command::Cutoff(command) => command.run(&place, &environment),
        Command::Refusals(command) => command.run(&place, &environment),
        Command::Why(command) => command.run(&place, &environment),
        Command::Prune(command) => command.run(&place, &environment),
        Command::Migrate(command) => command.run(&place, &environment),
        Command::Backup(command) => command.run(&place, &environment),
        Command::Export(command) => command.run(&place, &environment),
        Command::Import(command) => command.run(&place, &environment),
        Command::Health(command) => command.run(&place, &environment),
    };
    output::whole(outcome).into()
}

/// Prints every fault of a configuration that a command could not use.
fn unusable(faults: &[Fault]) -> Outcome {
    for fault in faults {
        output::complain(&format!("countersign: {fault}"));
    }
    Outcome::Unusable
}

/// Prints why a command could not use the store. What the configuration, or another version, can mend is a matter of
/// these; a store that is away or not there yet is not.
fn of_store(fault: &StoreFault) -> Outcome {
    output::complain(&format!("countersign: {}", fault.in_full()));
    match fault {
        StoreFault::NoStore { .. }
        | StoreFault::Displaced { .. }
        | StoreFault::Unreachable { .. }
        | StoreFault::NoWriter { .. } => Outcome::Failed,
        StoreFault::NoDirectory { .. }
        | StoreFault::IsDirectory { .. }
        | StoreFault::Rights { .. }
        | StoreFault::LogAlone { .. }
        | StoreFault::LogDisplaced { .. }
        | StoreFault::Locked { .. }
        | StoreFault::NoRoom { .. }
        | StoreFault::DiskFails { .. }
        | StoreFault::Unopenable { .. }
        | StoreFault::Damaged { .. }
        | StoreFault::Foreign { .. }
        | StoreFault::OtherKind { .. }
        | StoreFault::Newer { .. }
        | StoreFault::Older { .. }
        | StoreFault::Migration { .. }
        | StoreFault::Address { .. }
        | StoreFault::Tls { .. }
        | StoreFault::Spool { .. }
        | StoreFault::NeedlessSpool { .. }
        | StoreFault::Encoding { .. } => Outcome::Unusable,
    }
}
