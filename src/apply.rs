//! `portcullis apply`: documents put in force in the running mesh.

use crate::change::{self, Wanted, plan};
use crate::cli::Apply;
use crate::exit::{Exit, Failure};
use crate::inputs;
use crate::terminal;

/// Applies the documents of files, directories or standard input.
pub(crate) fn run(args: &Apply) -> Result<Exit, Failure> {
    let files = inputs::read(&args.files)?;
    change::refuse_errors(&files)?;
    let (wanted, skipped) = Wanted::of(&files, args.namespace.as_deref())?;
    for document in skipped {
        terminal::note(format_args!(
            "{document} is not read by Portcullis, and left out"
        ));
    }
    if wanted.is_empty() {
        return Err(Failure::usage("there is no document to apply"));
    }
    change::carry_out(&args.change, |dir| plan::apply(dir, &wanted))
}
