//! Waiting for what there may not be: a program that is not running, a point in time that is not set.

use std::future::pending;

/// What comes of it, where there is one to wait for; never comes back where there is none. As cancel-safe as what it waits for.
pub async fn perhaps<F: Future>(awaited: Option<F>) -> F::Output {
    match awaited {
        Some(awaited) => awaited.await,
        None => pending().await,
    }
}
