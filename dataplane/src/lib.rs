//! What gateway and sidecar both do with I/O: the snapshot, the mTLS upstream client, request metrics and the access log.
