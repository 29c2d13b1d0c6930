//! One question for everybody who asks it at the same time.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use crate::telemetry::traces::{self, Link};

/// Questions at once that go on without those who asked. Who asks and hangs up, again and again, holds no more tasks and
/// connections than these.
const MOST: usize = 1024;

type Answer<V> = Shared<BoxFuture<'static, Option<V>>>;

/// With the step of the request that asked first, if that is traced.
type Running<K, V> = Arc<Mutex<HashMap<K, (Answer<V>, Option<Link>)>>>;

/// Questions that are being asked. They go on when those who asked have left.
#[derive(Debug)]
pub(super) struct Joint<K: Eq + Hash, V: Clone> {
    running: Running<K, V>,
}

/// How an answer was come by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Came {
    First,
    Joined,
}

impl<K, V> Joint<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub fn new() -> Self {
        Self {
            running: Arc::default(),
        }
    }

    /// The answer to `key`'s question: of the one that runs already, or of `ask`. `None` if the task that asked it was
    /// lost (a panic, or the end of the process).
    pub async fn ask<F>(&self, key: K, ask: impl FnOnce() -> F) -> (Option<V>, Came)
    where
        F: Future<Output = V> + Send + 'static,
    {
        match self.begin(key, ask) {
            Begun::First(answer) => (answer.await, Came::First),
            Begun::Joined(answer, first) => {
                let _step = traces::joining(first);
                (answer.await, Came::Joined)
            }
            Begun::Own(question) => (Some(question.await), Came::First),
        }
    }

    fn begin<F>(&self, key: K, ask: impl FnOnce() -> F) -> Begun<V, F>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut running = locked(&self.running);
        if let Some((answer, first)) = running.get(&key) {
            return Begun::Joined(answer.clone(), *first);
        }
        if running.len() >= MOST {
            return Begun::Own(ask());
        }
        let done = Done {
            running: Arc::clone(&self.running),
            key: key.clone(),
        };
        let question = ask();
        let task = tokio::spawn(traces::carried(async move {
            let answer = question.await;
            drop(done);
            answer
        }));
        let answer = task.map(Result::ok).boxed().shared();
        running.insert(key, (answer.clone(), traces::here()));
        Begun::First(answer)
    }
}

/// How a question is asked.
enum Begun<V, F> {
    First(Answer<V>),
    Joined(Answer<V>, Option<Link>),
    /// There are too many: it goes with who asks it.
    Own(F),
}

/// Takes the question off the table, however it ended.
struct Done<K: Eq + Hash, V: Clone> {
    running: Running<K, V>,
    key: K,
}

impl<K: Eq + Hash, V: Clone> Drop for Done<K, V> {
    fn drop(&mut self) {
        locked(&self.running).remove(&self.key);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;
    use crate::telemetry::traces::{Span, Traces};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn those_who_ask_together_cause_one_question() {
        // A hundred machines that start one image at once must cost one request (R3).
        let joint = Arc::new(Joint::<&str, usize>::new());
        let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let mut askers = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (joint, asked, gate) = (joint.clone(), asked.clone(), gate.clone());
            askers.spawn(async move {
                let question = || async move {
                    let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                    let _open = gate.acquire().await;
                    number
                };
                joint.ask("tag", question).await
            });
        }
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        let answers = askers.join_all().await;
        assert!(answers.iter().all(|(answer, _)| *answer == Some(1)));
        assert_eq!(answers.iter().filter(|(_, came)| *came == Came::First).count(), 1);
        let (next, came) = joint.ask("tag", || async { 2 }).await;
        assert_eq!((next, came), (Some(2), Came::First), "an answer is not kept");
    }

    #[tokio::test]
    async fn whoever_joins_is_linked_with_who_asks() {
        // A slow pull that waited for another one's question to the registry: its trace says where to look on.
        let (traces, mut sent) = Traces::of(1_000_000, Metrics::default());
        let request = || traces.begin(&http::HeaderMap::new(), || false);
        let (joint, gate) = (Joint::<u8, u8>::new(), Semaphore::new(0));
        let gate = Arc::new(gate);
        let (first, second, stranger) = (request(), request(), Span::none());
        let question = || {
            let gate = gate.clone();
            async move {
                let _open = gate.acquire().await;
                7
            }
        };
        let asked = (
            first.within(joint.ask(1, question)),
            second.within(joint.ask(1, question)),
            stranger.within(joint.ask(1, question)),
            async { gate.add_permits(1) },
        );
        let (one, two, three, ()) = futures_util::join!(asked.0, asked.1, asked.2, asked.3);
        assert_eq!(one, (Some(7), Came::First));
        assert_eq!([two, three], [(Some(7), Came::Joined); 2]);
        let join = sent.recv().await.unwrap();
        assert_eq!((join.name.as_ref(), Some(join.trace)), ("join", second.trace()));
        assert_eq!(join.links, Vec::from_iter(first.link()));
        assert_eq!(join.links.len(), 1);
        assert!(sent.is_empty(), "the stranger is not traced");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_and_leave_hold_no_more_than_so_many_questions() {
        // An operator: a client that asks for endless tags of a slow registry and hangs up each time must not fill the
        // process with tasks and sockets. Who comes when there are too many still gets his answer.
        let joint = Arc::new(Joint::<usize, usize>::new());
        let begun = Arc::new(AtomicUsize::new(0));
        for key in 0..2 * MOST {
            let begun = begun.clone();
            let asked = joint.ask(key, || async move {
                let _going_on = Counted::new(begun);
                std::future::pending().await
            });
            assert!(
                tokio::time::timeout(std::time::Duration::from_millis(1), asked)
                    .await
                    .is_err()
            );
        }
        assert_eq!(
            begun.load(Ordering::SeqCst),
            MOST,
            "the others went with their askers"
        );
        assert_eq!(
            joint.ask(usize::MAX, || async { 7 }).await,
            (Some(7), Came::First)
        );
    }

    struct Counted(Arc<AtomicUsize>);

    impl Counted {
        fn new(count: Arc<AtomicUsize>) -> Self {
            count.fetch_add(1, Ordering::SeqCst);
            Self(count)
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn a_question_outlives_its_asker_and_a_panic_is_no_answer() {
        // A client that hangs up must not take the answer away from the others; a fault must not block the key for ever.
        let joint = Arc::new(Joint::<u8, u8>::new());
        let gate = Arc::new(Semaphore::new(0));
        let first = {
            let (joint, gate) = (joint.clone(), gate.clone());
            tokio::spawn(async move {
                joint
                    .ask(1, || async move {
                        let _open = gate.acquire().await;
                        7
                    })
                    .await
            })
        };
        while joint.running.lock().expect("no panic").is_empty() {
            tokio::task::yield_now().await;
        }
        first.abort();
        let second = joint.ask(1, || async { 0 });
        gate.add_permits(1);
        assert_eq!(second.await, (Some(7), Came::Joined));
        assert_eq!(joint.ask(2, || async { panic!("on purpose") }).await.0, None);
        assert_eq!(joint.ask(2, || async { 3 }).await.0, Some(3));
    }
}
