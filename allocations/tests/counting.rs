//! What the counters say about work whose memory is known.

#[global_allocator]
static COUNTING: allocations::Counting = allocations::Counting;

#[test]
fn counts_calls_of_this_thread_and_bytes_of_the_process() {
    let ((), count) = allocations::counted(|| {
        let mut list: Vec<u64> = Vec::with_capacity(4);
        list.extend([1, 2, 3, 4]);
        list.push(5);
        assert_eq!(list.len(), 5);
    });
    assert_eq!(count, 2, "made and grown");

    // Other threads of the test runner allocate a little, too.
    let slack = 1 << 20;
    let before = allocations::live();
    let block = vec![1_u8; 64 << 20];
    assert!(allocations::live().abs_diff(before + block.len()) < slack);
    drop(block);
    assert!(allocations::live().abs_diff(before) < slack);
    assert!(allocations::peak() >= before + (64 << 20) - slack);
    allocations::restart_peak();
    assert!(allocations::peak().abs_diff(before) < slack);

    let ((), count) = allocations::counted(|| {
        let other = std::thread::spawn(|| allocations::counted(|| vec![0_u8; 10]).1);
        assert_eq!(other.join().ok(), Some(1));
    });
    assert!(count > 0, "a thread handle is memory, too");
}
