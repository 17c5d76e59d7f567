//! Rules, a request, the answer.

use super::*;
use crate::telemetry::ResponseFlags;

struct Scenario {
    name: &'static str,
    /// The list below `http:`, one rule for each entry, in flow style.
    rules: &'static [&'static str],
    request: &'static str,
    /// The status, then headers (`name: value` is there, `-name` is not), an empty line and the body.
    answer: &'static str,
    flags: ResponseFlags,
}

const TO: &str = "route: [{destination: {host: product-service}}]";

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "forwarded as it is",
        rules: &["{TO}"],
        request: "GET /a?b=c",
        answer: "200\nx-app: echo\n-keep-alive\n\nGET /a?b=c product-service.my-app.svc.cluster.local",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "the first rule that matches",
        rules: &[
            "{match: [{headers: {x-t: {exact: one}}}], directResponse: {status: 201}}",
            "{match: [{uri: {prefix: /a}}], directResponse: {status: 202}}",
            "{TO}",
        ],
        request: "GET /ab\nx-t: two",
        answer: "202\n-content-type\n\n",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "a prefix rewrite keeps the rest and the query",
        rules: &["{match: [{uri: {prefix: /api/}}], rewrite: {uri: /}, {TO}}"],
        request: "GET /api/a?b=c",
        answer: "200\n\nGET /a?b=c product-service.my-app.svc.cluster.local",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "a regular expression rewrite, and another Host",
        rules: &[
            "{rewrite: {authority: inner.example.com, uriRegexRewrite: {match: ^/v(\\d)/(.*), rewrite: /\\2/\\1}}, {TO}}",
        ],
        request: "GET /v2/things",
        answer: "200\n\nGET /things/2 inner.example.com",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "header changes: the destination's word is the last one, removals come first",
        rules: &[
            "{headers: {request: {set: {x-t-a: route}, add: {x-t-b: route}, remove: [x-t-b, x-t-c]}, \
              response: {set: {x-app: route}, remove: [x-powered-by]}}, \
              route: [{destination: {host: product-service}, \
              headers: {request: {set: {x-t-a: destination}}, response: {add: {x-app: destination}}}}]}",
        ],
        request: "GET /\nx-t-b: client\nx-t-c: client",
        answer: "200\nx-app: route,destination\n-x-powered-by\n\n\
                 GET / product-service.my-app.svc.cluster.local\nx-t-a: destination\nx-t-b: route",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "values made of the request and of the response",
        rules: &[
            "{match: [{uri: {prefix: /api/}}], rewrite: {uri: /}, headers: {\
              request: {set: {x-t-from: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%', x-t-was: '%REQ(:METHOD)% %REQ(:PATH)%'}}, \
              response: {set: {x-made: '%RESP(x-app)%/%REQ(x-t-from)% %PROTOCOL% 100%%'}}}, {TO}}",
        ],
        request: "GET /api/a",
        answer: "200\nx-made: echo/192.0.2.7 HTTP/1.1 100%\n\n\
                 GET /a product-service.my-app.svc.cluster.local\nx-t-from: 192.0.2.7\nx-t-was: GET /api/a",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "a redirect keeps the query, and has the route's headers",
        rules: &[
            "{redirect: {uri: /new, authority: shop.example.com, scheme: https, redirectCode: 308}, \
              headers: {response: {set: {x-app: '%REQ(:PATH)%'}}}}",
        ],
        request: "GET /old?a=b",
        answer: "308\nlocation: https://shop.example.com/new?a=b\nx-app: /old?a=b\n\n",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "a direct response",
        rules: &["{directResponse: {status: 418, body: {string: short and stout}}}"],
        request: "GET /",
        answer: "418\ncontent-type: text/plain\n\nshort and stout",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "an aborted request",
        rules: &["{fault: {abort: {httpStatus: 503, percentage: {value: 100}}}, {TO}}"],
        request: "GET /",
        answer: "503\n-x-app\n\nfault filter abort",
        flags: ResponseFlags::FAULT_INJECTED,
    },
    Scenario {
        name: "an aborted request of gRPC",
        rules: &["{fault: {abort: {grpcStatus: NOT_FOUND, percentage: {value: 100}}}, {TO}}"],
        request: "POST /a.B/C\ncontent-type: application/grpc",
        answer: "200\ngrpc-status: 5\ngrpc-message: fault filter abort\n\n",
        flags: ResponseFlags::FAULT_INJECTED,
    },
    Scenario {
        name: "a status of gRPC for a caller that does not speak it",
        rules: &["{fault: {abort: {grpcStatus: NOT_FOUND, percentage: {value: 100}}}, {TO}}"],
        request: "GET /",
        answer: "404\n-grpc-status\n\nfault filter abort",
        flags: ResponseFlags::FAULT_INJECTED,
    },
    Scenario {
        name: "a fault without a share hits nobody",
        rules: &["{fault: {delay: {fixedDelay: 1h}, abort: {httpStatus: 503}}, {TO}}"],
        request: "GET /",
        answer: "200\n\nGET / product-service.my-app.svc.cluster.local",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "a preflight is answered here",
        rules: &[
            "{corsPolicy: {allowOrigins: [{prefix: 'https://'}], allowMethods: [GET], maxAge: 1h}, {TO}}",
        ],
        request: "OPTIONS /\norigin: https://a.example\naccess-control-request-method: GET",
        answer: "200\naccess-control-allow-origin: https://a.example\naccess-control-allow-methods: GET\n\
                 access-control-max-age: 3600\n-x-app\n\n",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "a preflight of another origin goes on",
        rules: &["{corsPolicy: {allowOrigins: [{exact: 'https://b.example'}]}, {TO}}"],
        request: "OPTIONS /\norigin: https://a.example\naccess-control-request-method: GET",
        answer: "200\n-access-control-allow-origin\nx-app: echo\n\nOPTIONS / product-service.my-app.svc.cluster.local",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "a page may read what the proxy itself says",
        rules: &[
            "{corsPolicy: {allowOrigins: [{exact: '*'}], allowCredentials: true}, directResponse: {status: 503}}",
        ],
        request: "GET /\norigin: https://a.example",
        answer: "503\naccess-control-allow-origin: https://a.example\naccess-control-allow-credentials: true\nvary: origin\n\n",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "a delegate takes over what it does not say itself",
        rules: &[
            "{match: [{uri: {prefix: /api/}}], delegate: {name: more}, headers: {request: {set: {x-t: root}}}}",
            "{directResponse: {status: 404}}\n---\n\
             {apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: more, namespace: my-app}, spec: {http: [\
             {match: [{uri: {prefix: /api/own/}}], headers: {request: {set: {x-t: own}}}, {TO}}, \
             {match: [{uri: {prefix: /elsewhere/}}], directResponse: {status: 500}}, \
             {rewrite: {uri: /}, {TO}}]}}",
        ],
        request: "GET /api/a",
        answer: "200\n\nGET /a product-service.my-app.svc.cluster.local\nx-t: root",
        flags: ResponseFlags::NONE,
    },
    Scenario {
        name: "a delegate's own match",
        rules: &[
            "{match: [{uri: {prefix: /api/}}], delegate: {name: more}, headers: {request: {set: {x-t: root}}}}\n---\n\
             {apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: more, namespace: my-app}, spec: {http: [\
             {match: [{uri: {prefix: /api/own/}}], headers: {request: {set: {x-t: own}}}, {TO}}]}}",
        ],
        request: "GET /api/own/a",
        answer: "200\n\nGET /api/own/a product-service.my-app.svc.cluster.local\nx-t: own",
        flags: ResponseFlags::NONE,
    },
];

