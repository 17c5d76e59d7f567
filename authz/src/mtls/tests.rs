//! Tables for the modes of a workload.
