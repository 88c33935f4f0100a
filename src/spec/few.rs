//! Long lists in sentences.

use std::fmt::Display;

/// The first `shown` (at least one) of a list with `between` in between, and how many more there are: "a, b and 4 more".
pub fn first_few<T: Display>(list: impl IntoIterator<Item = T>, shown: usize, between: &str) -> String {
    let mut list = list.into_iter();
    let text = list.by_ref().take(shown.max(1)).map(|one| one.to_string()).collect::<Vec<_>>().join(between);
    and_more(text, list.count())
}

/// A list in words, and how many more there are than are in it.
pub fn and_more(text: String, more: usize) -> String {
    if more == 0 { text } else { format!("{text} and {more} more") }
}
