//! `portcullis delete`: documents taken out of the running mesh.

use std::collections::BTreeSet;

use policies::document::Kind;
use policies::raw::Identity;

use crate::change::{self, Wanted, plan};
use crate::cli::Delete;
use crate::exit::{Exit, Failure};
use crate::get::kind_of;
use crate::inputs;
use crate::names::DEFAULT_NAMESPACE;

/// Deletes the documents that are named, or that some files hold.
pub(crate) fn run(args: &Delete) -> Result<Exit, Failure> {
    let identities = if args.files.is_empty() {
        named(args)?
    } else {
        let files = inputs::read(&args.files)?;
        let (wanted, _) = Wanted::of(&files, args.namespace.as_deref())?;
        wanted.into_iter().map(|wanted| wanted.identity).collect()
    };
    if identities.is_empty() {
        return Err(Failure::usage("there is no document to delete").hint(
            "name one, as in `portcullis delete vs product-service`, or give files with -f",
        ));
    }
    let missing = if args.ignore_not_found {
        plan::Missing::Fine
    } else {
        plan::Missing::Wrong
    };
    change::carry_out(&args.change, |dir| plan::delete(dir, &identities, missing))
}

/// `KIND NAME…` or `KIND/NAME…`.
fn named(args: &Delete) -> Result<BTreeSet<Identity>, Failure> {
    let Some((first, rest)) = args.what.split_first() else {
        return Ok(BTreeSet::new());
    };
    let pairs: Vec<(Kind, &str)> = if first.contains('/') {
        let pair = |text: &String| -> Result<(Kind, String), Failure> {
            let (kind, name) = text
                .split_once('/')
                .ok_or_else(|| Failure::usage(format!("`{text}` is not `KIND/NAME`")))?;
            Ok((kind_of(kind)?, name.to_owned()))
        };
        let found: Vec<(Kind, String)> = args.what.iter().map(pair).collect::<Result<_, _>>()?;
        return Ok(found
            .iter()
            .map(|(kind, name)| identity(*kind, name, args))
            .collect());
    } else {
        let kind = kind_of(first)?;
        rest.iter().map(|name| (kind, name.as_str())).collect()
    };
    Ok(pairs
        .into_iter()
        .map(|(kind, name)| identity(kind, name, args))
        .collect())
}

fn identity(kind: Kind, name: &str, args: &Delete) -> Identity {
    let namespace = args.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    Identity {
        group: kind.group().to_owned(),
        kind: kind.as_str().to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}
