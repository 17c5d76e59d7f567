//! `request`: what is known of one request, or of one connection.

use std::net::IpAddr;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::claims::claims;
use super::{ProviderAnswer, TestProtocol, TestRequest};
use crate::decode::{Cursor, Decode, Fields, Port};
use crate::diagnostic::{Diagnostic, codes};
use crate::yaml::{Value, shortened};

/// Whether the fields of the caller belong to the request, or are given elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// `mtls` and `principal` stand here.
    Here,
    /// They are a matrix's rows.
    Elsewhere,
}

/// A request and what to call it.
pub(super) struct Given {
    pub(super) request: TestRequest,
    /// `GET /path`, or `tcp :8080`.
    pub(super) label: String,
}

impl Decode for TestRequest {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let given = cursor.fields(|f| fields(f, Caller::Here))?;
        Some(given.request)
    }
}

/// What only HTTP has.
const HTTP_ONLY: [&str; 5] = ["method", "host", "path", "headers", "claims"];

/// Reads the fields of a request.
pub(super) fn fields(f: &mut Fields<'_>, caller: Caller) -> Option<Given> {
    let defaults = TestRequest::default();
    let before = f.cursor().context.findings.errors();
    let protocol = f.optional::<TestProtocol>("protocol").unwrap_or_default();
    let (mtls, by) = match caller {
        Caller::Here => {
            let mtls = f.optional::<bool>("mtls");
            let by = f
                .get("principal")
                .and_then(|cursor| Some(cursor.spanned(principal(&cursor)?)));
            (mtls, by)
        }
        Caller::Elsewhere => (None, None),
    };
    let mut address = |name| f.optional::<Address>(name).map(|Address(address)| address);
    let source_ip = address("sourceIp").unwrap_or(defaults.source_ip);
    let remote_ip = address("remoteIp").unwrap_or(source_ip);
    let destination_ip = address("destinationIp").unwrap_or(defaults.destination_ip);
    let port = f.optional::<Port>("destinationPort");
    let sni = f.get("sni").and_then(|cursor| match cursor.text()? {
        "" => cursor.invalid("a server name"),
        name => Some(name.to_ascii_lowercase()),
    });
    let method = f.optional::<Method>("method").map(|Method(method)| method);
    let host = f.get("host").and_then(|cursor| host(&cursor));
    let path = f.get("path").and_then(|cursor| target(&cursor));
    let mut headers = f.get("headers").and_then(|cursor| headers(&cursor));
    let claims = f.get("claims").and_then(|cursor| claims(&cursor));
    let provider = f.get("provider").and_then(|cursor| {
        cursor.one_of(&[
            ("allow", ProviderAnswer::Allow),
            ("deny", ProviderAnswer::Deny),
        ])
    });
    if protocol == TestProtocol::Tcp {
        out_of_place(f);
    }
    let method = if protocol == TestProtocol::Grpc {
        if method.as_ref().is_some_and(|method| method != "POST") {
            let message = "a gRPC request is a POST";
            let help = "remove `method`, or write `protocol: http`";
            f.error_at("method", codes::INVALID_VALUE, message, Some(help));
        }
        headers
            .get_or_insert_default()
            .entry(CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/grpc"));
        "POST".to_owned()
    } else {
        method.unwrap_or(defaults.method)
    };
    let request = TestRequest {
        protocol,
        mtls,
        principal: by,
        source_ip,
        remote_ip,
        destination_ip,
        destination_port: port.map_or(defaults.destination_port, |Port(port)| port),
        sni,
        method,
        host: host.unwrap_or(defaults.host),
        path: path.unwrap_or(defaults.path),
        headers: headers.unwrap_or_default(),
        claims,
        provider,
    };
    // A field that could not be read must not become its default.
    let clean = f.cursor().context.findings.errors() == before;
    clean.then(|| Given {
        label: match protocol {
            TestProtocol::Tcp => format!("tcp :{}", request.destination_port),
            TestProtocol::Http | TestProtocol::Grpc => {
                format!("{} {}", request.method, request.path)
            }
        },
        request,
    })
}

/// Fields of HTTP on a connection of which nothing of HTTP is known: policies do not see them.
fn out_of_place(f: &Fields<'_>) {
    if f.cursor().is_recording() {
        return;
    }
    for name in HTTP_ONLY.into_iter().filter(|name| f.has(name)) {
        let message = format!("`{name}` has no meaning with `protocol: tcp`");
        let help = "remove it, or write `protocol: http`";
        f.warn_at(name, codes::FIELD_OUT_OF_PLACE, message, Some(help));
    }
}

impl Decode for TestProtocol {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[
            ("http", Self::Http),
            ("grpc", Self::Grpc),
            ("tcp", Self::Tcp),
        ])
    }
}

