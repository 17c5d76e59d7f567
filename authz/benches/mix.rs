//! Policies for one workload in a published mix, so that numbers about decisions can be compared.
//!
//! `files(n)` has one ALLOW policy for every rule. Of 20 rules
//!
//! * 16 (80 %) name an exact principal, a method and a path prefix: one of `n / 4` callers, about four rules each;
//! * 2 (10 %) are open to every caller: a path template with two operators, and a path suffix;
//! * 1 (5 %) has negations: a path prefix but for one below it, callers of every namespace but one, and no `DELETE`;
//! * 1 (5 %) looks at the request: in turn an exact value of one header, or an exact value of a claim.
//!
//! No two rules match the same requests.
#![allow(dead_code, reason = "every bench and test uses its own part")]

/// The files of a set of `n` rules: name and text.
pub(crate) fn files(n: usize) -> Vec<(String, String)> {
    let file = |number| {
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: p{number}, namespace: shop}}\nspec: {{rules: [{}]}}\n",
            rule(number, n)
        );
        (format!("{number:06}.yaml"), text)
    };
    (0..n).map(file).collect()
}

/// Which caller an exact rule is about.
pub(crate) fn caller(number: usize, n: usize) -> String {
    let caller = number % (n / 4).max(1);
    format!("cluster.local/ns/team-{}/sa/caller-{caller}", caller % 50)
}

fn rule(number: usize, n: usize) -> String {
    match number % 20 {
        16 => format!(
            "{{to: [{{operation: {{paths: ['/tenants/{{*}}/orders-{number}/{{**}}/items-{number}']}}}}]}}"
        ),
        17 => {
            format!("{{to: [{{operation: {{paths: ['*/export-{number}.csv'], methods: [GET]}}}}]}}")
        }
        18 => format!(
            "{{from: [{{source: {{notNamespaces: [team-x]}}}}], to: [{{operation: {{paths: [/shared-{number}/*], \
             notPaths: [/shared-{number}/private*], notMethods: [DELETE]}}}}]}}"
        ),
        19 if number % 40 == 19 => {
            format!("{{when: [{{key: 'request.headers[x-tenant]', values: [tenant-{number}]}}]}}")
        }
        19 => {
            format!("{{when: [{{key: 'request.auth.claims[groups]', values: [group-{number}]}}]}}")
        }
        _ => format!(
            "{{from: [{{source: {{principals: [{}]}}}}], to: [{{operation: {{methods: [GET], paths: [/api-{number}/*]}}}}]}}",
            caller(number, n)
        ),
    }
}
