//! Seeded mutations of a corpus: the same seed makes the same inputs.

use crate::targets::Food;

/// Pieces of YAML and of URIs that break readers.
const TOKENS: &[&str] = &[
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "# ",
    "// ",
    "\t",
    "\r",
    "\r\n",
    "\"",
    "'",
    "\\",
    "\\u202e",
    "\u{202e}",
    "\u{feff}",
    "\u{0}",
    "\u{1b}[31m",
    "~",
    "null",
    "true",
    "yes",
    "0",
    "-1",
    "0777",
    "1e999",
    ".nan",
    "99999999999",
    "\"\"",
    "{}",
    "[]",
    "? ",
    "%YAML 1.2\n",
    "*",
    "{**}",
    "(a*)*",
    "\\pL{99}",
    "@",
    "`",
    "/..;/",
    "%2e%2e",
    "%2f",
    "%5c",
    "%00",
    "%25",
    "//",
    "/./",
    "/../",
    "?",
    "#",
    "spiffe://",
    "cluster.local",
    "/ns/a/sa/b",
    "pcjt1.",
    ".",
    "é",
    "\u{10ffff}",
];

/// A generator of inputs (xorshift: speed and a seed are all that is asked of it).
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// The same seed makes the same inputs.
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// The next input, made from the corpus.
    pub fn input(&mut self, corpus: &[Vec<u8>], food: Food) -> Vec<u8> {
        if food == Food::Bytes || corpus.is_empty() {
            let length = 1 + self.below(400);
            return (0..length).map(|_| self.next().to_le_bytes()[3]).collect();
        }
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let other = &corpus[self.below(corpus.len())];
            self.change(&mut input, other, food);
        }
        input.truncate(64 << 10);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8], food: Food) {
        let place = self.below(input.len() + 1);
        match self.below(if food == Food::Yaml { 9 } else { 5 }) {
            0 => {
                let byte = self.next().to_le_bytes()[2];
                input.insert(place, byte);
            }
            1 if place < input.len() => {
                input.remove(place);
            }
            2 if place < input.len() => input[place] ^= 1 << self.below(8),
            3 => {
                let token = TOKENS[self.below(TOKENS.len())];
                input.splice(place..place, token.bytes());
            }
            4 => {
                let end = (place + self.below(40)).min(input.len());
                let piece = input[place..end].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            5 | 6 => self.lines(input, other),
            _ => self.scalar(input, other),
        }
    }

    /// Removes, repeats, shifts or takes over whole lines.
    fn lines(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let mut lines: Vec<Vec<u8>> = input
            .split_inclusive(|b| *b == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let from: Vec<&[u8]> = other.split_inclusive(|b| *b == b'\n').collect();
        if lines.is_empty() || from.is_empty() {
            return;
        }
        let place = self.below(lines.len());
        match self.below(4) {
            0 => {
                lines.remove(place);
            }
            1 => {
                let line = lines[place].clone();
                lines.insert(place, line);
            }
            2 => lines[place].splice(0..0, *b"  ").for_each(drop),
            _ => {
                let start = self.below(from.len());
                let end = (start + 1 + self.below(6)).min(from.len());
                let taken = from[start..end].iter().map(|line| line.to_vec());
                lines.splice(place..place, taken).for_each(drop);
            }
        }
        *input = lines.concat();
    }

    /// Puts a word of another input, or a token, in the place of a word.
    fn scalar(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let words = |text: &[u8]| -> Vec<(usize, usize)> {
            let mut found = Vec::new();
            let mut start = None;
            for (at, byte) in text.iter().enumerate() {
                let inside = !b" \n\r\t,:[]{}\"'".contains(byte);
                match (inside, start) {
                    (true, None) => start = Some(at),
                    (false, Some(from)) => {
                        found.push((from, at));
                        start = None;
                    }
                    _ => {}
                }
            }
            found
        };
        let own = words(input);
        let theirs = words(other);
        if own.is_empty() || theirs.is_empty() {
            return;
        }
        let (start, end) = own[self.below(own.len())];
        let new = if self.below(3) == 0 {
            TOKENS[self.below(TOKENS.len())].as_bytes().to_vec()
        } else {
            let (from, to) = theirs[self.below(theirs.len())];
            other[from..to].to_vec()
        };
        input.splice(start..end, new).for_each(drop);
    }
}
