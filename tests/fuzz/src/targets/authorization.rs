//! Authorization of random policies: deciding never fails, and more rules never open what they must not.

use std::net::{IpAddr, Ipv4Addr};

use authz::{Action, Facts, HttpFacts, PolicySet, Verdict, normalize};
use http::{HeaderMap, HeaderName, HeaderValue};
use identity::SpiffeId;
use policies::load::load;
use policies::mesh::{Mesh, PathNormalization};
use policies::source::SourceFile;
use policies::workload::Workload;

use crate::choices::Choices;

const PRINCIPALS: &[&str] = &[
    "*",
    "cluster.local/ns/a/sa/x",
    "cluster.local/ns/a/*",
    "*/sa/x",
    "td/ns/b/sa/y",
    "spiffe://td/ns/a/sa/x",
];
const PEERS: &[&str] = &[
    "spiffe://cluster.local/ns/a/sa/x",
    "spiffe://td/ns/b/sa/y",
    "spiffe://td",
    "spiffe://td/x",
];
const PATHS: &[&str] = &[
    "/a",
    "/a/*",
    "*/b",
    "*",
    "/a/{*}",
    "/{**}/b",
    "/a/{*}/c/{**}",
    "/a?x",
];
const REQUESTS: &[&str] = &[
    "/a",
    "/a/b",
    "/a//b",
    "/a/../b",
    "/a/%2e%2e/b",
    "/%61/b;c",
    "/a/b/c/d",
    "/é/b",
    "/",
    "*",
    "/a%2fb",
];
const HOSTS: &[&str] = &["a.test", "*.test", "A.TEST", "a.test:*", "*"];
const AUTHORITIES: &[&str] = &["a.test", "a.test:80", "A.test", "", "b.test"];
const METHODS: &[&str] = &["GET", "POST", "*", "G*"];
const BLOCKS: &[&str] = &[
    "10.0.0.0/8",
    "10.1.2.3",
    "0.0.0.0/0",
    "2001:db8::/32",
    "10.1.2.3/31",
];
const VALUES: &[&str] = &["a", "a*", "*a", "*"];
const SENT: &[&str] = &["a", "ab", "", "b,a"];

/// Makes policies, and asks them about requests.
pub fn authorization(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut text = String::new();
    for number in 0..=choices.below(4) {
        text.push_str(&policy(&mut choices, number));
    }
    let alone = compile(&text);
    let denied = compile(&format!("{text}{}", whole("deny-all", "DENY", "[{}]")));
    let opened = compile(&format!("{text}{}", whole("allow-all", "ALLOW", "[{}]")));
    let closed = compile(&format!("{text}{}", whole("allow-none", "ALLOW", "[]")));
    for _ in 0..12 {
        ask(&mut choices, [&alone, &denied, &opened, &closed], &text);
        if choices.is_empty() {
            break;
        }
    }
}

fn ask(choices: &mut Choices<'_>, sets: [&PolicySet; 4], text: &str) {
    let [alone, denied, opened, closed] = sets;
    let peer = SpiffeId::parse(choices.of(PEERS)).expect("an identity");
    let mode = choices.of(&[
        PathNormalization::Base,
        PathNormalization::None,
        PathNormalization::DecodeAndMergeSlashes,
    ]);
    let raw = choices.of(REQUESTS);
    let path = normalize(raw, mode).expect("a path");
    let mut headers = HeaderMap::new();
    for _ in 0..choices.below(3) {
        headers.append(
            HeaderName::from_static("x-role"),
            HeaderValue::from_static(choices.of(SENT)),
        );
    }
    let addresses: [IpAddr; 3] = [
        Ipv4Addr::new(10, 1, 2, 3).into(),
        Ipv4Addr::LOCALHOST.into(),
        "2001:db8::1".parse().expect("an address"),
    ];
    let facts = Facts {
        peer: (!choices.once_in(3)).then_some(&peer),
        source_ip: choices.of(&addresses),
        remote_ip: choices.of(&addresses),
        destination_ip: choices.of(&addresses),
        destination_port: choices.of(&[80, 8080]),
        sni: choices.once_in(2).then_some("a.test"),
        http: (!choices.once_in(5)).then_some(HttpFacts {
            method: choices.of(&["GET", "POST", "get", ""]),
            host: choices.of(AUTHORITIES),
            path: &path,
            headers: &headers,
            claims: None,
        }),
    };
    let decision = alone.decide(&facts);
    assert_eq!(
        decision,
        alone.decide(&facts),
        "a decision changes by itself\n{text}"
    );
    assert_eq!(
        denied.decide(&facts).verdict,
        Verdict::Deny,
        "a rule for everything lets {facts:?} pass\n{text}"
    );
    match decision.by.map(|by| by.action) {
        Some(Action::Deny) => {
            assert_eq!(decision.verdict, Verdict::Deny, "{facts:?}\n{text}");
            for more in [opened, closed] {
                assert_eq!(
                    more.decide(&facts).verdict,
                    Verdict::Deny,
                    "an ALLOW opened a DENY for {facts:?}\n{text}"
                );
            }
        }
        by => {
            let allowed = by == Some(Action::Allow);
            assert!(!allowed || decision.is_allowed(), "{facts:?}\n{text}");
            assert!(
                opened.decide(&facts).is_allowed(),
                "nothing denies {facts:?}, everything is allowed, and still\n{text}"
            );
            assert_eq!(
                closed.decide(&facts).is_allowed(),
                allowed,
                "deny by default fails for {facts:?}\n{text}"
            );
        }
    }
}

