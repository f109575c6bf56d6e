//! The supervisor with parts that do what a test says.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::super::part::PartError;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

static NEEDED: Rule = Rule {
    name: "needed",
    at_end: AtEnd::Fatal,
    without: Without::NotReady,
    patience: SECOND,
    stops: Stops::First,
};
static AGAIN: Rule = Rule {
    name: "again",
    at_end: AtEnd::Restart,
    without: Without::NotReady,
    patience: SECOND,
    stops: Stops::First,
};
static LAST: Rule = Rule {
    name: "last",
    at_end: AtEnd::Fatal,
    without: Without::Ready,
    patience: SECOND,
    stops: Stops::Last,
};

type Work =
    dyn Fn(usize, CancellationToken) -> BoxFuture<'static, Result<(), PartError>> + Send + Sync;

struct Played {
    rule: &'static Rule,
    runs: AtomicUsize,
    work: Box<Work>,
}

impl Part for Played {
    fn rule(&self) -> &'static Rule {
        self.rule
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), PartError>> {
        (self.work)(self.runs.fetch_add(1, Ordering::SeqCst), stop)
    }
}

fn part(
    rule: &'static Rule,
    work: impl Fn(usize, CancellationToken) -> BoxFuture<'static, Result<(), PartError>>
    + Send
    + Sync
    + 'static,
) -> Arc<dyn Part> {
    Arc::new(Played { rule, runs: AtomicUsize::new(0), work: Box::new(work) })
}

async fn wait(stop: CancellationToken) -> Result<(), PartError> {
    stop.cancelled().await;
    Ok(())
}

fn start(parts: Vec<Arc<dyn Part>>) -> (Parts, Supervisor) {
    let parts = Parts::new(parts);
    let supervisor = Supervisor::start(&parts, CancellationToken::new());
    (parts, supervisor)
}

#[tokio::test]
async fn the_end_of_a_part_that_is_needed_is_told_with_its_name() {
    let ends: [fn() -> Result<(), PartError>; 3] =
        [|| Ok(()), || Err(PartError::new("no more room")), || panic!("out of order")];
    let words = ["it ended by itself", "no more room", "panic: out of order"];
    for (end, why) in ends.into_iter().zip(words) {
        let (parts, mut supervisor) =
            start(vec![part(&NEEDED, move |_, _| async move { end() }.boxed())]);
        let ended = supervisor.ended().await;
        assert_eq!(ended, PartEnded { name: "needed", why: why.to_owned() });
        assert_eq!(parts.ready(), Err(format!("needed is ended: {why}")));
        assert_eq!(supervisor.stop().await, Ok(()));
    }
}

#[tokio::test]
async fn a_part_that_may_restart_does_and_says_so() {
    let flaky = part(&AGAIN, |run, stop| {
        async move {
            assert!(run > 1, "not yet: {run}");
            wait(stop).await
        }
        .boxed()
    });
    let (parts, mut supervisor) = start(vec![flaky]);
    // Half a second after the first, a second after the other; that it ended is nothing that the process ends with.
    let mut unready = Vec::new();
    let watch = async {
        while parts.status().remove(0).restarts < 2 {
            if let Err(why) = parts.ready()
                && unready.last() != Some(&why)
            {
                unready.push(why);
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = supervisor.ended() => panic!("{ended}"),
        () = sleep(SECOND * 30) => panic!("it did not restart"),
        () = watch => {}
    }
    let expected = [0, 1].map(|run| format!("again is restarting: panic: not yet: {run}"));
    assert_eq!(unready, expected);
    let status = parts.status().remove(0);
    assert_eq!((status.state, status.restarts), (PartState::Running, 2));
    assert_eq!(status.last_error.as_deref(), Some("panic: not yet: 1"));
    assert_eq!(parts.ready(), Ok(()));
    assert_eq!(supervisor.stop().await, Ok(()));
}

#[tokio::test]
async fn the_last_part_stops_after_those_that_are_late_and_its_error_counts() {
    let order = Arc::<Mutex<Vec<&str>>>::default();
    let (first, last) = (Arc::clone(&order), Arc::clone(&order));
    let slow = part(&NEEDED, move |_, stop| {
        let order = Arc::clone(&first);
        async move {
            stop.cancelled().await;
            sleep(SECOND / 2).await;
            order.lock().push("slow");
            Ok(())
        }
        .boxed()
    });
    let hangs = part(&AGAIN, |_, _| std::future::pending().boxed());
    let writer = part(&LAST, move |_, stop| {
        let order = Arc::clone(&last);
        async move {
            stop.cancelled().await;
            order.lock().push("last");
            Err(PartError::new("a row was not written"))
        }
        .boxed()
    });
    let (_, supervisor) = start(vec![writer, slow, hangs]);
    let begun = Instant::now();
    let ended = supervisor.stop().await.unwrap_err();
    assert_eq!(ended, PartEnded { name: "last", why: "a row was not written".to_owned() });
    assert_eq!(*order.lock(), ["slow", "last"]);
    assert!(begun.elapsed() < FIRST_LIMIT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_part_that_ends_again_and_again_makes_the_server_not_ready_whatever_it_is_for() {
    static ASIDE: Rule = Rule {
        name: "aside",
        at_end: AtEnd::Restart,
        without: Without::Ready,
        patience: SECOND,
        stops: Stops::First,
    };
    let (parts, supervisor) = start(vec![part(&ASIDE, |_, stop| Box::pin(wait(stop)))]);
    let life = |ends, state, ago: Duration| {
        let began = Instant::now().checked_sub(ago).unwrap();
        *parts.0[0].life.lock() =
            Life { state, restarts: 9, error: Some("no".to_owned()), ends, began };
        parts.ready()
    };
    let why = Err("aside ends again and again: no".to_owned());
    assert_eq!(life(2, PartState::Restarting, SECOND), Ok(()));
    assert_eq!(life(3, PartState::Restarting, WELL_AFTER), why);
    assert_eq!(life(3, PartState::Running, SECOND), why);
    assert_eq!(life(3, PartState::Running, WELL_AFTER), Ok(()));
    supervisor.stop().await.unwrap();
}
