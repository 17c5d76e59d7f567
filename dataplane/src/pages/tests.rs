//! The pages of a real generation: complete, placed, without secrets.

use bytes::BytesMut;
use policies::source::SourceFile;
use prometheus::Registry;
use runtime::admin::AdminBody;

use super::*;
use crate::testing::{Documents, context};

fn text(answer: &AdminResponse) -> String {
    match &answer.body {
        AdminBody::Whole(bytes) => String::from_utf8(BytesMut::from(&bytes[..]).to_vec()).unwrap(),
        AdminBody::Streamed(writing) => {
            let mut bytes = Vec::new();
            writing(&mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        }
    }
}

const MORE: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: more, namespace: my-app}
spec:
  hosts: [elsewhere.test]
  http:
    - match: [{headers: {authorization: {exact: 'Bearer s3cr3t'}}, uri: {prefix: /a}}]
      timeout: 3s
      headers: {request: {set: {x-api-key: s3cr3t, x-plain: shown}}}
      directResponse: {status: 418, body: {string: hidden-body}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: open, namespace: istio-system}
spec:
  rules:
    - when: [{key: 'request.headers[x-token]', values: [s3cr3t]}]
    - to: [{operation: {paths: [/health]}}]
";

fn store() -> PolicyStore {
    let mut documents = Documents::new();
    documents.endpoint(([127, 0, 0, 1], 7001).into(), None);
    let store = PolicyStore::fixed(context(Role::Sidecar), &Registry::new()).unwrap();
    let files = vec![
        SourceFile::new("mesh.yaml", documents.yaml()),
        SourceFile::new("more.yaml", MORE),
    ];
    assert!(
        store.apply(Ok(files.into())),
        "{:?}",
        store.state().rejected
    );
    store
}

#[test]
fn the_snapshot_shows_every_value_with_its_place_and_no_secret() {
    let page = text(&snapshot(&store()));
    assert!(!page.contains("s3cr3t"), "{page}");
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["generation"], 1);
    assert_eq!(page["role"], "sidecar");
    assert_eq!(page["edition"].as_str().unwrap().len(), 32);
    let routes = page["routes"].as_array().unwrap();
    let found = routes
        .iter()
        .find(|hosts| hosts["hosts"][0] == "elsewhere.test")
        .unwrap();
    let route = &found["routes"][0];
    assert_eq!(route["at"], "more.yaml:8:7", "{route:#}");
    assert_eq!(route["match"]["headers"]["authorization"], "<redacted>");
    assert_eq!(route["match"]["uri"]["prefix"], "/a");
    assert_eq!(route["timeout"], "3s");
    assert_eq!(route["requestHeaders"]["set"]["x-plain"], "shown");
    assert_eq!(route["directResponse"]["status"], 418);
    let clusters = page["clusters"].as_array().unwrap();
    let endpoint = &clusters[0]["endpoints"][0];
    assert_eq!(endpoint["address"], "127.0.0.1:7001", "{clusters:#?}");
    assert!(endpoint["at"].as_str().unwrap().starts_with("mesh.yaml:"));
    let policy = &page["authorization"][0];
    assert_eq!(
        (&policy["name"], &policy["action"]),
        (&"open".into(), &"ALLOW".into())
    );
    assert_eq!(policy["rules"][0]["when"][0]["values"][0], "<redacted>");
    let values = page["values"].as_array().unwrap();
    let of_route = values
        .iter()
        .find(|values| values["name"] == "more")
        .unwrap();
    assert_eq!(of_route["file"], "more.yaml");
    assert_eq!(of_route["at"]["spec.http[0].timeout"], "9:16");
}

#[test]
fn the_documents_are_shown_as_written_without_secrets() {
    let page = text(&documents(&store()));
    assert!(!page.contains("s3cr3t"), "{page}");
    let page: Value = serde_json::from_str(&page).unwrap();
    let documents = page["documents"].as_array().unwrap();
    let more = documents
        .iter()
        .find(|document| document["name"] == "more")
        .unwrap();
    assert_eq!(more["value"]["spec"]["hosts"][0], "elsewhere.test");
    assert_eq!(
        (&more["line"], &more["redacted"]),
        (&2.into(), &true.into())
    );
    assert!(
        documents
            .iter()
            .any(|document| document["redacted"] == false)
    );
}

#[test]
fn before_the_first_generation_there_is_nothing_to_show() {
    let store = PolicyStore::fixed(context(Role::Sidecar), &Registry::new()).unwrap();
    assert_eq!(snapshot(&store).status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(documents(&store).status, StatusCode::SERVICE_UNAVAILABLE);
}
