//! The CA's address as configuration writes it: `https://host:port`.

use std::{fmt, str::FromStr};

/// Istio's port for the same service.
const DEFAULT_PORT: u16 = 15012;

/// Where the CA listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CaAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The text is not `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("CA address `{text}`: expected `https://host:port`, without a path")]
pub struct CaAddressError {
    /// The text, control characters escaped.
    text: String,
}

impl FromStr for CaAddress {
    type Err = CaAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || CaAddressError {
            text: text.escape_debug().to_string(),
        };
        let uri: http::Uri = text.parse().map_err(|_| error())?;
        let authority = uri.authority().ok_or_else(error)?;
        let plain = uri.scheme_str() == Some("https")
            && uri.path() == "/"
            && uri.query().is_none()
            && !authority.as_str().contains('@');
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|inner| inner.strip_suffix(']'))
            .unwrap_or(host);
        if !plain || host.is_empty() {
            return Err(error());
        }
        Ok(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(DEFAULT_PORT),
        })
    }
}

impl fmt::Display for CaAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "https://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "https://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("https://127.0.0.1:15012", "https://127.0.0.1:15012"),
            ("https://ca.mesh/", "https://ca.mesh:15012"),
            ("https://[::1]:1", "https://[::1]:1"),
        ] {
            assert_eq!(text.parse::<CaAddress>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "ca:15012",
            "http://ca:15012",
            "https://ca:15012/x",
            "https://u@ca",
            "https://ca?x",
        ] {
            assert!(text.parse::<CaAddress>().is_err(), "{text}");
        }
    }
}
