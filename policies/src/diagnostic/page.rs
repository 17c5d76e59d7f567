//! The long text about a code: what it means, a wrong and a right example.
//!
//! A page is Markdown of a fixed shape: `# PC0107: title`, paragraphs, and two fenced examples, `yaml wrong` and
//! `yaml right`. More words behind those two: `escaped` (the text has `\xNN`, `\t`, `\r`, `\\`, `\u{…}`), and
//! `also PC0208` (a finding that comes along whether right or wrong).

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// As written: `PC0107`.
    pub code: &'a str,
    /// A few words.
    pub title: &'a str,
    /// Paragraphs and examples, in order.
    pub blocks: Vec<Block<'a>>,
}

/// A part of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// Lines of prose.
    Paragraph(&'a str),
    /// Documents with exactly this mistake.
    Wrong(Example<'a>),
    /// The same documents without it.
    Right(Example<'a>),
}

/// The documents of an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example<'a> {
    /// As it stands on the page.
    pub text: &'a str,
    /// Whether the text has escapes.
    pub escaped: bool,
    /// Codes that come along.
    pub also: Vec<&'a str>,
}

impl<'a> Page<'a> {
    /// Reads a page; `None` if it has another shape.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (head, mut rest) = text.strip_prefix("# ")?.split_once('\n')?;
        let (code, title) = head.split_once(": ")?;
        let mut blocks = Vec::new();
        loop {
            rest = rest.trim_start_matches('\n');
            if rest.is_empty() {
                break;
            }
            let block;
            (block, rest) = if let Some(fenced) = rest.strip_prefix("```") {
                example(fenced)?
            } else {
                let (paragraph, rest) = rest.split_once("\n\n").unwrap_or((rest, ""));
                (Block::Paragraph(paragraph.trim_end()), rest)
            };
            blocks.push(block);
        }
        Some(Self {
            code,
            title,
            blocks,
        })
    }

    /// The example with the mistake.
    pub fn wrong(&self) -> Option<&Example<'a>> {
        self.blocks.iter().find_map(|block| match block {
            Block::Wrong(example) => Some(example),
            _ => None,
        })
    }

    /// The example without it.
    pub fn right(&self) -> Option<&Example<'a>> {
        self.blocks.iter().find_map(|block| match block {
            Block::Right(example) => Some(example),
            _ => None,
        })
    }
}

/// A fenced example, from behind its backticks, and what follows it.
fn example(fenced: &str) -> Option<(Block<'_>, &str)> {
    let (info, body) = fenced.split_once('\n')?;
    let (text, rest) = body.split_once("\n```\n").or_else(|| {
        // At the end of the page.
        Some((body.strip_suffix("\n```")?, ""))
    })?;
    let mut words = info.split(' ');
    let kind = (words.next()?, words.next()?);
    let mut example = Example {
        text,
        escaped: false,
        also: Vec::new(),
    };
    while let Some(word) = words.next() {
        match word {
            "escaped" => example.escaped = true,
            "also" => example.also.push(words.next()?),
            _ => return None,
        }
    }
    match kind {
        ("yaml", "wrong") => Some((Block::Wrong(example), rest)),
        ("yaml", "right") => Some((Block::Right(example), rest)),
        _ => None,
    }
}

impl Example<'_> {
    /// The bytes of the documents.
    pub fn bytes(&self) -> Vec<u8> {
        if self.escaped {
            unescaped(self.text)
        } else {
            self.text.as_bytes().to_vec()
        }
    }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        rest = escape(behind, &mut bytes).unwrap_or_else(|| {
            bytes.push(b'\\');
            behind
        });
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Writes one escape from behind its backslash; what follows it, or `None` if it is none.
fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    if let Some(hex) = text.strip_prefix('x') {
        let (digits, rest) = hex.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        return Some(rest);
    }
    if let Some(braced) = text.strip_prefix("u{") {
        let (digits, rest) = braced.split_once('}')?;
        let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
        bytes.extend_from_slice(character.to_string().as_bytes());
        return Some(rest);
    }
    let (byte, rest) = match text.as_bytes().first()? {
        b't' => (b'\t', text.get(1..)?),
        b'r' => (b'\r', text.get(1..)?),
        b'n' => (b'\n', text.get(1..)?),
        b'\\' => (b'\\', text.get(1..)?),
        _ => return None,
    };
    bytes.push(byte);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# PC0001: a title: long\n\nOne\nparagraph.\n\nAnother.\n\n\
        ```yaml wrong escaped also PC0208\na: \\xE9\\t\\u{41}\\q\n```\n\n```yaml right\nb: 1\n\nc: 2\n```\n";

    #[test]
    fn a_page_is_read() {
        let page = Page::parse(TEXT).unwrap();
        assert_eq!((page.code, page.title), ("PC0001", "a title: long"));
        assert_eq!(page.blocks.len(), 4);
        assert_eq!(
            page.blocks.first(),
            Some(&Block::Paragraph("One\nparagraph."))
        );
        let wrong = page.wrong().unwrap();
        assert_eq!(wrong.also, ["PC0208"]);
        assert_eq!(wrong.bytes(), b"a: \xE9\tA\\q");
        assert_eq!(page.right().unwrap().bytes(), b"b: 1\n\nc: 2");
    }

    #[test]
    fn other_shapes_are_no_pages() {
        for text in [
            "",
            "# PC0001\n",
            "text\n",
            "# PC0001: t\n\n```yaml\na\n```\n",
            "# PC0001: t\n\n```yaml wrong\na\n",
        ] {
            assert_eq!(Page::parse(text), None, "{text:?}");
        }
    }
}
