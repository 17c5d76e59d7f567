//! Gateway.

use crate::Istio::{Accepts, Refuses};
use crate::{Case, check};

const MODE: &str = "not in force: in force are SIMPLE with `credentialName`, and PASSTHROUGH";
const UNIX: &str = "listeners are the process's to place, and a port number is their name";

/// Servers of one document, `{servers: [<server>]}`.
#[test]
fn servers() {
    for (name, server, istio, codes, why) in SERVERS {
        let spec = format!("{{servers: [{server}]}}");
        check("Gateway", &[(name, spec.leak(), *istio, codes, why)]);
    }
}

#[test]
fn documents() {
    check(
        "Gateway",
        &[
            ("no servers", "{}", Refuses, "PC0108", ""),
            ("empty servers", "{servers: []}", Refuses, "PC0115", ""),
            (
                "port names twice",
                "{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: [a.b]}, {port: {number: 81, name: a, protocol: HTTP}, hosts: [a.b]}]}",
                Refuses,
                "PC0120",
                "",
            ),
        ],
    );
}

const SERVERS: &[Case] = &[
    ("empty", "{}", Refuses, "PC0108", ""),
    (
        "host",
        "{hosts: [foo.bar.com], port: {number: 7, name: http, protocol: http}}",
        Accepts,
        "",
        "",
    ),
    (
        "address",
        "{hosts: [1.1.1.1], port: {number: 7, name: http, protocol: http}}",
        Accepts,
        "",
        "",
    ),
    (
        "namespace and host",
        "{hosts: [ns1/foo.bar.com], port: {number: 7, name: http, protocol: http}}",
        Accepts,
        "",
        "",
    ),
    (
        "any namespace",
        "{hosts: ['*/foo.bar.com'], port: {number: 7, name: http, protocol: http}}",
        Accepts,
        "",
        "",
    ),
    (
        "own namespace",
        "{hosts: [./foo.bar.com], port: {number: 7, name: http, protocol: http}}",
        Accepts,
        "",
        "",
    ),
    (
        "nobody's namespace",
        "{hosts: ['~/foo.bar.com'], port: {number: 7, name: http, protocol: http}}",
        Refuses,
        "PC0111",
        "",
    ),
    (
        "star in the middle",
        "{hosts: ['foo.*.bar.com'], port: {number: 7, name: http, protocol: http}}",
        Refuses,
        "PC0111",
        "",
    ),
    (
        "star inside a label",
        "{hosts: ['*foo.bar.com'], port: {number: 7, name: http, protocol: http}}",
        Refuses,
        "PC0111",
        "",
    ),
    (
        "short name",
        "{hosts: [foo], port: {number: 7, name: http, protocol: http}}",
        Refuses,
        "PC0111",
        "",
    ),
    (
        "port 66000",
        "{hosts: [foo.bar.com], port: {number: 66000, name: http, protocol: http}}",
        Refuses,
        "PC0111",
        "",
    ),
    (
        "port without name",
        "{hosts: [foo.bar.com], port: {number: 7, protocol: http}}",
        Refuses,
        "PC0108",
        "",
    ),
    (
        "unknown protocol",
        "{hosts: [foo.bar.com], port: {number: 7, name: a, protocol: kafka}}",
        Refuses,
        "PC0110",
        "",
    ),
    (
        "targetPort",
        "{hosts: [foo.bar.com], port: {number: 7, name: a, protocol: http, targetPort: 8}}",
        Refuses,
        "PC0124",
        "",
    ),
    (
        "HTTPS without tls",
        "{hosts: [foo.bar.com], port: {number: 10000, name: https, protocol: https}}",
        Refuses,
        "PC0108",
        "",
    ),
    (
        "HTTP with tls",
        "{hosts: [foo.bar.com], port: {number: 10000, name: http, protocol: http}, tls: {mode: SIMPLE, credentialName: a}}",
        Refuses,
        "PC0124",
        "",
    ),
    (
        "HTTP that redirects",
        "{hosts: [foo.bar.com], port: {number: 10000, name: http, protocol: http}, tls: {httpsRedirect: true}}",
        Accepts,
        "",
        "",
    ),
    (
        "HTTPS that redirects",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {httpsRedirect: true, mode: SIMPLE, credentialName: a}}",
        Accepts,
        "PC0111",
        "it would redirect to itself for ever; Istio warns",
    ),
    (
        "TCP",
        "{hosts: ['*'], port: {number: 27018, name: mongo, protocol: MONGO}}",
        Accepts,
        "",
        "",
    ),
    (
        "TCP with tls",
        "{hosts: ['*'], port: {number: 27018, name: tcp, protocol: TCP}, tls: {mode: SIMPLE, credentialName: a}}",
        Refuses,
        "PC0124",
        "",
    ),
    (
        "bind",
        "{hosts: [foo.bar.com], port: {number: 7, name: http, protocol: http}, bind: 127.0.0.1}",
        Accepts,
        "PC0230",
        "",
    ),
    (
        "bind to a name",
        "{hosts: [foo.bar.com], port: {number: 7, name: http, protocol: http}, bind: foo.bar}",
        Refuses,
        "PC0111 PC0230",
        "",
    ),
    (
        "bind to a socket",
        "{hosts: [foo.bar.com], port: {number: 0, name: http, protocol: http}, bind: 'unix://@foobar'}",
        Accepts,
        "PC0111 PC0230",
        UNIX,
    ),
    (
        "bind to a relative socket",
        "{hosts: [foo.bar.com], port: {number: 0, name: http, protocol: http}, bind: 'unix://foobar'}",
        Refuses,
        "PC0111 PC0230",
        "",
    ),
    // TLS.
    (
        "simple",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: SIMPLE, credentialName: sds-name}}",
        Accepts,
        "",
        "",
    ),
    (
        "simple from files",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: SIMPLE, serverCertificate: cert, privateKey: key}}",
        Accepts,
        "PC0118",
        MODE,
    ),
    (
        "simple without certificate",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: SIMPLE, privateKey: key}}",
        Refuses,
        "PC0108 PC0118",
        "",
    ),
    (
        "simple without key",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: SIMPLE, serverCertificate: cert}}",
        Refuses,
        "PC0108 PC0118",
        "",
    ),
    (
        "simple without anything",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: SIMPLE}}",
        Refuses,
        "PC0108",
        "",
    ),
    (
        "two sources",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: SIMPLE, credentialName: a, credentialNames: [b]}}",
        Refuses,
        "PC0112 PC0118",
        "",
    ),
    (
        "mutual",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: MUTUAL, serverCertificate: cert, privateKey: key, caCertificates: ca}}",
        Accepts,
        "PC0117 PC0118 PC0126",
        MODE,
    ),
    (
        "mutual by credential",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: MUTUAL, credentialName: a}}",
        Accepts,
        "PC0117",
        MODE,
    ),
    (
        "mutual without roots",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: MUTUAL, serverCertificate: cert, privateKey: key}}",
        Refuses,
        "PC0108 PC0117 PC0118",
        "",
    ),
    (
        "pass through",
        "{hosts: [foo.bar.com], port: {number: 443, name: tls, protocol: TLS}, tls: {mode: PASSTHROUGH}}",
        Accepts,
        "",
        "",
    ),
    (
        "pass through with credential",
        "{hosts: [foo.bar.com], port: {number: 443, name: tls, protocol: TLS}, tls: {mode: PASSTHROUGH, credentialName: a}}",
        Accepts,
        "PC0124",
        "a certificate that is never shown; Istio warns",
    ),
    (
        "mesh identity",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: ISTIO_MUTUAL}}",
        Accepts,
        "PC0117",
        MODE,
    ),
    (
        "mesh identity and certificate",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: ISTIO_MUTUAL, serverCertificate: cert}}",
        Refuses,
        "PC0117 PC0118 PC0124",
        "",
    ),
    (
        "cipher suites",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: SIMPLE, credentialName: a, cipherSuites: [ECDHE-ECDSA-AES128-SHA]}}",
        Accepts,
        "PC0119",
        "the suites are fixed, and leaving a wish out would be silent",
    ),
    (
        "TLS 1.0",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_0}}",
        Accepts,
        "PC0119",
        "broken versions are not spoken",
    ),
    (
        "no mode",
        "{hosts: [foo.bar.com], port: {number: 443, name: https, protocol: https}, tls: {}}",
        Accepts,
        "PC0108",
        "Istio reads it as PASSTHROUGH, which nobody means by leaving it out",
    ),
];
