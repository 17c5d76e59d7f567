//! Builds and publishes generations: from a new edition of the files, or from the same files and other endpoints.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use policies::diagnostic::{Diagnostic, codes};
use policies::load::Loader;
use policies::source::SourceFile;
use runtime::documents::{DocumentsError, Edition};

use super::{PolicyState, PolicyStore, Rejection, RejectionReason, announce};
use crate::snapshot::Snapshot;

/// What is remembered from one build to the next.
#[derive(Debug, Default)]
pub(super) struct Building {
    /// What was read last, for the next edition.
    loader: Loader,
    /// The newest edition when its documents were refused: another endpoint may be what it lacked.
    refused: Option<Edition>,
    /// What the endpoint source knew at the last build.
    found: Option<Arc<[SourceFile]>>,
    /// Documents of the endpoint source that were left out the last time, so that each is told once.
    left_out: BTreeSet<Arc<str>>,
}

impl PolicyStore {
    /// Builds and publishes one edition. Whether it is in force now.
    pub fn apply(&self, edition: Result<Edition, DocumentsError>) -> bool {
        let inner = &*self.0;
        let mut building = inner.building.lock();
        let before = self.state();
        let previous = before.snapshot.as_deref();
        let id = edition.as_ref().ok().map(|edition| edition.id);
        let built = match edition {
            Err(error) => Err((RejectionReason::Unreadable(error), None)),
            Ok(edition)
                if edition.files.is_empty()
                    && (before.edition.as_ref())
                        .is_some_and(|edition| !edition.files.is_empty()) =>
            {
                Err((RejectionReason::AllGone, None))
            }
            Ok(edition) => match self.build(&mut building, &edition, previous) {
                Ok(snapshot) => Ok((snapshot, edition)),
                Err(findings) => Err((RejectionReason::Invalid(findings.into()), Some(edition))),
            },
        };
        match built {
            Ok((snapshot, edition)) => {
                announce(&snapshot, previous);
                self.publish(&mut building, snapshot, Arc::new(edition), None);
                true
            }
            Err((reason, refused)) => {
                let rejection = Rejection {
                    at: SystemTime::now(),
                    edition: id,
                    reason,
                };
                rejection.log(previous.map(|p| p.generation));
                inner.metrics.rejected();
                building.refused = refused;
                inner.state.store(Arc::new(PolicyState {
                    snapshot: before.snapshot.clone(),
                    edition: before.edition.clone(),
                    rejected: Some(rejection),
                    endpoints: before.endpoints.clone(),
                }));
                false
            }
        }
    }

    /// Builds the files that were read last once more, with what the endpoint source and others know now. Whether that
    /// is in force; files that were refused get another chance, and stay refused otherwise.
    pub fn rebuild(&self) -> bool {
        let mut building = self.0.building.lock();
        let before = self.state();
        let previous = before.snapshot.as_deref();
        if let Some(refused) = building.refused.take() {
            match self.build(&mut building, &refused, previous) {
                Ok(snapshot) => {
                    announce(&snapshot, previous);
                    self.publish(&mut building, snapshot, Arc::new(refused), None);
                    return true;
                }
                Err(_) => building.refused = Some(refused),
            }
        }
        let Some(edition) = &before.edition else {
            return false;
        };
        match self.build(&mut building, edition, previous) {
            Ok(snapshot) => {
                tracing::debug!(generation = snapshot.generation, "endpoints changed");
                let rejected = before.rejected.clone();
                self.publish(&mut building, snapshot, Arc::clone(edition), rejected);
                true
            }
            Err(findings) => {
                for finding in findings.iter().filter(|f| f.is_error()) {
                    tracing::error!(diagnostic = %finding, "the documents do not fit the endpoints any more; nothing changes");
                }
                false
            }
        }
    }

    fn publish(
        &self,
        building: &mut Building,
        snapshot: Snapshot,
        edition: Arc<Edition>,
        rejected: Option<Rejection>,
    ) {
        let inner = &*self.0;
        inner.metrics.accepted(&snapshot);
        let names = snapshot.names.iter().cloned();
        inner.context.resolver.follow(names);
        if rejected.is_some() {
            inner.metrics.rejected_now.set(1);
        } else {
            building.refused = None;
        }
        inner.state.store(Arc::new(PolicyState {
            snapshot: Some(Arc::new(snapshot)),
            edition: Some(edition),
            rejected,
            endpoints: building.found.clone(),
        }));
    }

    /// The files with whatever of the endpoint source's documents is good beside them.
    fn build(
        &self,
        building: &mut Building,
        edition: &Edition,
        previous: Option<&Snapshot>,
    ) -> Result<Snapshot, Vec<Diagnostic>> {
        let inner = &*self.0;
        let source = inner.endpoints.as_ref();
        building.found = source.and_then(|source| source.documents());
        let mut found: Vec<SourceFile> = building.found.as_deref().unwrap_or_default().to_vec();
        let mut left_out = BTreeSet::new();
        loop {
            let files = [edition.files.as_slice(), &found].concat();
            let built = Snapshot::build(&mut building.loader, &files, &inner.context, previous);
            let findings = match built {
                Ok(snapshot) => {
                    building.left_out = left_out;
                    return Ok(snapshot);
                }
                Err(findings) => findings,
            };
            let before = found.len();
            found.retain(|file| {
                let mut errors = findings.iter().filter(|f| f.is_error());
                let error = errors.find(|error| *error.at.file == *file.name);
                if let Some(error) = error {
                    let told = building.left_out.contains(&file.name);
                    // That a file declares the same thing is how it should be.
                    if !told && error.code != codes::DUPLICATE_DOCUMENT {
                        tracing::info!(document = &*file.name, reason = %error, "a found endpoint is left out");
                    }
                    left_out.insert(Arc::clone(&file.name));
                }
                error.is_none()
            });
            if found.len() == before {
                return Err(findings);
            }
        }
    }
}
