//! The process's own log: JSON or text to standard error, with a level that can change while running.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Deserialize;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

/// The one environment variable that this project reads: a filter that wins over the configured level.
pub const FILTER_VARIABLE: &str = "PORTCULLIS_LOG";

/// The `log` section of a process file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// A level (`error`, `warn`, `info`, `debug`, `trace`) or a filter (`info,dataplane=debug`).
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Json,
            level: "info".to_owned(),
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Why logging could not be set up or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The level or filter does not parse.
    #[error(
        "`{level}` is not a log level: {reason}; write error, warn, info, debug, trace or a filter such as `info,dataplane=debug`"
    )]
    Level {
        /// What was asked for.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The process logs already.
    #[error("logging is already set up in this process")]
    Taken,
    /// The subscriber is gone.
    #[error("the log is closed")]
    Closed,
}

/// The right to read and change the level at run time. Clones are one log.
#[derive(Clone)]
pub struct LogHandle {
    filter: Arc<dyn ChangeFilter>,
}

impl std::fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogHandle")
    }
}

trait ChangeFilter: Send + Sync {
    fn change(&self, filter: EnvFilter) -> Result<(), LogError>;
    fn current(&self) -> Option<String>;
}

impl ChangeFilter for reload::Handle<EnvFilter, Registry> {
    fn change(&self, filter: EnvFilter) -> Result<(), LogError> {
        self.reload(filter).map_err(|_| LogError::Closed)
    }

    fn current(&self) -> Option<String> {
        self.with_current(ToString::to_string).ok()
    }
}

/// Starts logging for the whole process. `PORTCULLIS_LOG`, where set, wins over `config.level`.
pub fn init(config: &LogConfig) -> Result<LogHandle, LogError> {
    let wish = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| config.level.clone());
    let (filter, handle) = reload::Layer::new(filter(&wish)?);
    let lines: Box<dyn Layer<_> + Send + Sync> = match config.format {
        LogFormat::Json => Box::new(
            fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .with_writer(StandardError)
                .log_internal_errors(false),
        ),
        LogFormat::Text => Box::new(
            fmt::layer()
                .with_ansi(false)
                .with_writer(StandardError)
                .log_internal_errors(false),
        ),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|_| LogError::Taken)?;
    Ok(LogHandle {
        filter: Arc::new(handle),
    })
}

impl LogHandle {
    /// Changes the level or filter from now on.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        self.filter.change(filter(level)?)
    }

    /// The filter in force.
    pub fn level(&self) -> String {
        self.filter.current().unwrap_or_default()
    }
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let refuse = |reason: String| LogError::Level {
        level: crate::escape::escape(level, 128).into_owned(),
        reason,
    };
    let words: Vec<&str> = level.split(',').map(str::trim).collect();
    if words.iter().any(|word| word.is_empty()) {
        return Err(refuse("a part is empty".to_owned()));
    }
    // A lone unknown word would be taken as the name of a module, and silence everything else.
    let mut global = words.iter().filter(|word| !word.contains(['=', '[']));
    if let Some(odd) =
        global.find(|word| word.parse::<tracing::level_filters::LevelFilter>().is_err())
    {
        return Err(refuse(format!(
            "`{}` is not a level",
            crate::escape::escape(odd, 64)
        )));
    }
    EnvFilter::builder()
        .parse(words.join(","))
        .map_err(|error| refuse(error.to_string()))
}

/// Standard error; a line is written whole, and a closed pipe never stops the process.
#[derive(Clone, Copy, Debug)]
struct StandardError;

impl<'a> MakeWriter<'a> for StandardError {
    type Writer = EscapedLine;

    fn make_writer(&'a self) -> Self::Writer {
        EscapedLine
    }
}

/// Escapes control characters inside one line, so that a stranger's text cannot forge another line.
#[derive(Debug)]
struct EscapedLine;

impl Write for EscapedLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        let mut out = io::stderr().lock();
        // Nobody can be told that the log is gone.
        if body.iter().any(u8::is_ascii_control) {
            let mut safe = crate::escape::escape_controls(body);
            safe.push(b'\n');
            out.write_all(&safe).ok();
        } else {
            out.write_all(line).ok();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters() {
        for level in [
            "info",
            "DEBUG",
            "off",
            "info,dataplane=debug",
            "warn, h2=trace",
        ] {
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in ["", "chatty", "info,chatty", "dataplane=loud"] {
            let error = filter(level).unwrap_err().to_string();
            assert!(error.contains("is not a log level"), "{error}");
        }
    }

    #[test]
    fn the_level_changes_at_run_time() {
        let handle = init(&LogConfig::default()).unwrap();
        assert!(!tracing::enabled!(tracing::Level::DEBUG));
        handle.set_level("debug").unwrap();
        assert!(tracing::enabled!(tracing::Level::DEBUG));
        assert_eq!(handle.level(), "debug");
        assert!(handle.set_level("chatty").is_err());
        assert_eq!(init(&LogConfig::default()).unwrap_err(), LogError::Taken);
    }
}
