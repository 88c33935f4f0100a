//! Text → [`Spec`](crate::engine::spec::Spec), with diagnostics; no kernel, no daemon, files only through [`source::Loader`].

pub mod diagnostic;
pub mod expand;
pub mod lexer;
pub mod source;
pub mod tree;
