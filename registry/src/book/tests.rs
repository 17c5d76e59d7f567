//! The rules as timelines.

use std::net::Ipv4Addr;

use dataplane::registry::InstancePort;

use super::*;

const LEASE: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Now {
    Now {
        monotonic: Duration::from_secs(seconds),
        seconds: 1_000 + seconds,
    }
}

fn id(account: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://cluster.local/ns/my-app/sa/{account}")).unwrap()
}

fn instance(name: &str, account: &str) -> Instance {
    Instance {
        name: InstanceName {
            namespace: "my-app".to_owned(),
            name: name.to_owned(),
        },
        service_account: account.to_owned(),
        labels: [("app".to_owned(), account.to_owned())].into(),
        address: Ipv4Addr::LOCALHOST.into(),
        ports: vec![InstancePort {
            name: "http".to_owned(),
            number: 80,
            protocol: "HTTP".to_owned(),
            listens_at: 15_006,
        }],
        locality: None,
        state: InstanceState::Ready,
        reason: String::new(),
        since: 0,
    }
}

fn state(book: &Book, name: &str) -> Option<(InstanceState, u64)> {
    let name = instance(name, "x").name;
    let found = book.state().instances.get(&name)?;
    Some((found.state, found.since))
}

#[test]
fn a_workload_is_there_as_long_as_its_stream() {
    let mut book = Book::new(LEASE);
    let billing = id("billing");
    assert_eq!(
        book.tell(Session(1), &billing, instance("a", "billing"), at(0)),
        Ok(true)
    );
    assert_eq!(
        book.tell(Session(1), &billing, instance("a", "billing"), at(1)),
        Ok(false)
    );
    assert_eq!(state(&book, "a"), Some((InstanceState::Ready, 1_000)));
    assert_eq!(book.state().version, 1);
    assert!(book.end(Session(1), at(2)));
    assert_eq!(state(&book, "a"), Some((InstanceState::Gone, 1_002)));
    assert!(!book.end(Session(1), at(3)));
    assert!(
        !book.hear(Session(1), at(3)),
        "a stream that has ended says nothing"
    );
}

#[test]
fn silence_ends_a_lease_and_a_word_takes_it_up_again() {
    let mut book = Book::new(LEASE);
    let billing = id("billing");
    book.tell(Session(1), &billing, instance("a", "billing"), at(0))
        .unwrap();
    for second in (0..60).step_by(4) {
        assert!(!book.hear(Session(1), at(second)) && !book.expire(at(second)));
    }
    assert!(!book.expire(at(66)), "at the lease's end it still holds");
    assert!(book.expire(at(67)));
    assert_eq!(state(&book, "a").unwrap().0, InstanceState::Gone);
    assert!(!book.expire(at(99)), "it goes once");
    assert!(book.hear(Session(1), at(100)));
    assert_eq!(state(&book, "a"), Some((InstanceState::Ready, 1_100)));
}

#[test]
fn nobody_speaks_for_another_identity() {
    let mut book = Book::new(LEASE);
    let refused = book.tell(Session(1), &id("other"), instance("a", "billing"), at(0));
    assert!(
        matches!(refused, Err(Refused::NotYours { .. })),
        "{refused:?}"
    );
    let elsewhere = SpiffeId::parse("spiffe://cluster.local/ns/elsewhere/sa/billing").unwrap();
    let refused = book.tell(Session(1), &elsewhere, instance("a", "billing"), at(0));
    assert!(
        matches!(refused, Err(Refused::NotYours { .. })),
        "{refused:?}"
    );
    assert!(book.state().instances.is_empty());

    book.tell(Session(2), &id("billing"), instance("a", "billing"), at(0))
        .unwrap();
    let refused = book.tell(Session(3), &id("other"), instance("a", "other"), at(1));
    assert!(matches!(refused, Err(Refused::Taken { .. })), "{refused:?}");
    // A name is free again when its holder has gone.
    book.end(Session(2), at(2));
    assert_eq!(
        book.tell(Session(3), &id("other"), instance("a", "other"), at(3)),
        Ok(true)
    );
    let refused = book.tell(Session(3), &id("other"), instance("b", "other"), at(3));
    assert!(matches!(refused, Err(Refused::Another(_))), "{refused:?}");
}

#[test]
fn the_end_of_an_old_stream_does_not_take_out_the_new_one() {
    let mut book = Book::new(LEASE);
    let billing = id("billing");
    book.tell(Session(1), &billing, instance("a", "billing"), at(0))
        .unwrap();
    book.tell(Session(2), &billing, instance("a", "billing"), at(1))
        .unwrap();
    assert!(!book.end(Session(1), at(2)));
    assert_eq!(state(&book, "a").unwrap().0, InstanceState::Ready);
    assert!(book.end(Session(2), at(3)));
}

#[test]
fn watchers_are_told_what_is_different() {
    let mut book = Book::new(LEASE);
    let billing = id("billing");
    book.tell(Session(1), &billing, instance("a", "billing"), at(0))
        .unwrap();
    book.tell(Session(2), &billing, instance("b", "billing"), at(0))
        .unwrap();
    let before = book.state().clone();
    let whole = before.since(&State::default());
    assert_eq!(whole.told.len(), 2);
    book.end(Session(2), at(1));
    let change = book.state().since(&before);
    assert_eq!(change.told.len(), 1);
    assert_eq!(change.told[0].name.name, "b");
    assert!(change.forgotten.is_empty());
    assert!(book.state().since(&book.state().clone()).told.is_empty());
}

#[test]
fn memory_of_those_that_have_gone_is_bounded() {
    let mut book = Book::new(LEASE);
    let billing = id("billing");
    let rounds = u64::try_from(MOST_GONE).unwrap() + 10;
    for round in 0..rounds {
        let name = format!("a{round}");
        book.tell(
            Session(round),
            &billing,
            instance(&name, "billing"),
            at(round),
        )
        .unwrap();
        book.end(Session(round), at(round));
    }
    assert_eq!(book.state().instances.len(), MOST_GONE);
    assert_eq!(state(&book, "a0"), None);
    assert!(state(&book, &format!("a{}", rounds - 1)).is_some());
}
