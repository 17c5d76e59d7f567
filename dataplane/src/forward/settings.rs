//! What a process says about forwarding.

use std::time::Duration;

use policies::resilience::RetryPolicy;
use serde::Deserialize;

/// `retry` of the process files of gateway and sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryConfig {
    /// How much of a request's body is kept so that it can be sent again, in bytes; a longer one is sent once. At most
    /// 16 MiB; 0 keeps nothing.
    #[serde(deserialize_with = "buffer_bytes")]
    pub buffer_bytes: usize,
}

const MOST: usize = 16 * 1024 * 1024;

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            buffer_bytes: 64 * 1024,
        }
    }
}

fn buffer_bytes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let bytes = usize::deserialize(from)?;
    if bytes > MOST {
        let message = format!("`retry.bufferBytes` is `{bytes}`, expected at most {MOST}");
        return Err(serde::de::Error::custom(message));
    }
    Ok(bytes)
}

/// How a process forwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardSettings {
    /// What is kept of requests.
    pub retry: RetryConfig,
    /// How long an exchange may go without a byte in either direction; none is no limit.
    pub stream_idle: Option<Duration>,
}

impl ForwardSettings {
    /// How much of a request is kept; nothing where it is never sent again.
    pub(super) const fn keep(&self, policy: &RetryPolicy) -> Option<usize> {
        if policy.attempts == 0 {
            return None;
        }
        Some(self.retry.buffer_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let read = |text: &str| serde_json::from_str::<RetryConfig>(text);
        assert_eq!(read("{}").unwrap().buffer_bytes, 65_536);
        assert_eq!(read(r#"{"bufferBytes": 0}"#).unwrap().buffer_bytes, 0);
        let error = read(r#"{"bufferBytes": 16777217}"#).unwrap_err();
        assert!(error.to_string().contains("at most 16777216"), "{error}");
        assert!(read(r#"{"buffer": 1}"#).is_err());
        let settings = ForwardSettings::default();
        assert_eq!(settings.keep(&RetryPolicy::off()), None);
        assert_eq!(settings.keep(&RetryPolicy::default()), Some(65_536));
    }
}
