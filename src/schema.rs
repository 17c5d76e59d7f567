//! `portcullis schema`: JSON Schema of the policy documents, for editors and other tools.

use policies::document::Kind;
use policies::schema::{self, Docs};

use crate::cli::{Schema, SchemaFormat};
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Where the words come from that editors show beside a field.
const REFERENCE: &str = include_str!("../docs/policies.md");

/// Prints the schema of one kind, or of files that may hold any.
pub(crate) fn run(args: &Schema) -> Result<Exit, Failure> {
    if args.list {
        let mut rows = vec![["KIND", "SHORT", "API VERSION"].map(str::to_owned).to_vec()];
        rows.extend(Kind::ALL.iter().map(|kind| {
            let short = kind.short_names().join(",");
            vec![
                kind.to_string(),
                short,
                kind.newest_api_version().to_owned(),
            ]
        }));
        terminal::print(&terminal::table(&rows));
        return Ok(Exit::Fine);
    }
    let SchemaFormat::Json = args.output;
    let docs = Docs::parse(REFERENCE);
    let schema = match &args.kind {
        None => schema::all(&docs),
        Some(name) => schema::of(kind(name)?, &docs),
    };
    terminal::line(format_args!("{schema:#}"));
    Ok(Exit::Fine)
}

fn kind(name: &str) -> Result<Kind, Failure> {
    Kind::parse(name).ok_or_else(|| {
        Failure::usage(format!("there is no kind `{name}`")).hint(format!(
            "`{} schema --list` shows every kind",
            terminal::me()
        ))
    })
}
