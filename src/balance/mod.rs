//! Virtual servers; deterministic. See [`io`] for the vocabulary.

pub mod io;
