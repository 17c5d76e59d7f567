//! RequestAuthentications that would not do what they say.

use policies::{diagnostic::Diagnostic, document::DocumentSet};

use crate::{attachment, codes, dry_run, jwt::KeySet};

/// Finds key sets that verify nothing, references that no proxy meets, and dry runs, which tokens do not have.
pub(super) fn check(documents: &DocumentSet, found: &mut Vec<Diagnostic>) {
    for document in &documents.request_authentications {
        let meta = &document.meta;
        found.extend(dry_run::out_of_place(meta));
        found.extend(attachment::findings(meta, &document.attachment.target_refs));
        for keys in document
            .jwt_rules
            .iter()
            .filter_map(|rule| rule.jwks.as_ref())
        {
            let Err(error) = KeySet::parse(keys.as_bytes()) else {
                continue;
            };
            // Nothing gets through that should not: a warning, as Istio takes such sets.
            let message = format!("`jwks` of {meta} verifies no token: {error}");
            let help = "give it a public key: shared secrets (`oct`) would let everybody who reads the document make tokens";
            found.push(
                Diagnostic::warning(codes::USELESS_KEYS, keys.at.clone(), &keys.path, message)
                    .with_help(help),
            );
        }
    }
}
