//! The resolver against a name server of our own on the loopback interface.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::UdpSocket;

use super::*;
use crate::testing::eventually;

/// Answers A questions from a table; a name that is not there does not exist.
#[derive(Clone)]
struct NameServer {
    address: SocketAddr,
    table: Arc<Mutex<HashMap<String, Vec<Ipv4Addr>>>>,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: socket.local_addr().unwrap(),
            table: Arc::default(),
            asked: Arc::default(),
        };
        let answering = server.clone();
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            loop {
                let (length, from) = socket.recv_from(&mut packet).await.unwrap();
                let answer = answering.answer(&packet[..length]);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        server
    }

    fn set(&self, name: &str, addresses: &[[u8; 4]]) {
        let addresses = addresses.iter().map(|octets| Ipv4Addr::from(*octets));
        let mut table = self.table.lock();
        table.insert(name.to_owned(), addresses.collect());
    }

    fn remove(&self, name: &str) {
        self.table.lock().remove(name);
    }

    /// RFC 1035 section 4.1, as little of it as it takes; the TTL is 1 s.
    fn answer(&self, question: &[u8]) -> Vec<u8> {
        let mut at = 12;
        let mut name = Vec::new();
        while question[at] != 0 {
            let length = usize::from(question[at]);
            let label = &question[at + 1..=at + length];
            name.push(String::from_utf8(label.to_vec()).unwrap().to_lowercase());
            at += length + 1;
        }
        let end = at + 5;
        let wants_a = question[at + 2] == 1;
        if wants_a {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
        let table = self.table.lock();
        let known = table.get(&name.join("."));
        let addresses = known.filter(|_| wants_a).cloned().unwrap_or_default();
        let mut answer = question[..end].to_vec();
        let code = if known.is_some() { 0 } else { 3 };
        answer[2..4].copy_from_slice(&[0x84 | (question[2] & 1), code]);
        answer[6..12].copy_from_slice(&[0, u8::try_from(addresses.len()).unwrap(), 0, 0, 0, 0]);
        for address in addresses {
            answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
            answer.extend(address.octets());
        }
        answer
    }
}

fn name(host: &str) -> EndpointAddress {
    EndpointAddress::Name {
        host: host.into(),
        port: 80,
    }
}

#[tokio::test]
async fn addresses_are_answered_at_once_and_names_are_remembered() {
    let resolver = Resolver::default();
    let literal: SocketAddr = "192.0.2.1:8080".parse().unwrap();
    let found = resolver.address(&EndpointAddress::Socket(literal), 7).await;
    assert_eq!(found.unwrap(), literal);
    assert!(resolver.0.names.load().is_empty());
    for _ in 0..2 {
        let found = resolver.address(&name("localhost"), 0).await.unwrap();
        assert!(found.ip().is_loopback());
    }
    assert_eq!(resolver.0.names.load().len(), 1);
}

#[tokio::test]
async fn a_name_without_address_is_an_error() {
    let server = NameServer::start().await;
    let resolver = Resolver::with_servers(&[server.address]);
    let found = resolver.address(&name("nobody.test."), 0).await;
    let error = found.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot resolve `nobody.test.`: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_hundred_requests_share_one_question_and_take_turns() {
    let server = NameServer::start().await;
    server.set("many.test", &[[192, 0, 2, 1], [192, 0, 2, 2]]);
    let resolver = Resolver::with_servers(&[server.address]);
    let mut tasks = tokio::task::JoinSet::new();
    for turn in 0..100 {
        let resolver = resolver.clone();
        tasks.spawn(async move { resolver.address(&name("many.test."), turn).await.unwrap() });
    }
    let found: HashSet<SocketAddr> = tasks.join_all().await.into_iter().collect();
    assert_eq!(found.len(), 2);
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_followed_name_is_asked_for_again_and_keeps_its_last_answer() {
    let server = NameServer::start().await;
    server.set("moving.test", &[[192, 0, 2, 1]]);
    let resolver = Resolver::with_servers(&[server.address]);
    let changes = resolver.changes();
    let host: Arc<str> = "moving.test.".into();
    resolver.follow([Arc::clone(&host)]);
    let known = || resolver.known(&host).map(|found| found.to_vec());
    let first = vec![IpAddr::from([192, 0, 2, 1])];
    eventually("the first answer", || known() == Some(first.clone())).await;
    assert_eq!(*changes.borrow(), 1);

    server.set("moving.test", &[[192, 0, 2, 2], [192, 0, 2, 3]]);
    eventually("the new answer", || {
        known().is_some_and(|found| found.len() == 2)
    })
    .await;
    assert_eq!(*changes.borrow(), 2);

    server.remove("moving.test");
    let before = server.asked.load(Ordering::SeqCst);
    eventually("another question", || {
        server.asked.load(Ordering::SeqCst) > before
    })
    .await;
    let name = resolver.name(&host);
    eventually("a failure", || {
        name.failed_within(Duration::from_mins(1)).is_some()
    })
    .await;
    assert_eq!(known().map(|found| found.len()), Some(2));
    assert_eq!(*changes.borrow(), 2);
}

/// As a proxy runs it: the endpoints of a service follow its name.
#[tokio::test]
async fn every_address_of_a_name_is_an_endpoint() {
    let server = NameServer::start().await;
    server.set("payments.test", &[[192, 0, 2, 1], [192, 0, 2, 2]]);
    let directory = tempfile::tempdir().unwrap();
    let service = "apiVersion: networking.istio.io/v1\n\
         kind: ServiceEntry\n\
         metadata: {name: payments, namespace: my-app}\n\
         spec:\n  \
           hosts: [payments.test]\n  \
           resolution: DNS\n  \
           ports: [{number: 8080, name: http, protocol: HTTP}]\n";
    std::fs::write(directory.path().join("payments.yaml"), service).unwrap();
    let source = runtime::documents::DocumentSource::new(vec![directory.path().to_owned()]);
    let context = crate::ProxyContext {
        resolver: Resolver::with_servers(&[server.address]),
        ..crate::testing::context(crate::Role::Sidecar)
    };
    let store = crate::PolicyStore::start(source, None, context, &Registry::new()).unwrap();
    let addresses = || -> Vec<String> {
        let Some(snapshot) = store.snapshot() else {
            return Vec::new();
        };
        let endpoints = snapshot
            .clusters
            .iter()
            .flat_map(|(_, cluster)| &*cluster.endpoints);
        let mut shown: Vec<String> = endpoints.map(|one| one.address.to_string()).collect();
        shown.sort();
        shown
    };
    let both = ["192.0.2.1:8080", "192.0.2.2:8080"];
    eventually("both are endpoints", || addresses() == both).await;
    server.set("payments.test", &[[192, 0, 2, 3]]);
    eventually("they moved", || addresses() == ["192.0.2.3:8080"]).await;
}