fn compile(text: &str) -> PolicySet {
    let mesh = Mesh::default();
    let loaded = load(&[SourceFile::new("authorization.yaml", text)], &mesh);
    let own = Workload {
        name: "web".to_owned(),
        namespace: "default".to_owned(),
        service_account: "web".to_owned(),
        labels: [("app".to_owned(), "web".to_owned())].into(),
    };
    let (registry, _) = policies::check::check(&loaded.documents, &mesh);
    let found = authz::check::check(&loaded.documents, &registry, &mesh);
    let set = PolicySet::compile(&loaded.documents, &own, &mesh);
    if let Some(error) = loaded
        .diagnostics
        .iter()
        .chain(&found)
        .find(|found| found.is_error())
    {
        panic!("a policy that should load does not: {error}\n{text}");
    }
    set
}

fn whole(name: &str, action: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}}}\nspec: {{action: {action}, rules: {rules}}}\n"
    )
}

fn policy(choices: &mut Choices<'_>, number: usize) -> String {
    let action = choices.of(&["ALLOW", "DENY"]);
    let rules: Vec<String> = choices.some(3, |choices| {
        let mut parts = Vec::new();
        if choices.once_in(2) {
            let sources = choices.some(2, |choices| {
                let field = match choices.below(5) {
                    0 => list(choices, "rincipals", "p", "notP", PRINCIPALS),
                    1 => list(choices, "amespaces", "n", "notN", &["a", "b", "*"]),
                    2 => list(choices, "pBlocks", "i", "notI", BLOCKS),
                    3 => list(choices, "emoteIpBlocks", "r", "notR", BLOCKS),
                    _ => format!(
                        "serviceAccounts: {:?}",
                        choices.some(2, |choices| choices.of(&["x", "a/x", "b/y"]))
                    ),
                };
                format!("{{source: {{{field}}}}}")
            });
            parts.push(format!("from: [{}]", sources.join(", ")));
        }
        if choices.once_in(2) {
            let operations = choices.some(2, |choices| {
                let mut fields = vec![list(choices, "aths", "p", "notP", PATHS)];
                if choices.once_in(2) {
                    fields.push(list(choices, "ethods", "m", "notM", METHODS));
                }
                if choices.once_in(3) {
                    fields.push(list(choices, "osts", "h", "notH", HOSTS));
                }
                if choices.once_in(3) {
                    fields.push(list(choices, "orts", "p", "notP", &["80", "9000"]));
                }
                format!("{{operation: {{{}}}}}", fields.join(", "))
            });
            parts.push(format!("to: [{}]", operations.join(", ")));
        }
        if choices.once_in(3) {
            let (key, values): (&str, &[&str]) = choices.of(&[
                ("request.headers[x-role]", VALUES),
                ("source.ip", BLOCKS),
                ("source.principal", PRINCIPALS),
                ("connection.sni", &["a.test", "*.test", "*"]),
                ("destination.port", &["80"]),
            ]);
            let values = list(choices, "alues", "v", "notV", values);
            parts.push(format!("when: [{{key: {key:?}, {values}}}]"));
        }
        format!("{{{}}}", parts.join(", "))
    });
    whole(
        &format!("p{number}"),
        action,
        &format!("[{}]", rules.join(", ")),
    )
}

/// `principals` or `notPrincipals`, with some values.
fn list(choices: &mut Choices<'_>, rest: &str, plain: &str, not: &str, values: &[&str]) -> String {
    let name = if choices.once_in(3) { not } else { plain };
    let chosen = choices.some(2, |choices| choices.of(values));
    format!("{name}{rest}: {chosen:?}")
}
