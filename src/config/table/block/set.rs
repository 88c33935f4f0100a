//! [`Set`]: a setting that a configuration may or may not have given, with the place where it did.

use crate::config::text::source::Span;
use std::ops::{Deref, DerefMut};

/// A value and where it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting<T> {
    pub value: T,
    pub span: Span,
}

/// A setting that may not have been given. What a keyword's entry knows as its default is not in here: the settings struct
/// has a method for that ([`block!`](crate::block)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Set<T>(Option<Setting<T>>);

impl<T> Set<T> {
    /// Not given.
    pub const NONE: Set<T> = Set(None);

    /// Given, with the place.
    pub const fn at(value: T, span: Span) -> Set<T> {
        Set(Some(Setting { value, span }))
    }

    /// Where it was given.
    pub fn span(&self) -> Option<Span> {
        self.0.as_ref().map(|set| set.span)
    }

    /// With its place; the setting is used up.
    pub fn given(self) -> Option<Setting<T>> {
        self.0
    }

    /// What was given.
    pub fn get(&self) -> Option<&T> {
        self.0.as_ref().map(|set| &set.value)
    }
}

impl<T: Clone> Set<T> {
    /// What was given, as a copy.
    pub fn value(&self) -> Option<T> {
        self.get().cloned()
    }

    /// What was given, or `default`.
    pub fn or(&self, default: T) -> T {
        self.value().unwrap_or(default)
    }

    /// This setting, or `other` if it was not given.
    pub fn otherwise(&self, other: &Set<T>) -> Set<T> {
        if self.0.is_some() { self.clone() } else { other.clone() }
    }
}

impl<T> Default for Set<T> {
    fn default() -> Set<T> {
        Set(None)
    }
}

impl<T> Deref for Set<T> {
    type Target = Option<Setting<T>>;

    fn deref(&self) -> &Option<Setting<T>> {
        &self.0
    }
}

impl<T> DerefMut for Set<T> {
    fn deref_mut(&mut self) -> &mut Option<Setting<T>> {
        &mut self.0
    }
}

/// Fields whose value can be asked for.
pub trait Given {
    type Value;
}

impl<T> Given for Set<T> {
    type Value = T;
}
