//! Test-only: an allocator that counts, so that tests can hold what must not allocate and benches can say how much lives.
//!
//! The only `unsafe` code of the repository that is not about inherited descriptors: an allocator cannot be written
//! without it. It hands every call to the system's allocator unchanged and adds to counters, nothing else.
//!
//! ```
//! #[global_allocator]
//! static COUNTING: allocations::Counting = allocations::Counting;
//!
//! let (sum, count) = allocations::counted(|| 1 + 1);
//! assert_eq!((sum, count), (2, 0));
//! let (text, count) = allocations::counted(|| "a".repeat(100));
//! assert_eq!((text.len(), count), (100, 1));
//! ```

#![expect(
    unsafe_code,
    reason = "`GlobalAlloc` is an unsafe trait; every method hands its arguments to the system's allocator as they are"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

thread_local! {
    // Constant and without a destructor, so that touching it never allocates.
    static OF_THREAD: Cell<usize> = const { Cell::new(0) };
}

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with counters; a test declares it as its `#[global_allocator]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// Runs some work and says how often it asked for memory on this thread; growing counts, giving back does not.
pub fn counted<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = OF_THREAD.get();
    let value = work();
    (value, OF_THREAD.get() - before)
}

/// How many bytes live in the whole process.
pub fn live() -> usize {
    LIVE.load(Relaxed)
}

/// The most bytes that ever lived, since the start or the last [`restart_peak`].
pub fn peak() -> usize {
    PEAK.load(Relaxed)
}

/// Lets [`peak`] start anew from what lives now.
pub fn restart_peak() {
    PEAK.store(live(), Relaxed);
}

fn took(bytes: usize) {
    OF_THREAD.set(OF_THREAD.get() + 1);
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(live, Relaxed);
}

fn gave_back(bytes: usize) {
    LIVE.fetch_sub(bytes, Relaxed);
}

// SAFETY: every method hands its arguments to `System` unchanged and returns what `System` returns, so whatever
// `System` promises holds here. The counters are a thread-local without destructor and atomics: they neither
// allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        gave_back(layout.size());
        // SAFETY: the block came from `System` with this layout, since all of them do.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        took(size);
        gave_back(layout.size());
        // SAFETY: the block came from `System` with this layout, since all of them do.
        unsafe { System.realloc(block, layout, size) }
    }
}
