//! The one strict configuration file of a process, and the flags that override single keys.

mod edit;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// The API version of every process file.
pub const API_VERSION: &str = "portcullis.dev/v1";

/// The longest process file, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// The typed form of one kind of process file.
///
/// The loader checks `apiVersion` and `kind` and takes them out, so the type must *not* declare them. Types should say
/// `#[serde(rename_all = "camelCase", deny_unknown_fields)]`, inner ones too.
pub trait ConfigDocument: DeserializeOwned {
    /// The `kind`, for example `SidecarConfig`.
    const KIND: &'static str;
}

/// Why a process file cannot be used. The message carries file, line, column and the lines around.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The content is wrong.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// 1-based.
        column: u64,
        /// What is wrong, in several lines where a piece of the file helps.
        message: String,
    },
    /// A `--set` cannot be applied.
    #[error("`--set {assignment}`: {reason}")]
    Override {
        /// The argument.
        assignment: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads a process file strictly: unknown and duplicate keys, wrong types and missing fields are errors with their
/// exact place. Each override is `key.path=value` (list elements by number: `inbound.0.listen=127.0.0.1:0`) and
/// replaces or adds that key as if it stood in the file.
pub fn load<T: ConfigDocument>(path: &Path, overrides: &[String]) -> Result<T, ConfigError> {
    let text = read(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, text, overrides)
}

/// Relative paths in a process file are relative to the file: `base` is the file.
///
/// Leading `..` are taken away where the directory is known, so that messages show short paths; a symbolic link that
/// somebody may swap stays in the path.
pub fn resolve(base: &Path, path: &Path) -> PathBuf {
    let directory = match base.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let mut rest = path.strip_prefix(".").unwrap_or(path);
    if !rest.starts_with("..") {
        return directory.join(rest);
    }
    let Ok(mut real) = std::fs::canonicalize(directory) else {
        return directory.join(rest);
    };
    while let Ok(above) = rest.strip_prefix("..") {
        real.pop();
        rest = above;
    }
    real.join(rest)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len().try_into().unwrap_or(u64::MAX) > LONGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

fn parse<T: ConfigDocument>(
    path: &Path,
    mut text: String,
    overrides: &[String],
) -> Result<T, ConfigError> {
    for assignment in overrides {
        text = edit::apply(&text, assignment).map_err(|problem| problem.at(path, assignment))?;
    }
    text = edit::take_header(&text, T::KIND).map_err(|problem| problem.at(path, ""))?;
    let mut options = serde_saphyr::Options::default();
    options.strict_booleans = true;
    options.reject_unsupported_tags = true;
    options.merge_keys = serde_saphyr::MergeKeyPolicy::Error;
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let place = error.location();
        ConfigError::Content {
            path: path.to_owned(),
            line: place.map_or(1, |place| place.line()),
            column: place.map_or(1, |place| place.column()),
            message: error.render(),
        }
    })
}

#[cfg(test)]
mod tests;
