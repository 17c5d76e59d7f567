//! The decision, in tables and against a naive reference.
