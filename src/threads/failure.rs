//! How a thread or a task that should go on says that it does not.
//!
//! A panic ends a thread without a word to the others: what they send it piles up, what they wait for never comes. So
//! every one that others wait for catches its panic and tells a [`Failure`], which whoever started it waits for.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::watch;

use super::pool::panic_text;

/// Why something that should go on has ended, once it has. Cheap to clone; the first reason stays.
#[derive(Debug, Clone)]
pub struct Failure(watch::Sender<Option<Arc<str>>>);

impl Default for Failure {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Failure {
    /// Says that it ended.
    pub fn tell(&self, why: &str) {
        self.0.send_if_modified(|told| {
            let first = told.is_none();
            if first {
                *told = Some(why.into());
            }
            first
        });
    }

    /// Waits for the reason; for ever if there is none.
    pub async fn told(&self) -> String {
        let mut told = self.0.subscribe();
        // The other end of the channel is in `self`, so it does not close.
        let why = told.wait_for(Option::is_some).await.map(|why| why.clone());
        match why {
            Ok(why) => why.as_deref().unwrap_or_default().to_owned(),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Runs `work`; the message of its panic if there was one.
///
/// # Errors
/// The panic.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(panic.as_ref()))
}

/// The same for what is asynchronous.
///
/// # Errors
/// The panic.
pub async fn catch_async<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| message(panic.as_ref()))
}

/// What a thread gave at its end. Blocks until then.
///
/// # Errors
/// The panic.
pub fn joined<T>(thread: std::thread::JoinHandle<T>) -> Result<T, String> {
    thread.join().map_err(|panic| message(panic.as_ref()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    format!("panic: {}", panic_text(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays_whenever_it_is_asked_for() {
        let failure = Failure::default();
        let early = failure.told();
        tokio::pin!(early);
        assert!(futures_util::poll!(early.as_mut()).is_pending());
        failure.clone().tell("a");
        failure.tell("b");
        assert_eq!((early.await, failure.told().await), ("a".to_owned(), "a".to_owned()));
    }

    #[tokio::test]
    async fn a_panic_becomes_its_message() {
        assert_eq!(catch(|| 1), Ok(1));
        let literal = catch(|| -> u32 { panic!("of a thread") });
        let formatted = catch_async(async { panic!("of a {}", "task") as u32 }).await;
        let thread = joined(std::thread::spawn(|| panic!("of a thread")));
        assert_eq!(thread, Err("panic: of a thread".to_owned()));
        assert_eq!(literal, Err("panic: of a thread".to_owned()));
        assert_eq!(formatted, Err("panic: of a task".to_owned()));
    }
}
