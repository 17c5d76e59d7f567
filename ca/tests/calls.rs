//! The authority over the wire: enrolment, renewal, edge certificates, refusals, push, drain.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod harness;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use harness::{GATEWAY, ORDER, Site, by_key, by_token, enrol_request};
use identity::enrol::{CaClient, CaTrust, EnrolError};
use identity::key::PrivateKey;
use identity::wire::{ListEntriesRequest, ListIdentitiesRequest, RenewRequest, WatchBundleRequest};
use identity::{SpiffeId, TrustDomain};
use tonic::Code;

fn refused(error: &EnrolError) -> Code {
    match error {
        EnrolError::Refused { code, reason } => {
            assert!(reason.contains("(request "), "{reason}");
            *code
        }
        other => panic!("{other:?}"),
    }
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!(
        "{}/tests/fixtures/csr/{name}.der",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

fn last_refusal(authority: &harness::Authority) -> String {
    let refusals = authority.running.issuance.store().refusals(1).unwrap();
    refusals
        .first()
        .map(|refused| refused.code.clone())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn first_contact_enrolment_and_renewal() {
    let site = Site::new();
    let mut authority = site.start().await;
    let token = authority.token("order").await;
    // Nothing but the token is known: the server proves itself by the bundle's hash.
    let trust = CaTrust::Pinned {
        trust_domain: TrustDomain::parse("cluster.local").unwrap(),
        bundle_hash: *token.bundle_hash(),
    };
    let key = PrivateKey::generate().unwrap();
    let mut client = CaClient::connect(&authority.ca, trust, None).await.unwrap();
    let issued = client.enrol(by_token(&key, &token)).await.unwrap();
    assert_eq!(issued.svid.id().as_str(), ORDER);
    let life = issued
        .svid
        .not_after()
        .duration_since(SystemTime::now())
        .unwrap();
    assert!(
        life > Duration::from_secs(3590) && life <= Duration::from_hours(1),
        "{life:?}"
    );

    let workload = harness::Workload::new(key, token, issued);
    let mut client = authority.client_as(&workload.material).await;
    let id = SpiffeId::parse(ORDER).unwrap();
    let renewed = client
        .renew(&id, Some(Duration::from_mins(1)))
        .await
        .unwrap();
    assert_ne!(renewed.svid.serial(), workload.issued.svid.serial());
    let life = renewed
        .svid
        .not_after()
        .duration_since(SystemTime::now())
        .unwrap();
    assert!(life <= Duration::from_mins(1), "{life:?}");

    let identities = authority
        .admin
        .list_identities(ListIdentitiesRequest {})
        .await
        .unwrap();
    let identities = identities.into_inner().identities;
    let order = identities
        .iter()
        .find(|identity| identity.spiffe_id == ORDER)
        .unwrap();
    assert_eq!(
        (order.serial.as_str(), order.issued_total),
        (renewed.svid.serial(), 2)
    );
    let entries = authority
        .admin
        .list_entries(ListEntriesRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (
            entries.entries.len(),
            entries.generation,
            entries.problems.len()
        ),
        (2, 1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_retried_with_the_same_key_and_no_other() {
    let site = Site::new();
    let mut authority = site.start().await;
    let workload = authority.enrolled("order").await;
    let mut client = authority.client().await;
    // The reply was lost: same token, same key, another request.
    client
        .enrol(by_token(&workload.key, &workload.token))
        .await
        .unwrap();
    // Somebody else has seen the token.
    let thief = PrivateKey::generate().unwrap();
    let error = client
        .enrol(by_token(&thief, &workload.token))
        .await
        .unwrap_err();
    assert_eq!(refused(&error), Code::Unauthenticated);
    assert_eq!(last_refusal(&authority), "token_spent");
    // A restarted process has its key, and no token.
    let again = client.enrol(by_key(&workload.key)).await.unwrap();
    assert_eq!(again.svid.id().as_str(), ORDER);
    let error = client.enrol(by_key(&thief)).await.unwrap_err();
    assert_eq!(refused(&error), Code::Unauthenticated);
    assert_eq!(last_refusal(&authority), "not_enrolled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_or_invented_token_is_refused() {
    let site = Site::new();
    let mut authority = site.start().await;
    let short = harness::token(&mut authority.admin, "order", 1).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let key = PrivateKey::generate().unwrap();
    let mut client = authority.client().await;
    let error = client.enrol(by_token(&key, &short)).await.unwrap_err();
    assert_eq!(refused(&error), Code::Unauthenticated);
    assert_eq!(last_refusal(&authority), "token_expired");
    let invented =
        identity::join_token::JoinToken::generate(authority.bundle().await.hash()).unwrap();
    let error = client.enrol(by_token(&key, &invented)).await.unwrap_err();
    assert_eq!(refused(&error), Code::Unauthenticated);
    assert_eq!(last_refusal(&authority), "token_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_what_no_entry_gives() {
    let site = Site::new();
    let mut authority = site.start().await;
    let stranger = authority.token("stranger").await;
    let key = PrivateKey::generate().unwrap();
    let mut client = authority.client().await;
    let error = client.enrol(by_token(&key, &stranger)).await.unwrap_err();
    assert_eq!(refused(&error), Code::PermissionDenied);
    let refusal = &authority.running.issuance.store().refusals(1).unwrap()[0];
    assert_eq!(refusal.code, "no_entry");
    assert!(
        refusal.reason.contains("`join_token:stranger`"),
        "{}",
        refusal.reason
    );
    assert!(refusal.reason.contains("the nearest"), "{}", refusal.reason);
    // The token was not spent by the refusal.
    site.entry(
        "stranger",
        "spiffe://cluster.local/ns/my-app/sa/stranger",
        "join_token:stranger",
    );
    let deadline = SystemTime::now() + Duration::from_secs(10);
    let issued = loop {
        match client.enrol(by_token(&key, &stranger)).await {
            Ok(issued) => break issued,
            Err(_) if SystemTime::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(issued.svid.id().path(), "/ns/my-app/sa/stranger");
    // Asking for somebody else's identity does not help.
    let order = authority.token("order").await;
    let wanted = SpiffeId::parse(GATEWAY).unwrap();
    let mut enrolment = by_token(&key, &order);
    enrolment.spiffe_id = Some(&wanted);
    let error = client.enrol(enrolment).await.unwrap_err();
    assert_eq!(refused(&error), Code::PermissionDenied);
    assert_eq!(last_refusal(&authority), "not_entitled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_needs_its_entry_still() {
    let site = Site::new();
    let mut authority = site.start().await;
    let workload = authority.enrolled("order").await;
    let id = SpiffeId::parse(ORDER).unwrap();
    let mut client = authority.client_as(&workload.material).await;
    client.renew(&id, None).await.unwrap();
    std::fs::remove_file(site.path("entries/order.yaml")).unwrap();
    let deadline = SystemTime::now() + Duration::from_secs(10);
    let error = loop {
        match client.renew(&id, None).await {
            Err(error) => break error,
            Ok(_) if SystemTime::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(_) => panic!("renewed without an entry"),
        }
    };
    assert_eq!(refused(&error), Code::PermissionDenied);
    let error = client.enrol(by_key(&workload.key)).await.unwrap_err();
    assert_eq!(refused(&error), Code::PermissionDenied);
    // An edit that breaks the files keeps the last good set.
    std::fs::write(site.path("entries/gateway.yaml"), "kind: [").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let entries = authority
        .admin
        .list_entries(ListEntriesRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(entries.entries.len(), 1);
    assert!(!entries.problems.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_without_a_certificate_is_refused() {
    let site = Site::new();
    let mut authority = site.start().await;
    let mut client = authority.client().await;
    let error = client
        .renew(&SpiffeId::parse(ORDER).unwrap(), None)
        .await
        .unwrap_err();
    assert_eq!(refused(&error), Code::Unauthenticated);
    assert_eq!(last_refusal(&authority), "no_certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authoritys_own_certificate_can_not_be_renewed_by_a_caller() {
    let site = Site::new();
    let mut authority = site.start().await;
    // This channel shows the server's own SVID: it is on record, but no entry may give it.
    let mut raw = authority.raw().await;
    let csr = PrivateKey::generate().unwrap().csr().unwrap();
    let status = raw
        .renew(RenewRequest {
            csr,
            ttl_seconds: 0,
        })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_and_do_not_spend_the_token() {
    let site = Site::new();
    let mut authority = site.start().await;
    let token = authority.token("order").await;
    let key = PrivateKey::generate().unwrap();
    let mut raw = authority.raw().await;
    for (name, code) in [
        ("rsa1024", "csr_key"),
        ("rsa8192", "csr_key"),
        ("ed25519", "csr_key"),
        ("p256-sha1", "csr_algorithm"),
        ("dns", "csr_name"),
        ("two-uris", "csr_name"),
        ("ca", "csr_name"),
    ] {
        let status = raw
            .enrol(enrol_request(fixture(name), &key, &token))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name}");
        assert!(!status.message().contains("csr"), "{}", status.message());
        assert_eq!(last_refusal(&authority), code, "{name}");
    }
    let good = PrivateKey::generate().unwrap().csr().unwrap();
    let mut broken = good.clone();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let status = raw
        .enrol(enrol_request(broken, &key, &token))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = raw
        .enrol(enrol_request(vec![0x30; 8193], &key, &token))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    // Above the message limit it is not even decoded.
    let status = raw
        .enrol(enrol_request(vec![0x30; 20_000], &key, &token))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    // A proof over something else, and a proof by another key.
    let mut forged = enrol_request(good.clone(), &key, &token);
    forged.proof = key.sign(b"something else").unwrap();
    assert_eq!(
        raw.enrol(forged).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let mut borrowed = enrol_request(good.clone(), &key, &token);
    borrowed.enrolment_key = PrivateKey::generate().unwrap().public_spki().to_vec();
    assert_eq!(
        raw.enrol(borrowed).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let mut hasty = enrol_request(good.clone(), &key, &token);
    hasty.ttl_seconds = 3;
    assert_eq!(
        raw.enrol(hasty).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    // After all that the token is good, and asks for a year are cut to the maximum.
    let mut greedy = enrol_request(good, &key, &token);
    greedy.ttl_seconds = 31_536_000;
    let issued = raw.enrol(greedy).await.unwrap().into_inner();
    assert_eq!(issued.chain.len(), 2);
    let (_, leaf) = x509_parser::parse_x509_certificate(&issued.chain[0]).unwrap();
    let life = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
    assert_eq!(life, 24 * 3600 + 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_certificates_are_for_the_gateway_only() {
    let site = Site::new();
    let mut authority = site.start().await;
    let gateway = authority.enrolled("gateway").await;
    let mut client = authority.client_as(&gateway.material).await;
    let dns = ["localhost".to_owned(), "*.shop.example".to_owned()];
    let ips = ["127.0.0.1".parse().unwrap()];
    let edge = client.issue_edge(&dns, &ips).await.unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&edge.chain[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 3);
    let usage = leaf.extended_key_usage().unwrap().unwrap();
    assert!(usage.value.server_auth && !usage.value.client_auth);
    let (_, root) = x509_parser::parse_x509_certificate(&edge.root).unwrap();
    leaf.verify_signature(Some(root.public_key())).unwrap();
    // Not an authority of the mesh.
    assert!(
        authority
            .bundle()
            .await
            .roots
            .iter()
            .all(|of_mesh| *of_mesh != edge.root)
    );

    let error = client.issue_edge(&["*".to_owned()], &[]).await.unwrap_err();
    assert_eq!(refused(&error), Code::InvalidArgument);
    let order = authority.enrolled("order").await;
    let mut client = authority.client_as(&order.material).await;
    let error = client.issue_edge(&dns, &ips).await.unwrap_err();
    assert_eq!(refused(&error), Code::PermissionDenied);
    assert_eq!(last_refusal(&authority), "not_edge_caller");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_change_is_pushed_and_outlives_a_restart() {
    let site = Site::new();
    let other = Site::new();
    let mut foreign = other.start().await;
    let roots = foreign.bundle().await.to_pem();
    std::fs::write(site.path("more.pem"), "").unwrap();
    let overrides = ["bundle.additionalRoots=[./more.pem]"];
    let mut authority = site.start_with(&overrides).await;
    let mut client = authority.client().await;
    let mut stream = client.watch_bundle().await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!((first.sequence, first.roots.len()), (1, 1));
    std::fs::write(site.path("more.pem"), roots).unwrap();
    authority.life.request_reload();
    let pushed = tokio::time::timeout(Duration::from_secs(5), stream.next())
        .await
        .unwrap();
    let pushed = pushed.unwrap().unwrap();
    assert_eq!((pushed.sequence, pushed.roots.len()), (2, 2));
    // The server now presents both roots, so that a new token's hash fits what it presents.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let token = authority.token("order").await;
    let trust = CaTrust::Pinned {
        trust_domain: TrustDomain::parse("cluster.local").unwrap(),
        bundle_hash: *token.bundle_hash(),
    };
    let mut fresh = CaClient::connect(&authority.ca, trust, None).await.unwrap();
    let key = PrivateKey::generate().unwrap();
    fresh.enrol(by_token(&key, &token)).await.unwrap();
    // The drain ends the stream.
    authority.life.begin_drain();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.next())
        .await
        .unwrap();
    assert!(matches!(ended, Ok(None) | Err(_)));
    drop((client, fresh, stream));
    tokio::time::timeout(Duration::from_secs(5), authority.running.finished())
        .await
        .unwrap()
        .unwrap();
    let mut again = site.start_with(&overrides).await;
    assert_eq!(again.bundle().await.sequence, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer() {
    use tonic::codegen::tokio_stream::{StreamExt as _, once};
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let site = Site::new();
    let mut authority = site.start().await;
    let channel = authority.channel().await;
    let request = HealthCheckRequest {
        service: "portcullis.ca.v1.WorkloadCA".to_owned(),
    };
    let health = HealthClient::new(channel.clone())
        .check(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(health.status, 1);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut replies = ServerReflectionClient::new(channel)
        .server_reflection_info(once(request))
        .await
        .unwrap()
        .into_inner();
    let reply = replies
        .next()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let MessageResponse::ListServicesResponse(services) = reply else {
        panic!("{reply:?}")
    };
    let mut names: Vec<_> = services
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["grpc.health.v1.Health", "portcullis.ca.v1.WorkloadCA"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_calls_and_connections_are_turned_away() {
    let site = Site::new();
    let overrides = [
        "limits.perCaller={perSecond: 1, burst: 3}",
        "limits.connectionsPerAddress=4",
        "limits.handshakeTimeout=500ms",
    ];
    let mut authority = site.start_with(&overrides).await;
    let workload = authority.enrolled("order").await;
    let mut client = authority.client().await;
    client.enrol(by_key(&workload.key)).await.unwrap();
    client.enrol(by_key(&workload.key)).await.unwrap();
    let error = client.enrol(by_key(&workload.key)).await.unwrap_err();
    assert!(
        matches!(
            error,
            EnrolError::Busy {
                code: Code::ResourceExhausted,
                ..
            }
        ),
        "{error:?}"
    );

    let address = authority.running.grpc;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    let trust = CaTrust::Bundle(authority.bundle().await);
    assert!(
        CaClient::connect(&authority.ca, trust.clone(), None)
            .await
            .is_err()
    );
    // Those who never shake hands lose their places.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let mut again = CaClient::connect(&authority.ca, trust, None).await.unwrap();
    again.watch_bundle().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_another_authority_is_not_let_in() {
    let site = Site::new();
    let other = Site::new();
    let mut authority = site.start().await;
    let mut foreign = other.start().await;
    let stranger = foreign.enrolled("order").await;
    let trust = CaTrust::Bundle(authority.bundle().await);
    let outcome = match CaClient::connect(&authority.ca, trust, Some(&stranger.material)).await {
        Ok(mut client) => client
            .renew(&SpiffeId::parse(ORDER).unwrap(), None)
            .await
            .map(drop),
        Err(error) => Err(error),
    };
    let error = outcome.unwrap_err();
    assert!(
        matches!(
            error,
            EnrolError::Broken { .. } | EnrolError::Untrusted { .. }
        ),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_authority_on_the_same_directory_is_refused() {
    let site = Site::new();
    let _first = site.start().await;
    let config = ca::config::Config::load(&site.path("ca.yaml"), &[]).unwrap();
    let life = runtime::lifecycle::Lifecycle::new(Duration::from_secs(1));
    let error = ca::program::start(&config, life, None).await.unwrap_err();
    assert!(error.to_string().contains("in use"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_bundle_message_comes_at_once_and_to_anybody() {
    let site = Site::new();
    let mut authority = site.start().await;
    let mut raw = authority.raw().await;
    let mut stream = raw
        .watch_bundle(WatchBundleRequest {})
        .await
        .unwrap()
        .into_inner();
    let bundle = stream.message().await.unwrap().unwrap();
    assert_eq!(bundle.trust_domain, "cluster.local");
    assert_eq!(bundle.refresh_hint_seconds, 300);
    assert_eq!(Arc::new(bundle).roots.len(), 1);
}
