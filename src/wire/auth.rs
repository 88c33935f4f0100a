//! Authentication of adverts.
