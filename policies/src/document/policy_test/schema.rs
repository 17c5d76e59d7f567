//! How a PolicyTest is read.

use super::{
    DecidedBy, InlineDocument, Outcome, PolicyTest, TestCase, TestMesh, TestRequest, TestWorkload,
};
use crate::decode::{Cursor, Decode, Document, Fields, NonEmpty, Standing, is_label, labels};
use crate::diagnostic::{DocPath, codes};
use crate::document::mesh_config::provider::{
    ExtAuthz, ExtAuthzHttp, ExtensionProvider, ProviderKind, ProviderService,
};
use crate::document::mesh_config::{TrustDomain, namespace};
use crate::document::{Meta, Spanned};
use crate::schema::Shape;

impl Document for PolicyTest {
    const STANDING: Standing = Standing::Beside {
        code: codes::POLICY_TEST_NOT_IN_FORCE,
        what: "it is a test of policies, and no policy: `portcullis policy test` carries it out",
    };

    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let mesh = f.or_default::<TestMesh>("mesh");
        let policies = f.list::<Spanned<NonEmpty>>("policies");
        let documents = f.list::<InlineDocument>("documents");
        let workload = f.required::<TestWorkload>("workload");
        let cases = f.non_empty_if_there::<TestCase>("cases");
        let matrix = f.optional("matrix");
        f.any_of(&["cases", "matrix"]);
        let cases = cases?;
        same_names(f, &cases);
        let policies = policies.into_iter();
        Some(Self {
            meta,
            mesh,
            policies: policies
                .map(|file| file.map(|NonEmpty(file)| file))
                .collect(),
            documents,
            workload: workload?,
            cases,
            matrix,
        })
    }
}

/// A failure is known by the name of its case.
fn same_names(f: &Fields<'_>, cases: &[TestCase]) {
    let mut first = std::collections::BTreeMap::new();
    for TestCase { name, .. } in cases {
        if let Some(earlier) = first.insert(name.value.as_str(), name) {
            let message = format!(
                "two cases are called `{name}`, the other one stands at {}",
                earlier.at
            );
            f.report(crate::diagnostic::Diagnostic::warning(
                codes::DUPLICATE_ENTRY,
                name.at.clone(),
                &name.path,
                message,
            ));
        }
    }
}

impl Decode for InlineDocument {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        // Anything may stand in it here: its own decoder reads it when the test is carried out.
        cursor.entries()?;
        Some(Self(cursor.node.clone()))
    }
}

impl Decode for TestMesh {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let trust_domain = f.optional::<TrustDomain>("trustDomain");
            let aliases_written = f.has("trustDomainAliases");
            let aliases = f.list::<TrustDomain>("trustDomainAliases");
            let root_namespace = f.get("rootNamespace").and_then(|cursor| namespace(&cursor));
            let path_normalization = f.optional("pathNormalization");
            let providers_written = f.has("extensionProviders");
            let providers = f.list::<TestProvider>("extensionProviders");
            Some(Self {
                trust_domain: trust_domain.map(|TrustDomain(name)| name),
                trust_domain_aliases: aliases_written
                    .then(|| aliases.into_iter().map(|TrustDomain(name)| name).collect()),
                root_namespace,
                path_normalization,
                extension_providers: providers_written.then(|| {
                    let providers = providers.into_iter();
                    providers.map(|TestProvider(provider)| provider).collect()
                }),
            })
        })
    }
}

/// `{name: my-authz, type: http}`: nobody is asked, so an address would say nothing.
struct TestProvider(ExtensionProvider);

#[derive(Clone, Copy)]
enum ProviderType {
    Http,
    Grpc,
}

