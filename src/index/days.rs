//! A day begins with the first event of it: see [`crate::schema::days`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::schema::days::{self, Day};
use crate::store::{Reader, StoreError, Tx};

/// The newest day that has begun, so that most events need not look.
pub(super) struct Days(Arc<AtomicU32>);

impl Days {
    pub(super) fn load<R: Reader>(r: &R) -> Result<Self, StoreError> {
        let newest = days::newest(r)?.map_or(0, |day| day.0);
        Ok(Self(Arc::new(AtomicU32::new(newest))))
    }

    /// An event comes at this time of ours. A clock that was put back begins no day.
    pub(super) fn begin(&self, tx: &mut Tx<'_>, received: i64) -> Result<(), StoreError> {
        let (day, newest) = (Day::of(received), self.0.load(Ordering::Relaxed));
        if day.0 <= newest {
            return Ok(());
        }
        days::begin(tx, day)?;
        self.0.store(day.0, Ordering::Relaxed);
        let held = Arc::clone(&self.0);
        tx.if_taken_back(move || held.store(newest, Ordering::Relaxed));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::event::{Body, Event, IdentityState};
    use crate::schema::ActorId;
    use crate::schema::days::{Day, Newcomers, newcomers};

    #[tokio::test]
    async fn a_day_has_who_was_first_heard_of_on_it() {
        let day_ms = Day(1).begins_at();
        let w = World::new();
        let hear = async |who: &str, at: i64| {
            let index = std::sync::Arc::clone(&w.index);
            let body = Body::Identity(IdentityState { handle: None, key: None, pds: None });
            let events = [Event::found_here(did(who), at, body)];
            w.writer.durable(move |tx| index.apply(tx, &events)).await.unwrap();
        };
        let days = || newcomers(&w.store.snapshot()).unwrap();
        let of = |ms: i64, first, end| Newcomers {
            day: Day::of(ms),
            first: ActorId(first),
            end: ActorId(end),
        };
        assert_eq!(days(), []);
        hear("a", NOW).await;
        hear("b", NOW + 1).await;
        assert_eq!(days(), [of(NOW, 1, 3)]);
        // Nobody is new on the second day; a clock that was put back begins none.
        hear("b", NOW + day_ms).await;
        hear("c", NOW + 2 * day_ms).await;
        hear("d", NOW + day_ms).await;
        assert_eq!(days(), [of(NOW, 1, 3), of(NOW + 2 * day_ms, 3, 5)]);
    }

    #[tokio::test]
    async fn who_was_here_before_counts_to_the_first_day() {
        let w = World::new();
        w.writer
            .durable(|tx| {
                use crate::schema::Edit as _;
                tx.intern_actor(&did("a")).map(drop)
            })
            .await
            .unwrap();
        w.event("b", Body::Identity(IdentityState { handle: None, key: None, pds: None })).await;
        let days = newcomers(&w.store.snapshot()).unwrap();
        assert_eq!(days, [Newcomers { day: Day::of(NOW), first: ActorId(1), end: ActorId(3) }]);
    }

    #[tokio::test]
    async fn a_day_that_is_taken_back_begins_again() {
        let w = World::new();
        let index = std::sync::Arc::clone(&w.index);
        let body = || Body::Identity(IdentityState { handle: None, key: None, pds: None });
        let events = [Event::found_here(did("a"), NOW, body())];
        let failed = w.writer.durable(move |tx| {
            index.apply(tx, &events)?;
            Err::<(), _>(crate::store::StoreError::Full("test"))
        });
        assert!(failed.await.is_err());
        w.event("a", body()).await;
        assert_eq!(newcomers(&w.store.snapshot()).unwrap().len(), 1);
    }
}
