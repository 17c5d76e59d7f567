//! The timetable's promises, for every life, time and attempt.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn an_hour_is_renewed_around_half_of_it_and_always_at_the_same_time() {
    let table = |serial: &str| Timetable::new(at(1000), at(4600), "spiffe://td/a", serial);
    assert_eq!(table("01").renew_at(), table("01").renew_at());
    assert_ne!(table("01").renew_at(), table("02").renew_at());
    let spread: Vec<u64> = (0..200)
        .map(|n| {
            let due = table(&n.to_string()).renew_at();
            due.duration_since(at(1000)).unwrap().as_secs()
        })
        .collect();
    assert!(spread.iter().all(|s| (1440..=2160).contains(s)));
    // A tenth either way is used, not just a corner of it.
    assert!(*spread.iter().min().unwrap() < 1500 && *spread.iter().max().unwrap() > 2100);
}

#[test]
fn retries_grow_and_respect_what_is_left() {
    let table = Timetable::new(at(0), at(3600), "spiffe://td/a", "01");
    let first = table.retry_after(0, at(1800));
    assert!(first >= Duration::from_millis(800) && first <= Duration::from_millis(1200));
    assert!(table.retry_after(3, at(1800)) > Duration::from_secs(6));
    assert!(table.retry_after(30, at(1800)) <= Duration::from_mins(1));
    // 20 s left: a tenth is 2 s.
    assert!(table.retry_after(30, at(3580)) <= Duration::from_secs(2));
    // Expired: as if there were none.
    assert!(table.retry_after(0, at(3600)) <= Duration::from_millis(240));
    assert!(retry_without(40, b"x") <= Duration::from_secs(5));
}

proptest! {
    #[test]
    fn renewal_is_within_the_middle_fifth(start in 0_u64..4_000_000_000, life in 1_u64..400_000_000, serial in "[0-9a-f]{2,40}") {
        let table = Timetable::new(at(start), at(start + life), "spiffe://td/a", &serial);
        let due = table.renew_at().duration_since(at(start)).unwrap().as_secs_f64();
        let life = Duration::from_secs(life).as_secs_f64();
        prop_assert!(due >= life * 0.3999 && due <= life * 0.6001);
    }

    #[test]
    fn a_retry_never_waits_past_expiry_nor_spins(start in 0_u64..4_000_000_000, life in 0_u64..100_000_000, spent in 0_u64..200_000_000, attempt: u32) {
        let table = Timetable::new(at(start), at(start + life), "spiffe://td/a", "01");
        let now = at(start + spent);
        let wait = table.retry_after(attempt, now);
        prop_assert!(wait <= Duration::from_mins(1));
        match at(start + life).duration_since(now) {
            Ok(left) if !left.is_zero() => {
                prop_assert!(wait <= left);
                prop_assert!(wait >= SHORTEST_RETRY.min(left));
            }
            _ => prop_assert!(wait >= Duration::from_millis(160)),
        }
    }
}