impl Decode for TestProvider {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<Spanned<NonEmpty>>("name");
            f.cursor().note(|shape| shape.required("type"));
            let kind = f.get("type");
            if kind.is_none() {
                f.missing("type");
            }
            let kind = kind.and_then(|cursor| {
                cursor.one_of(&[("http", ProviderType::Http), ("grpc", ProviderType::Grpc)])
            });
            let name = name?.map(|NonEmpty(name)| name);
            let service = Spanned::new(name.value.clone(), name.at.clone(), DocPath::root());
            let port = Spanned::new(80, name.at.clone(), DocPath::root());
            let common = ExtAuthz {
                at: ProviderService { service, port },
                timeout: None,
                fail_open: false,
                status_on_error: None,
                clear_route_cache: false,
                request_body: None,
            };
            let kind = match kind? {
                ProviderType::Grpc => ProviderKind::ExtAuthzGrpc(common),
                ProviderType::Http => ProviderKind::ExtAuthzHttp(Box::new(ExtAuthzHttp {
                    common,
                    path_prefix: String::new(),
                    request_headers: Vec::new(),
                    additional_headers: std::collections::BTreeMap::new(),
                    headers_to_upstream_on_allow: Vec::new(),
                    headers_to_downstream_on_deny: Vec::new(),
                    headers_to_downstream_on_allow: Vec::new(),
                })),
            };
            Some(Self(ExtensionProvider { name, kind }))
        })
    }
}

impl Decode for TestWorkload {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = |cursor: Option<Cursor<'_>>, what: &str| {
                let cursor = cursor?;
                match cursor.text()? {
                    text if is_label(text) => Some(text.to_owned()),
                    _ => cursor.invalid(what),
                }
            };
            f.cursor().note(|shape| shape.required("namespace"));
            let written = f.get("namespace");
            if written.is_none() {
                f.missing("namespace");
            }
            let namespace = name(written, "a namespace");
            let labels = labels(f, "labels");
            let account = f.get("serviceAccount");
            let account_written = account.is_some();
            let service_account = name(account, "a service account");
            if account_written && service_account.is_none() {
                return None;
            }
            Some(Self {
                namespace: namespace?,
                labels,
                service_account: service_account.unwrap_or_else(|| "default".to_owned()),
            })
        })
    }
}

impl Decode for TestCase {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<Spanned<NonEmpty>>("name");
            let written = f.has("request");
            let request = f.optional::<TestRequest>("request");
            let expect = f.required::<Spanned<Outcome>>("expect");
            let by_written = f.has("by");
            let by = f.optional::<Spanned<DecidedBy>>("by");
            if (written && request.is_none()) || (by_written && by.is_none()) {
                return None;
            }
            Some(Self {
                name: name?.map(|NonEmpty(name)| name),
                request: request.unwrap_or_default(),
                expect: expect?,
                by,
                at: f.cursor().at(),
            })
        })
    }
}

impl Decode for Outcome {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&Self::ALL)
    }
}

impl Decode for DecidedBy {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.note(Shape::text);
        let text = cursor.text()?;
        decided_by(text).or_else(|| {
            let help = "write `[namespace/]name/rules[0]` for an AuthorizationPolicy, `[namespace/]name` for a PeerAuthentication";
            cursor.invalid_with("a policy with its rule", Some(help.to_owned()))
        })
    }
}

fn decided_by(text: &str) -> Option<DecidedBy> {
    let (document, rule) = match text.rsplit_once('/') {
        Some((document, last)) if last.starts_with("rules[") => {
            let digits = last.strip_prefix("rules[")?.strip_suffix(']')?;
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            (document, Some(digits.parse().ok().filter(|_| plain)?))
        }
        _ => (text, None),
    };
    let (namespace, name) = match document.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, document),
    };
    let fits = !name.is_empty() && name.split('.').all(is_label) && namespace.is_none_or(is_label);
    fits.then(|| DecidedBy {
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        rule,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_decides_is_read_to_the_letter() {
        for text in ["a/rules[0]", "shop/a.b/rules[17]", "a", "shop/a"] {
            let found = decided_by(text).map(|by| by.to_string());
            assert_eq!(found.as_deref(), Some(text));
        }
        for text in [
            "",
            "/rules[0]",
            "a/rules[]",
            "a/rules[+1]",
            "a/rules[65536]",
            "a/rules[0",
            "a/b/c",
            "a/b/c/rules[0]",
            "A/rules[0]",
            "a/rule[0]/rules[0]x",
        ] {
            assert_eq!(decided_by(text), None, "{text}");
        }
    }
}
