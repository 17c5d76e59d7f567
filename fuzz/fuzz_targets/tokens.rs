//! `fuzz_targets::targets::tokens` for cargo-fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::targets::tokens(bytes));
