//! From files to a tree of words: includes, definitions, comments, quotes and braces. Nothing here knows a keyword.

pub mod expand;
pub mod fmt;
pub mod lexer;
pub mod source;
pub mod tree;
