//! `portcullis canary`: how requests are divided between the versions of a service, shown and set in the mesh's documents.

mod effect;
mod release;

use std::str::FromStr;

use clap::{Args, Subcommand};

use self::release::Release;
use crate::change;
use crate::cli::{Changing, Dir, Format};
use crate::directory::MeshDir;
use crate::exit::{Exit, Failure};
use crate::explain::show;
use crate::names::DEFAULT_NAMESPACE;
use crate::record::Record;

/// What the help shows.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis canary show product-service              subsets, and the weights of every route
  portcullis canary set product-service v2=25         v2 takes 25 %, the others share the rest
  portcullis canary set product-service v1=75 v2=25   all of them, 100 together
  portcullis canary set product-service v2=0 --dry-run
  portcullis canary set product-service v2=100 -o json

The weights change where they stand, and nothing else in the files does. A route with one destination only, such as one
that a header asks for, stays as it is. Checked, written, waited for and taken back as `apply` does it.

Exit codes: 0 in force, 1 refused, late or nothing to set, 2 a wrong command line, an unknown host or subset, 3 no mesh there.";

/// `portcullis canary`.
#[derive(Debug, Args)]
pub(crate) struct Canary {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set the weights of subsets in every route that divides the requests for a service
    #[command(after_help = EXAMPLES)]
    Set(Set),
    /// Show a service's subsets, and the weights of every route that sends to it
    #[command(after_help = EXAMPLES)]
    Show(Show),
}

#[derive(Debug, Args)]
struct Set {
    #[command(flatten)]
    change: Changing,
    #[command(flatten)]
    service: Service,
    /// A subset and its part of 100; those that are not named share the rest in the proportion that they have now
    #[arg(value_name = "SUBSET=WEIGHT", required = true)]
    parts: Vec<Part>,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    service: Service,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Whose requests are divided.
#[derive(Debug, Args)]
struct Service {
    /// The service: `product-service`, `product-service.my-app.svc` or its whole name
    #[arg(value_name = "HOST")]
    host: String,
    /// The namespace of a short name
    #[arg(short, long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
}

/// `v2=25`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    subset: String,
    weight: u32,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (subset, weight) = text
            .split_once('=')
            .filter(|(subset, _)| !subset.is_empty())
            .ok_or_else(|| format!("`{text}` is not `subset=weight`"))?;
        let digits = weight.strip_suffix('%').unwrap_or(weight);
        let weight = digits.parse::<u32>().ok().filter(|weight| *weight <= 100);
        let weight = weight
            .ok_or_else(|| format!("the weight in `{text}` is not a whole number from 0 to 100"))?;
        Ok(Self {
            subset: subset.to_owned(),
            weight,
        })
    }
}

/// Runs a verb of the group.
pub(crate) fn run(args: &Canary) -> Result<Exit, Failure> {
    match &args.command {
        Command::Set(args) => set(args),
        Command::Show(args) => shown(args),
    }
}

fn set(args: &Set) -> Result<Exit, Failure> {
    let wanted = wanted(&args.parts)?;
    let service = &args.service;
    change::carry_out(&args.change, |dir| {
        Release::read(dir, &service.host, &service.namespace)?.plan(dir, &wanted)
    })
}

fn shown(args: &Show) -> Result<Exit, Failure> {
    let dir = MeshDir::resolve(&args.dir)?;
    Record::of_running(&dir)?;
    let release = Release::read(&dir, &args.service.host, &args.service.namespace)?;
    let now = release.now(&dir);
    show(args.output, &now, || effect::standing(&now))?;
    Ok(Exit::Fine)
}

/// What was asked for, each subset once and not more than there is.
fn wanted(parts: &[Part]) -> Result<Vec<(String, u32)>, Failure> {
    let mut wanted: Vec<(String, u32)> = Vec::new();
    for part in parts {
        if wanted.iter().any(|(subset, _)| *subset == part.subset) {
            return Err(Failure::usage(format!("`{}` is given twice", part.subset)));
        }
        wanted.push((part.subset.clone(), part.weight));
    }
    let sum = wanted
        .iter()
        .fold(0_u32, |sum, (_, weight)| sum.saturating_add(*weight));
    if sum > 100 {
        return Err(Failure::usage(format!(
            "the weights come to {sum}, which is more than 100"
        )));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read() {
        let part = |text: &str| text.parse::<Part>();
        let v2 = Part {
            subset: "v2".to_owned(),
            weight: 25,
        };
        assert_eq!(part("v2=25"), Ok(v2.clone()));
        assert_eq!(part("v2=25%"), Ok(v2));
        for wrong in ["v2", "=25", "v2=", "v2=101", "v2=-1", "v2=2.5", "v2=x"] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_is_a_wrong_command_line() {
        let asked = |texts: &[&str]| {
            let parts = texts.iter().map(|text| text.parse().unwrap());
            wanted(&parts.collect::<Vec<_>>())
        };
        assert_eq!(asked(&["v2=25", "v1=75"]).unwrap().len(), 2);
        for wrong in [&["v2=25", "v2=30"][..], &["v1=60", "v2=60"]] {
            let failure = asked(wrong).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{failure}");
        }
    }
}
