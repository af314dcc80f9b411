//! `countersign profiles`: how each provider signs, and where its events stand.

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use super::output::{Outcome, Table, complain, json_line, say};
use super::{toml_text, unusable};
use crate::config::{Config, ConfigFile, Environment, Fault};
use crate::signature::{Coverage, Profile, ProfileDescriptor, Profiles, builtin};
use crate::text::printable;

/// How each provider signs, and where its events stand
#[derive(Debug, Args)]
pub(super) struct ProfilesCommand {
    #[command(subcommand)]
    command: Lookup,
}

#[derive(Debug, Subcommand)]
enum Lookup {
    /// List them by name: the built-in ones, and the configuration's own
    List {
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Show one, whole: what it is, and its text as it may stand in the configuration
    Show {
        /// Its name
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    title: &'a str,
    origin: &'static str,
    signed: Option<Coverage>,
    weak: Option<&'a str>,
    source: &'a [String],
    note: Option<&'a str>,
}

/// One profile, whole.
#[derive(Debug, Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    answer: Value,
    needs_url: bool,
    needs_values: Vec<&'a str>,
    events: Vec<&'a str>,
    profile: &'a ProfileDescriptor,
}

impl ProfilesCommand {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let profiles = match known(place, environment) {
            Ok(profiles) => profiles,
            Err(faults) => return unusable(&faults),
        };
        match self.command {
            Lookup::List { json } => {
                list(&profiles, json);
                Outcome::Done
            }
            Lookup::Show { name, json } => {
                let Some(profile) = profiles.get(&name) else {
                    complain(&format!("countersign: {}", unknown(&name, &profiles)));
                    return Outcome::Failed;
                };
                if json {
                    json_line(&whole(profile));
                } else {
                    show(profile);
                }
                Outcome::Done
            }
        }
    }
}

/// The profiles that the configuration knows; the built-in ones where there is no configuration.
pub(super) fn known(place: &ConfigFile, environment: &Environment) -> Result<Profiles, Vec<Fault>> {
    if *place == ConfigFile::Default && !place.path().exists() {
        return Ok(builtin().clone());
    }
    Config::load_profiles(place, environment)
}

/// What to say of a profile that is not there.
pub(super) fn unknown(name: &str, profiles: &Profiles) -> String {
    let name = printable(name);
    let alike: Vec<&str> = profiles
        .iter()
        .map(|profile| profile.name())
        .filter(|known| known.contains(&name) || name.contains(known))
        .take(8)
        .collect();
    let alike = if alike.is_empty() {
        ";".to_owned()
    } else {
        format!("; did you mean {}?", alike.join(", "))
    };
    format!(
        "there is no profile \"{name}\"{alike} `countersign profiles list` prints those that there are"
    )
}

fn list(profiles: &Profiles, json: bool) {
    let mut table = Table::new(["NAME", "PROVIDER", "SIGNED", "REMARKS"]);
    for profile in profiles.iter() {
        let line = line(profile);
        if json {
            json_line(&line);
            continue;
        }
        let mut remarks = Vec::new();
        if line.origin != BUILT_IN {
            remarks.push(line.origin.to_owned());
        }
        if line.weak.is_some() {
            remarks.push("weak".to_owned());
        }
        if profile.needs_url() {
            remarks.push("needs the registered url".to_owned());
        }
        let values = profile.needed_values();
        if !values.is_empty() {
            remarks.push(format!("needs {}", values.join(", ")));
        }
        table.row([
            line.name.to_owned(),
            line.title.to_owned(),
            covers(profile.coverage()).to_owned(),
            remarks.join("; "),
        ]);
    }
    if !json {
        table.print();
    }
}

