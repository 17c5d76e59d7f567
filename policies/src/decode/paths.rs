//! The document paths of one load, each kept once: ten thousand documents of a kind have the same few.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::diagnostic::DocPath;

/// How many paths are kept; what comes later is made anew each time.
const MAX_KEPT: usize = 1 << 16;

/// The paths seen so far.
#[derive(Debug, Default)]
pub(crate) struct Paths(RefCell<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// By the address of the parent, which every kept path keeps alive.
    steps: HashMap<(usize, Step), DocPath, BuildHasherDefault<StepHasher>>,
    /// Numbers of the keys that authors chose.
    keys: HashMap<Box<str>, usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// By the address of the name.
    Field(usize),
    Key(usize),
    Index(usize),
}

impl Paths {
    /// As [`DocPath::field`].
    pub(crate) fn field(&self, parent: &DocPath, name: &'static str) -> DocPath {
        let step = Step::Field(name.as_ptr().addr());
        self.0
            .borrow_mut()
            .path(parent, step, || parent.field(name))
    }

    /// As [`DocPath::key`].
    pub(crate) fn key(&self, parent: &DocPath, name: &str) -> DocPath {
        let mut kept = self.0.borrow_mut();
        let number = match kept.keys.get(name) {
            Some(number) => *number,
            None if kept.keys.len() >= MAX_KEPT => return parent.key(name),
            None => {
                let number = kept.keys.len();
                kept.keys.insert(name.into(), number);
                number
            }
        };
        kept.path(parent, Step::Key(number), || parent.key(name))
    }

    /// As [`DocPath::index`].
    pub(crate) fn index(&self, parent: &DocPath, index: usize) -> DocPath {
        self.0
            .borrow_mut()
            .path(parent, Step::Index(index), || parent.index(index))
    }
}

impl Kept {
    fn path(&mut self, parent: &DocPath, step: Step, make: impl FnOnce() -> DocPath) -> DocPath {
        let key = (parent.address(), step);
        if let Some(path) = self.steps.get(&key) {
            return path.clone();
        }
        let path = make();
        if self.steps.len() < MAX_KEPT {
            self.steps.insert(key, path.clone());
        }
        path
    }
}

/// Multiply and rotate: the keys are addresses and small numbers, which nobody outside chooses.
#[derive(Debug, Default)]
struct StepHasher(u64);

impl Hasher for StepHasher {
    fn finish(&self) -> u64 {
        // The table looks at the highest and the lowest bits.
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x51_7c_c1_b7_27_22_0a_95);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(u64::try_from(number).unwrap_or(u64::MAX));
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(u64::try_from(number).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_is_kept_once_and_reads_as_if_made_anew() {
        let paths = Paths::default();
        let root = DocPath::root();
        let make = || {
            let spec = paths.field(&root, "spec");
            let http = paths.index(&paths.field(&spec, "http"), 2);
            paths.field(&paths.key(&http, "x-user.id"), "exact")
        };
        assert_eq!(make().address(), make().address());
        let anew = root.field("spec").field("http").index(2);
        let anew = anew.key("x-user.id").field("exact");
        assert_eq!(make(), anew);
        assert_eq!(make().to_string(), "spec.http[2][\"x-user.id\"].exact");
        assert_ne!(
            paths.index(&root, 0).address(),
            paths.index(&root, 1).address()
        );
        assert_ne!(paths.key(&root, "a"), paths.key(&root, "b"));
    }

    #[test]
    fn very_many_paths_are_right_without_being_kept() {
        let paths = Paths::default();
        let root = DocPath::root();
        for number in 0..MAX_KEPT + 10 {
            let path = paths.key(&root, &format!("k{number}"));
            assert_eq!(path.to_string(), format!("k{number}"));
        }
        assert_eq!(paths.0.borrow().steps.len(), MAX_KEPT);
        assert_eq!(paths.index(&root, 7).to_string(), "[7]");
    }
}
