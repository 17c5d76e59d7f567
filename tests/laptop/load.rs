//! Load by the real hey, in the background, and what it has to say at the end.

use std::process::{Child, Command, Stdio};

use super::stdout;

/// A running hey.
pub(crate) struct Hey {
    child: Child,
}

impl Hey {
    /// Asks `url` for so long: `rate` requests a second on each of `connections`.
    pub(crate) fn start(url: &str, seconds: u64, connections: u32, rate: u32) -> Self {
        let child = Command::new("hey")
            .args(["-z", &format!("{seconds}s")])
            .args(["-c", &connections.to_string()])
            .args(["-q", &rate.to_string()])
            .arg(url)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hey is installed by `make test`");
        Self { child }
    }

    /// Whether it still asks.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end; every request must have been answered with 200. Returns how many there were.
    pub(crate) fn all_well(self) -> u64 {
        let report = stdout(self.child.wait_with_output().unwrap());
        assert!(!report.contains("Error distribution"), "{report}");
        let (_, codes) = report
            .split_once("Status code distribution:")
            .expect(&report);
        let codes: Vec<&str> = codes
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with('['))
            .collect();
        assert!(
            codes.len() == 1 && codes[0].starts_with("[200]"),
            "{report}"
        );
        codes[0]
            .split_whitespace()
            .nth(1)
            .and_then(|count| count.parse().ok())
            .expect(&report)
    }
}
