//! Routes of connections: which rule is used, and where its bytes go.

use super::*;
use crate::route::WeightedClusters;

fn rule(sni: &[&str], destinations: &[&str], source: Option<&str>, name: &str) -> OpaqueRule {
    OpaqueRule {
        sni: sni.iter().map(|text| HostPattern::parse(text)).collect(),
        destinations: destinations
            .iter()
            .map(|text| Cidr::parse(text).unwrap())
            .collect(),
        source: source.map(|text| Cidr::parse(text).unwrap()),
        route: Arc::new(OpaqueRoute {
            virtual_service: name.into(),
            at: Location::new("test.yaml", 1, 1),
            clusters: None::<WeightedClusters>,
        }),
    }
}

#[test]
fn the_first_rule_whose_conditions_all_hold_is_used() {
    let rules = OpaqueRules(vec![
        rule(&["a.example.com"], &["10.0.0.0/8"], None, "both"),
        rule(&["*.example.com"], &[], None, "wildcard"),
        rule(&[], &[], Some("192.168.0.0/16"), "source"),
        rule(&[], &["10.1.0.0/16", "10.2.0.0/16"], None, "either"),
    ]);
    assert!(rules.look_at_sni());
    for (sni, source, destination, expected) in [
        (Some("a.example.com"), "127.0.0.1", "10.9.9.9", Some("both")),
        (
            Some("a.example.com"),
            "127.0.0.1",
            "127.0.0.1",
            Some("wildcard"),
        ),
        (Some("example.com"), "127.0.0.1", "127.0.0.1", None),
        (None, "192.168.7.7", "127.0.0.1", Some("source")),
        (None, "127.0.0.1", "10.2.3.4", Some("either")),
        (None, "127.0.0.1", "::ffff:10.2.3.4", Some("either")),
    ] {
        let connection = ConnectionView {
            sni,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        };
        let found = rules.find(&connection).map(|route| &*route.virtual_service);
        assert_eq!(found, expected, "{connection:?}");
    }
}
