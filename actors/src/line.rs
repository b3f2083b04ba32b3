//! Lines between actors that outlive the actors at their ends.

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};
use thiserror::Error;

use crate::sync::{Arc, Mutex, lock};

/// A way to whichever actor takes `M` now. The supervisor connects it anew when that actor is rebuilt.
#[derive(Debug)]
pub(crate) struct Line<M>(Arc<Mutex<Option<Recipient<M>>>>)
where
    M: Message + Send,
    M::Result: Send;

/// Nobody answered: the actor is down, or died over this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("nobody answers")]
pub(crate) struct Unanswered;

impl<M> Clone for Line<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Default for Line<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn default() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }
}

impl<M> Line<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// Sends a message and waits for its answer.
    ///
    /// # Errors
    /// When nobody is there to answer, or whoever was died over it.
    pub(crate) async fn ask(&self, message: M) -> Result<M::Result, Unanswered> {
        let recipient = lock(&self.0).clone().ok_or(Unanswered)?;
        recipient.send(message).await.map_err(|_| Unanswered)
    }

    /// Connects the line to an actor.
    pub(crate) fn connect<A>(&self, addr: &Addr<A>)
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        *lock(&self.0) = Some(addr.clone().recipient());
    }

    /// Leaves the line without anybody at its end.
    pub(crate) fn disconnect(&self) {
        *lock(&self.0) = None;
    }
}