/// An identity as policies write it, without `spiffe://`; its grammar is that of SPIFFE IDs, which `authz` checks.
pub(super) fn principal(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.text()?;
    if let Some(rest) = text.strip_prefix("spiffe://") {
        let fix = cursor.fix_value("leave out `spiffe://`", rest);
        return cursor.invalid_fixed("a principal", None, Some(fix));
    }
    if text.contains('/') && !text.contains('*') {
        return Some(text.to_owned());
    }
    let help = "write `cluster.local/ns/shop/sa/order`; leave the field out for a peer without an identity";
    cursor.invalid_with("a principal", Some(help.to_owned()))
}

struct Address(IpAddr);

impl Decode for Address {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match cursor.text()?.parse() {
            Ok(address) => Some(Self(address)),
            Err(_) => cursor.invalid("an IP address"),
        }
    }
}

/// RFC 9110 §9.1: a token; methods are compared with regard to case.
pub(super) fn is_method(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(token)
}

struct Method(String);

impl Decode for Method {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match cursor.text()? {
            text if is_method(text) => Some(Self(text.to_owned())),
            _ => cursor.invalid("a method"),
        }
    }
}

/// The authority as sent; what a client may send, and not only what a name may be.
fn host(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.text()?;
    if HeaderValue::from_str(text).is_ok() && !text.contains([' ', '/']) {
        return Some(text.to_owned());
    }
    cursor.invalid_with(
        "a host",
        Some("write `catalog.shop.svc.cluster.local` or `shop.example.com:8443`".to_owned()),
    )
}

/// The target as on the wire: tests are about odd ones too, so only what ends a request line is refused.
fn target(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.text()?;
    let ends = |c: char| matches!(c, ' ' | '\r' | '\n');
    if text.is_empty() || text.contains(ends) {
        let help = "write `/api/products?x=y`, with `%20` for a space";
        return cursor.invalid_with("a path as on the wire", Some(help.to_owned()));
    }
    Some(text.to_owned())
}

fn headers(cursor: &Cursor<'_>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut fine = true;
    for (key, cursor) in cursor.entries()? {
        let name = key.parse::<HeaderName>();
        let Ok(name) = name else {
            let message = format!("`{}` is not the name of a header", shortened(key));
            refuse_key(&cursor, message, None);
            fine = false;
            continue;
        };
        if name == http::header::HOST {
            let message = "the header `host` is the request's `host`".to_owned();
            refuse_key(&cursor, message, Some("write `host:` beside `headers`"));
            fine = false;
            continue;
        }
        let Some(values) = header_values(&cursor) else {
            fine = false;
            continue;
        };
        for value in values {
            headers.append(&name, value);
        }
    }
    fine.then_some(headers)
}

fn refuse_key(cursor: &Cursor<'_>, message: String, help: Option<&str>) {
    let at = cursor.key_at();
    let finding = Diagnostic::error(codes::INVALID_VALUE, at, &cursor.path, message);
    let finding = finding.with_help_if(help.map(str::to_owned));
    cursor.context.report(finding);
}

/// A text, or a list of texts: a header that was sent several times.
fn header_values(cursor: &Cursor<'_>) -> Option<Vec<HeaderValue>> {
    if cursor.is_recording() {
        cursor.text();
        cursor.items()?.first()?.text();
        return None;
    }
    if let Value::Sequence(_) = &cursor.node.value {
        let items = cursor.items()?;
        let values: Vec<_> = items.iter().filter_map(header_value).collect();
        return (values.len() == items.len()).then_some(values);
    }
    header_value(cursor).map(|value| vec![value])
}

fn header_value(cursor: &Cursor<'_>) -> Option<HeaderValue> {
    match HeaderValue::from_str(cursor.text()?) {
        Ok(value) => Some(value),
        Err(_) => cursor.invalid("the value of a header"),
    }
}
