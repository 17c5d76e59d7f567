//! The documents that a command line names: files, directories and standard input.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use policies::source::SourceFile;
use runtime::documents::{DocumentSource, LONGEST_FILE};

use crate::exit::{Context as _, Failure};

/// What findings call standard input.
const STDIN: &str = "<stdin>";

/// Reads `FILE|DIR|-`; directories with everything below them that ends in `.yaml` or `.yml`.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<SourceFile>, Failure> {
    let (streams, others): (Vec<_>, Vec<_>) = paths
        .iter()
        .cloned()
        .partition(|path| path == Path::new("-"));
    let mut files = if others.is_empty() {
        Vec::new()
    } else {
        DocumentSource::new(others)
            .read_all()
            .map_err(|error| Failure::usage(error.to_string()))?
    };
    if !streams.is_empty() {
        files.push(SourceFile::new(STDIN, standard_input()?));
    }
    Ok(files)
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .take(LONGEST_FILE + 1)
        .read_to_string(&mut text)
        .context(|| "cannot read standard input".to_owned())?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= LONGEST_FILE) {
        Ok(text)
    } else {
        Err(Failure::usage(format!(
            "standard input is longer than {} MiB",
            LONGEST_FILE >> 20
        )))
    }
}
