//! Thousands of futures of one actor. Its own context polls all that it has spawned whenever one of them wakes, so that many
//! cost the square of their number; these are polled one by one, as they wake.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use actix::Actor;
use actix::fut::ActorFuture;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

/// What is done in the actor once a future has ended.
type Then<A> = Box<dyn FnOnce(&mut A, &mut <A as Actor>::Context)>;

/// The futures of an actor that are many. They go with it, as those in its context do.
pub(crate) struct Crowd<A: Actor> {
    members: FuturesUnordered<LocalBoxFuture<'static, Then<A>>>,
    waker: Option<Waker>,
}

/// An actor with a crowd; its context has to spawn [`Attend`] at the actor's start.
pub(crate) trait Crowded: Actor {
    fn crowd(&mut self) -> &mut Crowd<Self>;
}

impl<A: Actor> Crowd<A> {
    pub(crate) fn new() -> Self {
        Self { members: FuturesUnordered::new(), waker: None }
    }

    /// Runs a future beside the others, and then what the actor makes of it.
    pub(crate) fn join<T: 'static>(
        &mut self,
        work: impl Future<Output = T> + 'static,
        then: impl FnOnce(T, &mut A, &mut A::Context) + 'static,
    ) {
        self.members.push(Box::pin(async move {
            let done = work.await;
            let then: Then<A> = Box::new(move |act, ctx| then(done, act, ctx));
            then
        }));
        // Nobody else tells the context that there is something new to poll.
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Polls the crowd for as long as the actor lives.
pub(crate) struct Attend;

impl<A: Crowded> ActorFuture<A> for Attend {
    type Output = ();

    fn poll(self: Pin<&mut Self>, act: &mut A, ctx: &mut A::Context, task: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(Some(then)) = act.crowd().members.poll_next_unpin(task) {
            then(act, ctx);
        }
        act.crowd().waker = Some(task.waker().clone());
        Poll::Pending
    }
}