fn show(profile: &Arc<Profile>) {
    let whole = whole(profile);
    let line = &whole.line;
    say(&format!("{}: {}", line.name, printable(line.title)));
    let tell = |head: &str, text: &str| say(&format!("  {head:<12}{}", printable(text)));
    tell("origin", line.origin);
    tell("signed", covers(profile.coverage()));
    if let Some(weak) = line.weak {
        tell("weak", weak);
    }
    for source in line.source {
        tell("source", source);
    }
    if let Some(note) = line.note {
        tell("note", note);
    }
    tell("answer", &answer_text(profile));
    for challenge in profile.descriptor().challenge.iter().flatten() {
        let method = challenge.method.as_deref().unwrap_or("POST");
        let when = serde_json::to_value(&challenge.when).unwrap_or_default();
        tell(
            "handshake",
            &format!("{method} with {}", toml_text::inline(&when)),
        );
    }
    if whole.needs_url {
        tell(
            "needs",
            "url: the address as it is registered with the provider",
        );
    }
    if !whole.needs_values.is_empty() {
        tell(
            "needs",
            &format!("values: {}", whole.needs_values.join(", ")),
        );
    }
    if !whole.events.is_empty() {
        let events = whole.events.join(", ");
        tell("send", &format!("--event {events}"));
    }
    say("");
    // Descriptors are texts, numbers and tables of them: they always serialize.
    let text = serde_json::to_value(profile.descriptor()).unwrap_or_default();
    say(&toml_text::table(&["profiles", line.name], &text));
}

const BUILT_IN: &str = "built in";

fn line(profile: &Arc<Profile>) -> Line<'_> {
    let descriptor = profile.descriptor();
    let built_in = builtin()
        .get(profile.name())
        .is_some_and(|own| Arc::ptr_eq(own, profile));
    Line {
        name: profile.name(),
        title: descriptor.title.as_deref().unwrap_or_default(),
        origin: if built_in {
            BUILT_IN
        } else {
            "from the configuration"
        },
        signed: Some(profile.coverage()),
        weak: profile.weakness(),
        source: descriptor.source.as_deref().unwrap_or_default(),
        note: descriptor.note.as_deref(),
    }
}

fn whole(profile: &Arc<Profile>) -> Whole<'_> {
    let answer = profile.answer();
    Whole {
        line: line(profile),
        answer: json!({
            "accepted": answer.accepted.as_u16(),
            "body": answer.body.as_ref().map(|body| &body.text),
            "content_type": answer.body.as_ref().map(|body| &body.content_type),
            "bad_signature": answer.bad_signature.map_or(401, |status| status.as_u16()),
            "budget_seconds": answer.budget.map(|budget| budget.as_secs()),
        }),
        needs_url: profile.needs_url(),
        needs_values: profile.needed_values(),
        events: sample_names(profile),
        profile: profile.descriptor(),
    }
}

/// The event types that `send` has a body for.
pub(super) fn sample_names(profile: &Profile) -> Vec<&str> {
    let samples = profile.descriptor().samples.iter().flatten();
    samples
        .map(|(name, _)| name.as_str())
        .filter(|name| *name != "*")
        .collect()
}

fn answer_text(profile: &Profile) -> String {
    let answer = profile.answer();
    let mut text = answer.accepted.as_u16().to_string();
    if let Some(body) = &answer.body {
        text.push_str(&format!(" \"{}\" ({})", body.text, body.content_type));
    }
    let bad = answer.bad_signature.map_or(401, |status| status.as_u16());
    text.push_str(&format!("; {bad} for a bad signature"));
    if let Some(budget) = answer.budget {
        text.push_str(&format!("; it waits {budget:#}"));
    }
    text
}

fn covers(coverage: Coverage) -> &'static str {
    match coverage {
        Coverage::Body => "the whole body",
        Coverage::Fields => "some fields of the body",
        Coverage::Reference => "a reference: the payment must be fetched",
        Coverage::Connection => "nothing: mutual TLS is the only proof",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_an_unknown_profile_is_two_clauses() {
        let said = unknown("nope", builtin());
        assert!(
            said.starts_with("there is no profile \"nope\"; `countersign profiles list`"),
            "{said}"
        );
        let said = unknown("strip", builtin());
        assert!(
            said.contains("\"strip\"; did you mean stripe? `countersign profiles list`"),
            "{said}"
        );
    }
}
