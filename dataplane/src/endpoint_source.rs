//! Where endpoints come from that no file declares: the mesh's registry on one machine, a cluster's own in a cluster.

use std::fmt;
use std::sync::Arc;

use policies::source::SourceFile;
use tokio::sync::watch;

/// A source of endpoints. What it knows are documents (ServiceEntry, WorkloadEntry) like those of the files, read, checked
/// and compiled in the same way; where both declare the same thing the file wins.
pub trait EndpointSource: fmt::Debug + Send + Sync + 'static {
    /// What is known now, one document a file, named as no file is named; `None` until anything is known. The last known
    /// state stays when the source cannot be reached any more.
    fn documents(&self) -> Option<Arc<[SourceFile]>>;

    /// Moves with every change of [`documents`](Self::documents).
    fn changes(&self) -> watch::Receiver<u64>;
}