#[tokio::test]
async fn the_same_on_a_gateway_and_on_a_sidecar() {
    let application = echo().await;
    for scenario in SCENARIOS {
        for role in [Role::Gateway, Role::Sidecar] {
            let Scenario { name, answer, .. } = scenario;
            let rules: Vec<String> = scenario
                .rules
                .iter()
                .map(|rule| {
                    let rule = match *rule {
                        "{TO}" => format!("{{{TO}}}"),
                        rule => rule.replace("{TO}", TO),
                    };
                    format!("  - {rule}\n")
                })
                .collect();
            let fixture = Fixture::new(role, &[&application], &rules.concat());
            let request = request(scenario.request);
            let sent = request.headers().clone();
            let answered = fixture.answer(request).await;
            let mut flags = answered.outcome.flags;
            if let Answer::Reply(reply) = &answered.answer {
                flags |= reply.flags;
            }
            assert_eq!(flags, scenario.flags, "{name} ({role:?})");
            let (status, headers, body) = seen(answered.answer, &sent).await;
            let (head, expected_body) = answer.split_once("\n\n").unwrap();
            assert_eq!(body, expected_body, "{name} ({role:?})");
            let mut head = head.lines();
            assert_eq!(
                status.to_string(),
                head.next().unwrap(),
                "{name} ({role:?})"
            );
            for line in head {
                if let Some(absent) = line.strip_prefix('-') {
                    assert!(!headers.contains_key(absent), "{name} ({role:?}): {absent}");
                    continue;
                }
                let (header, value) = line.split_once(": ").unwrap();
                let values: Vec<_> = headers.get_all(header).iter().collect();
                let joined = values.iter().map(|value| value.to_str().unwrap());
                let joined = joined.collect::<Vec<_>>().join(",");
                assert_eq!(joined, value, "{name} ({role:?}): {header}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_comes_before_the_abort_and_before_the_routes_time() {
    let rules = "  - {fault: {delay: {fixedDelay: 3s, percentage: {value: 100}}, abort: {httpStatus: 500, percentage: {value: 100}}}, \
                 timeout: 1s, route: [{destination: {host: product-service}}]}\n";
    let application = echo().await;
    let fixture = Fixture::new(Role::Sidecar, &[&application], rules);
    let begun = Instant::now();
    let answered = fixture.answer(request("GET /")).await;
    assert_eq!(begun.elapsed().as_secs(), 3);
    let Answer::Reply(reply) = &answered.answer else {
        panic!("{answered:?}");
    };
    assert_eq!(reply.status, 500);
    let both = ResponseFlags::DELAY_INJECTED | ResponseFlags::FAULT_INJECTED;
    assert_eq!(answered.outcome.flags | reply.flags, both);
}

#[tokio::test]
async fn shares_are_kept() {
    let rules = "  - {fault: {abort: {httpStatus: 500, percentage: {value: 25}}}, \
                 route: [{destination: {host: product-service}}]}\n";
    let application = echo().await;
    let fixture = Fixture::new(Role::Sidecar, &[&application], rules);
    let mut aborted = 0;
    for _ in 0..2000 {
        let answered = fixture.answer(request("GET /")).await;
        aborted += u32::from(matches!(answered.answer, Answer::Reply(_)));
        seen(answered.answer, &HeaderMap::new()).await;
    }
    // 500 expected; 100 is five standard deviations.
    assert!((400..=600).contains(&aborted), "{aborted}");
}
