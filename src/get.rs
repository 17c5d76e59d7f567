//! `portcullis get`: documents of a running process or of files, with the place where each is written.

mod columns;
mod print;
mod source;

use policies::document::Kind;
use policies::raw::Identity;
use serde_json::Value;

use crate::cli::{Get, GetFormat};
use crate::exit::{Exit, Failure};
use crate::names::DEFAULT_NAMESPACE;
use crate::terminal;

/// A document to show.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    identity: Identity,
    api_version: String,
    /// `file:line:column`.
    at: String,
    redacted: bool,
    value: Value,
}

/// Which documents are asked for.
#[derive(Debug)]
struct Query {
    /// None asks for all kinds.
    kinds: Option<Vec<Kind>>,
    names: Vec<String>,
    /// None asks for all namespaces.
    namespace: Option<String>,
}

/// Prints the documents that are asked for.
pub(crate) fn run(args: &Get) -> Result<Exit, Failure> {
    let query = Query::of(args)?;
    let all = if args.files.is_empty() {
        source::of_process(args, &query)?
    } else {
        source::of_files(&args.files)?
    };
    let found: Vec<Shown> = all
        .iter()
        .filter(|shown| query.wants(shown))
        .cloned()
        .collect();
    let missing = query.missing(&found);
    if found.is_empty() && missing.is_empty() && args.output != GetFormat::Json {
        terminal::note(query.nothing());
        return Ok(Exit::Fine);
    }
    if !found.is_empty() || missing.is_empty() {
        terminal::print(&print::print(&found, args.output, &query)?);
    }
    if found.iter().any(|shown| shown.redacted)
        && matches!(args.output, GetFormat::Yaml | GetFormat::Json)
    {
        terminal::note("portcullis: secrets are left out; they stand in the files only");
    }
    match missing.first() {
        None => Ok(Exit::Fine),
        Some(name) => Err(query.not_found(name, &all)),
    }
}

/// A kind by any name that kubectl takes.
pub(crate) fn kind_of(text: &str) -> Result<Kind, Failure> {
    Kind::parse(text).ok_or_else(|| {
        let known: Vec<String> = Kind::ALL
            .iter()
            .map(|kind| match kind.short_names().first() {
                Some(short) => format!("{} ({short})", kind.plural()),
                None => kind.plural().to_owned(),
            })
            .collect();
        Failure::usage(format!("`{text}` is no kind of document"))
            .hint(format!("kinds are: {}", known.join(", ")))
    })
}

impl Query {
    fn of(args: &Get) -> Result<Self, Failure> {
        let (kinds, mut names) = match args.kind.split_once('/') {
            Some((kind, name)) => (kind, vec![name.to_owned()]),
            None => (args.kind.as_str(), Vec::new()),
        };
        names.extend(args.names.iter().cloned());
        let kinds = if kinds == "all" {
            None
        } else {
            Some(kinds.split(',').map(kind_of).collect::<Result<_, _>>()?)
        };
        // Files are few, and whoever names them means all of what is in them.
        let default = args.files.is_empty().then(|| DEFAULT_NAMESPACE.to_owned());
        let namespace = args.namespace.clone().or(default);
        Ok(Self {
            kinds,
            names,
            namespace: namespace.filter(|_| !args.all_namespaces),
        })
    }

    fn wants(&self, shown: &Shown) -> bool {
        let Identity {
            group,
            kind,
            namespace,
            name,
        } = &shown.identity;
        let known = Kind::ALL
            .iter()
            .find(|known| known.as_str() == kind && known.group() == group);
        let of_kind = match &self.kinds {
            None => true,
            Some(kinds) => known.is_some_and(|known| kinds.contains(known)),
        };
        let of_namespace = match &self.namespace {
            Some(wanted) if known.is_none_or(|known| known.is_namespaced()) => wanted == namespace,
            _ => true,
        };
        of_kind && of_namespace && (self.names.is_empty() || self.names.contains(name))
    }

    fn missing(&self, found: &[Shown]) -> Vec<&String> {
        let there = |name: &str| found.iter().any(|shown| shown.identity.name == name);
        self.names.iter().filter(|name| !there(name)).collect()
    }

    fn what(&self) -> String {
        match &self.kinds {
            None => "documents".to_owned(),
            Some(kinds) => {
                let plurals: Vec<&str> = kinds.iter().map(|kind| kind.plural()).collect();
                plurals.join(" or ")
            }
        }
    }

    fn nothing(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!(
                "no {} in the namespace {namespace}; -A shows all namespaces",
                self.what()
            ),
            None => format!("no {}", self.what()),
        }
    }

    fn not_found(&self, name: &str, all: &[Shown]) -> Failure {
        let place = self
            .namespace
            .as_ref()
            .map(|namespace| format!(" in the namespace {namespace}"))
            .unwrap_or_default();
        let failure = Failure::new(format!("no {} `{name}`{place}", self.what()));
        let anywhere = Self {
            kinds: self.kinds.clone(),
            names: vec![name.to_owned()],
            namespace: None,
        };
        match all.iter().find(|shown| anywhere.wants(shown)) {
            Some(other) => failure.hint(format!(
                "there is one in the namespace {0}: use -n {0}",
                other.identity.namespace
            )),
            None => failure,
        }
    }
}
