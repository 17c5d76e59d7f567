//! Unpredictable numbers for request ids, trace ids and weighted choices, drawn in blocks per thread.

use std::cell::RefCell;

use aws_lc_rs::rand;

/// Bytes drawn from the process's CSPRNG at a time: 32 request ids per call into it.
const BLOCK: usize = 512;

struct Block {
    bytes: [u8; BLOCK],
    used: usize,
}

thread_local! {
    static RESERVE: RefCell<Block> = const { RefCell::new(Block { bytes: [0; BLOCK], used: BLOCK }) };
}

/// `N` random bytes (`N` at most 512) from the process's CSPRNG.
pub fn bytes<const N: usize>() -> [u8; N] {
    const { assert!(N <= BLOCK, "more than one block") };
    let mut out = [0; N];
    RESERVE.with_borrow_mut(|block| {
        if BLOCK - block.used < N {
            refill(&mut block.bytes);
            block.used = 0;
        }
        let taken = block.bytes.iter_mut().skip(block.used).take(N);
        for (to, from) in out.iter_mut().zip(taken) {
            // What was handed out is forgotten, so that no two callers share it.
            *to = std::mem::take(from);
        }
        block.used += N;
    });
    out
}

/// A random number, for weighted choices.
pub fn number() -> u64 {
    u64::from_ne_bytes(bytes())
}

fn refill(block: &mut [u8; BLOCK]) {
    if rand::fill(block).is_err() {
        // INVARIANT: aws-lc's generator aborts rather than fail once seeded; a zero id is still well formed.
        block.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ() {
        let a: Vec<[u8; 16]> = (0..200).map(|_| bytes()).collect();
        let mut b = a.clone();
        b.sort_unstable();
        b.dedup();
        assert_eq!(a.len(), b.len());
    }
}
