//! A disk that is full or read-only.
