//! How a process lives: strict configuration, document sources, the admin port, signals, drain and logs.
