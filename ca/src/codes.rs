//! The diagnostic codes of this crate (`PC05xx`): a number never changes its meaning.

policies::codes! {
    /// A SPIFFE ID that this authority does not put into certificates.
    IDENTITY_NOT_SIGNED = "PC0501";
    /// A selector that this authority cannot check.
    SELECTOR_NOT_PROVABLE = "PC0502";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use identity::TrustDomain;
    use policies::diagnostic::page::{Example, Page};
    use policies::source::SourceFile;

    use super::*;

    fn findings(example: &Example<'_>) -> BTreeSet<String> {
        let file = SourceFile::from_bytes("example.yaml", example.bytes()).unwrap();
        let domain = TrustDomain::parse("cluster.local").unwrap();
        let (_, findings) = crate::entries::read(&[file], &domain);
        findings
            .iter()
            .map(|finding| finding.code.to_string())
            .collect()
    }

    #[test]
    fn every_code_has_one_page_with_examples_that_keep_their_promise() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("codes");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), ALL.len());
        for (code, name) in ALL {
            let page = Page::parse(explanation(*code).unwrap()).expect(name);
            assert_eq!(page.code, code.to_string());
            let found = findings(page.wrong().unwrap());
            assert_eq!(found, BTreeSet::from([page.code.to_owned()]), "{name}");
            let found = findings(page.right().unwrap());
            assert_eq!(found, BTreeSet::new(), "{name}");
        }
    }
}
