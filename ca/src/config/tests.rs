//! The configuration as people write it, and what is refused.

use super::*;

const WHOLE: &str = "
apiVersion: portcullis.dev/v1
kind: CaConfig
trustDomain: cluster.local
listen: \"127.0.0.1:15012\"
stateDir: ./state
adminSocket: ./admin.sock
profile: laptop
entries: [./entries]
x509: {ttl: 1h, maxTTL: 24h}
edge: {callers: [\"spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway\"]}
admin: \"127.0.0.1:0\"
takenPorts: refuse
log: {format: json, level: info}
";

fn load(text: &str, overrides: &[&str]) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.yaml");
    std::fs::write(&file, text).unwrap();
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    Config::load(&file, &overrides).map_err(|error| error.to_string())
}

#[test]
fn the_whole_shape_loads() {
    let config = load(WHOLE, &[]).unwrap();
    assert_eq!(config.trust_domain.as_str(), "cluster.local");
    assert_eq!(config.lifetimes.max, Duration::from_hours(24));
    assert!(config.state_dir.ends_with("state") && config.state_dir.is_absolute());
    assert_eq!(config.edge_callers.len(), 1);
}

#[test]
fn mistakes_are_named() {
    let cases: [(&[&str], &str); 7] = [
        (&["x509.ttl=48h"], "`ttl` is above `maxTTL`"),
        (&["x509.ttl=5s"], "below 10 seconds"),
        (&["x509.maxTTL=2000h"], "a sixth of the intermediate's life"),
        (&["trustDomain=Cluster.Local"], "is no trust domain"),
        (&["profile=production"], "only with `profile: laptop`"),
        (
            &["edge.callers.0=spiffe://other/ns/a/sa/b"],
            "`edge.callers`",
        ),
        (
            &["limits.concurrent=0"],
            "`limits.concurrent` must be at least 1",
        ),
    ];
    for (overrides, expected) in cases {
        let error = load(WHOLE, overrides).unwrap_err();
        assert!(error.contains(expected), "{overrides:?}: {error}");
    }
    assert!(
        load(&format!("{WHOLE}surprise: 1\n"), &[])
            .unwrap_err()
            .contains("surprise")
    );
}
