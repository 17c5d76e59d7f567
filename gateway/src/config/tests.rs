//! The process file: what is read, what is refused.

use std::io::Write as _;
use std::time::Duration;

use super::{GatewayConfig, GatewayConfigError};

const LEAST: &str = "
apiVersion: portcullis.dev/v1
kind: GatewayConfig
identity: {trustDomain: cluster.local, ca: 'https://127.0.0.1:15012', joinToken: ./join.token}
stateDir: ./state
policies: [./policies]
defaultNamespace: my-app
listeners: {80: '127.0.0.1:8090', 443: '127.0.0.1:8443'}
";

fn load(text: &str, overrides: &[&str]) -> Result<GatewayConfig, GatewayConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    GatewayConfig::load(file.path(), &overrides)
}

#[test]
fn the_least_file_has_istios_gateway_workload() {
    let config = load(LEAST, &["drain.timeout=2s", "edge.selfSigned=true"]).unwrap();
    let id = config.spiffe_id().unwrap();
    assert_eq!(
        id.as_str(),
        "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway"
    );
    assert_eq!(config.workload.labels["istio"], "ingressgateway");
    assert_eq!(config.listeners[&80].port(), 8090);
    assert_eq!(config.drain.timeout, Duration::from_secs(2));
    assert!(config.edge.self_signed);
    assert!(
        config.state_dir.is_absolute(),
        "relative paths are relative to the file"
    );
}

#[test]
fn mistakes_are_refused() {
    let unknown = load(&format!("{LEAST}listener: 3\n"), &[])
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("listener"), "{unknown}");
    let nobody = load(
        &LEAST.replace("{80: '127.0.0.1:8090', 443: '127.0.0.1:8443'}", "{}"),
        &[],
    );
    assert!(nobody.unwrap_err().to_string().contains("listeners"));
    assert!(
        load(LEAST, &["timeouts.idle=0s"])
            .unwrap_err()
            .to_string()
            .contains("timeouts.idle")
    );
    assert!(load(LEAST, &["identity.trustDomain=Bad_Domain!"]).is_err());
    assert!(load(LEAST, &["threads=0"]).is_err());
}
