//! The single write path: whatever waits becomes one transaction, and each sender is answered after the commit.

use std::collections::VecDeque;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture, SpawnHandle, WrapFuture};
use serde_json::Value;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::domain::audit::Request;
use crate::domain::ledger::{Applied, Outcome, Refusal, Write};
use crate::domain::names::OrderId;
use crate::domain::order::Order;
use crate::domain::parent::{Parent, ParentStatus};
use crate::line::Line;
use crate::portfolio::Heed;
use crate::ports::World;
use crate::ports::store::{Batch, Commit as Results, Ownership, StoreError, Writer};
use crate::risk_desk::Booked;
use crate::tuning::Tuning;
use crate::watch::Sentinel;

use writing::{Written, write};

mod writing;

/// Makes writes durable, together; answers each after the commit.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Results, PersistError>")]
pub(crate) struct Persist {
    /// What to write, in order. They share a transaction, but each is refused or taken on its own.
    pub(crate) writes: Vec<Write>,
    /// Who waits for it, and for what.
    pub(crate) lane: Lane,
}

/// Which writes go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// The switches: in a transaction that needs no account, tried whether the store is up or not.
    Switches,
    /// Claims: orders are late by what they wait for. There is one train of them at a time.
    Claims,
    /// Everything else, in its order.
    Rest,
}

/// Why writes were not made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum PersistError {
    /// The store is down; certainly not written.
    #[error("the store is unavailable")]
    Unavailable,
    /// The writer died over it: it may be written.
    #[error("whether it was written is not known")]
    Unknown,
}

/// From now on this process owns the account, or doesn't own it any more.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Own(pub(crate) Option<Ownership>);

/// What a transaction changed that others wait for.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Committed {
    /// Parents that are no longer simply working, or are so again.
    pub(crate) parents: Vec<(OrderId, ParentStatus)>,
    /// Single orders that changed, and replacements: somebody may wait for their venue.
    pub(crate) singles: Vec<Order>,
    /// What the account's portfolio is watched for, where it is.
    pub(crate) watched: Option<Heed>,
}

/// The store went down, or came back.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum StoreTurned {
    Up,
    Down(String),
    /// Another instance has taken the account that was ours under this term.
    Deposed {
        /// The term.
        term: u64,
    },
}

/// The lines that a writer speaks on.
#[derive(Clone, Default)]
pub(crate) struct WriterLines {
    pub(crate) committed: Line<Committed>,
    pub(crate) booked: Line<Booked>,
    pub(crate) turned: Line<StoreTurned>,
}

struct Waiting {
    writes: Vec<Write>,
    answer: oneshot::Sender<Result<Results, PersistError>>,
}

/// Owns the write path. At most one transaction runs at a time; `is_busy` says that one does.
pub(crate) struct Persistence {
    world: World,
    tuning: Tuning,
    /// `None` where no account is written: the writer of the switches never has one.
    ownership: Option<Ownership>,
    is_rebuilt: bool,
    lines: WriterLines,
    urgent: VecDeque<Waiting>,
    queue: VecDeque<Waiting>,
    is_busy: bool,
    is_down: bool,
    probing: bool,
    /// How many transactions have begun or ended: which one a watchdog is of.
    turns: u64,
    watchdog: Option<SpawnHandle>,
    _sentinel: Sentinel,
}

impl Persistence {
    pub(crate) fn new(
        world: World,
        tuning: Tuning,
        (ownership, is_rebuilt): (Option<Ownership>, bool),
        lines: WriterLines,
        sentinel: Sentinel,
    ) -> Self {
        Self {
            world,
            tuning,
            ownership,
            is_rebuilt,
            lines,
            urgent: VecDeque::new(),
            queue: VecDeque::new(),
            is_busy: false,
            is_down: false,
            probing: false,
            turns: 0,
            watchdog: None,
            _sentinel: sentinel,
        }
    }
}

impl Actor for Persistence {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.tuning.max_commits.max(16));
        if self.is_rebuilt {
            // Whether the store commits is not known before it did.
            self.is_down = true;
            self.probe(ctx);
        }
    }
}

impl Handler<Own> for Persistence {
    type Result = ();

    fn handle(&mut self, Own(ownership): Own, _: &mut Self::Context) {
        if ownership.is_none() {
            // What was not written under the term that is over must not be written under another one.
            self.refuse_all();
        }
        self.ownership = ownership;
    }
}

impl Handler<Persist> for Persistence {
    type Result = ResponseFuture<Result<Results, PersistError>>;

    fn handle(&mut self, persist: Persist, ctx: &mut Self::Context) -> Self::Result {
        let full = self.queue.len() >= self.tuning.max_commits;
        if persist.lane != Lane::Switches && (self.is_down || full || self.ownership.is_none()) {
            return Box::pin(async { Err(PersistError::Unavailable) });
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { writes: persist.writes, answer };
        match persist.lane {
            Lane::Switches => self.urgent.push_back(waiting),
            Lane::Claims => self.queue.push_front(waiting),
            Lane::Rest => self.queue.push_back(waiting),
        }
        if !self.is_busy {
            self.is_busy = true;
            ctx.spawn(gather().into_actor(self).map(|(), act, ctx| act.flush(ctx)));
        }
        Box::pin(async { answered.await.unwrap_or(Err(PersistError::Unknown)) })
    }
}

/// Lets those who are about to send do so: a fuller batch costs one sync as well.
pub(crate) async fn gather() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

impl Persistence {
    /// Starts the next transaction, if anything waits for one.
    fn flush(&mut self, ctx: &mut Context<Self>) {
        let (ownership, waiting) = if self.urgent.is_empty() {
            (self.ownership.clone(), self.take_batch())
        } else {
            (None, self.urgent.drain(..).collect())
        };
        if waiting.is_empty() {
            self.is_busy = false;
            return;
        }
        self.is_busy = true;
        self.watch(ctx);
        let term = ownership.as_ref().map(|ownership| ownership.term);
        let batch = Batch {
            writer: ownership.map_or(Writer::Nobody, Writer::Owner),
            nonce: self.world.entropy.bits(),
            at: self.world.clock.now(),
            day_end: self.tuning.day_end,
            writes: waiting.iter().flat_map(|one| one.writes.iter().cloned()).collect(),
        };
        let (world, began) = (self.world.clone(), self.world.clock.monotonic());
        let size = batch.writes.len();
        let commit = async move { write(&world, batch, waiting).await };
        ctx.spawn(commit.into_actor(self).map(move |written, act, ctx| {
            let took = act.world.clock.monotonic().saturating_sub(began);
            metrics::histogram!("tranche_commit_duration_seconds").record(took);
            metrics::histogram!("tranche_commit_batch_writes").record(u32::try_from(size).unwrap_or(u32::MAX));
            act.done(term, written, ctx);
        }));
    }

    fn take_batch(&mut self) -> Vec<Waiting> {
        let mut size = 0;
        let mut batch = Vec::new();
        while let Some(next) = self.queue.front() {
            size += next.writes.len();
            if size > self.tuning.max_batch && !batch.is_empty() {
                break;
            }
            batch.extend(self.queue.pop_front());
        }
        batch
    }

    /// A commit that hasn't ended in time shuts the gate. A watchdog that is called off may bark all the same, where its time
    /// comes in the instant in which the commit ends: with nothing under way there would be no commit to open the gate again.
    fn watch(&mut self, ctx: &mut Context<Self>) {
        self.call_off_watchdog(ctx);
        let (timeout, turn) = (self.tuning.commit_timeout, self.turns);
        self.watchdog = Some(ctx.run_later(timeout, move |act, ctx| {
            if act.turns == turn {
                act.turn_down(format!("a commit takes longer than {} ms", timeout.as_millis()), ctx);
            }
        }));
    }

    fn call_off_watchdog(&mut self, ctx: &mut Context<Self>) {
        self.turns += 1;
        if let Some(watchdog) = self.watchdog.take() {
            ctx.cancel_future(watchdog);
        }
    }

    /// A transaction has ended that began under this term; under none where it was nobody's.
    fn done(&mut self, term: Option<u64>, written: Written, ctx: &mut Context<Self>) {
        self.call_off_watchdog(ctx);
        self.publish(written.done.iter().map(|(_, results)| results), ctx);
        for (one, results) in written.done {
            answer(one, Ok(results));
        }
        match written.failed {
            None => self.turn_up(ctx),
            Some(error) => {
                let is_unknown = matches!(error, StoreError::OutcomeUnknown { .. });
                for one in written.undone {
                    answer(one, Err(if is_unknown { PersistError::Unknown } else { PersistError::Unavailable }));
                }
                // Another owner is why either is so: the account draws the consequences.
                let deposed = term.filter(|_| is_unknown || matches!(error, StoreError::Deposed));
                match deposed {
                    Some(term) => self.fall(term, ctx),
                    None => {
                        self.refuse_all();
                        self.turn_down(error.to_string(), ctx);
                    }
                }
                // Also for an account that is not ours any more: it may have been too slow before, and be ours again.
                if self.is_down && !std::mem::replace(&mut self.probing, true) {
                    ctx.run_later(self.tuning.probe, |act, ctx| act.probe(ctx));
                }
            }
        }
        self.flush(ctx);
    }

    /// A term of ours is over. Where the account is ours again by now, under another one, what waits is of that.
    fn fall(&mut self, term: u64, ctx: &mut Context<Self>) {
        if self.ownership.as_ref().is_none_or(|ownership| ownership.term == term) {
            self.ownership = None;
            self.refuse_all();
        }
        self.tell(StoreTurned::Deposed { term }, ctx);
    }

    /// Certainly not written, all that waits.
    fn refuse_all(&mut self) {
        for one in self.queue.drain(..) {
            answer(one, Err(PersistError::Unavailable));
        }
    }

    /// While the store is down a commit of nothing is tried every second.
    fn probe(&mut self, ctx: &mut Context<Self>) {
        self.probing = false;
        if !self.is_down || self.is_busy {
            return;
        }
        let (answer, _) = oneshot::channel();
        let urgent = self.ownership.is_none();
        let probe = Waiting { writes: vec![Write::Probe], answer };
        if urgent {
            self.urgent.push_back(probe)
        } else {
            self.queue.push_back(probe)
        }
        self.flush(ctx);
    }

    /// The account that is written, for the log.
    fn owned(&self) -> Option<&str> {
        self.ownership.as_ref().map(|ownership| ownership.account.as_str())
    }

    fn turn_down(&mut self, why: String, ctx: &mut Context<Self>) {
        if !self.is_down {
            tracing::error!(account = self.owned(), reason = %why, "the store is down");
        }
        self.is_down = true;
        self.tell(StoreTurned::Down(why), ctx);
    }

    fn turn_up(&mut self, ctx: &mut Context<Self>) {
        if std::mem::take(&mut self.is_down) {
            tracing::info!(account = self.owned(), "the store is up again");
            self.tell(StoreTurned::Up, ctx);
        }
    }

    fn tell(&self, turned: StoreTurned, ctx: &mut Context<Self>) {
        let line = self.lines.turned.clone();
        // Without a supervisor the process is about to end, and there is nobody to tell.
        ctx.spawn(async move { line.ask(turned).await }.into_actor(self).map(|_, _, _| ()));
    }

    fn publish<'a>(&self, results: impl Iterator<Item = &'a Results>, ctx: &mut Context<Self>) {
        let mut committed = Committed { parents: Vec::new(), singles: Vec::new(), watched: None };
        let mut booked = Booked::default();
        for applied in results.flatten().flatten() {
            booked.add(applied);
            let is_news =
                |parent: &&Parent| parent.status != ParentStatus::Working || applied.outcome == Outcome::Resumed;
            let news = applied.parents.iter().filter(is_news);
            committed.parents.extend(news.map(|parent| (parent.id.clone(), parent.status)));
            let awaited = |order: &&Order| order.slice.is_none() || order.replaces.is_some();
            committed.singles.extend(applied.orders.iter().filter(awaited).cloned());
            if self.tuning.guards.is_on() {
                committed.watched.get_or_insert_default().add(applied);
            }
        }
        if !booked.is_empty() {
            let line = self.lines.booked.clone();
            // Without a desk nothing leaves, and the next one is loaded from the store.
            ctx.spawn(async move { line.ask(booked).await }.into_actor(self).map(|_, _, _| ()));
        }
        committed.watched = committed.watched.filter(|heed| !heed.is_empty());
        if committed.parents.is_empty() && committed.singles.is_empty() && committed.watched.is_none() {
            return;
        }
        let line = self.lines.committed.clone();
        // As above: nobody to tell means that the process is about to end.
        ctx.spawn(async move { line.ask(committed).await }.into_actor(self).map(|_, _, _| ()));
    }
}

fn answer(waiting: Waiting, result: Result<Results, PersistError>) {
    if waiting.answer.send(result).is_err() {
        tracing::debug!("a commit was answered after its sender had gone");
    }
}

/// Enters what a person asked for in the audit, where its effect was written by somebody else. It is tried once: the
/// switch's own history has it in any case.
pub(crate) async fn audit(line: &Line<Persist>, request: &Request, after: Option<Value>) {
    let Some(entry) = request.entry(None, after) else { return };
    let entry = Write::Audit(Box::new(entry));
    match line.ask(Persist { writes: vec![entry], lane: Lane::Switches }).await {
        Ok(Ok(results)) if results.iter().all(Result::is_ok) => {}
        Ok(_) | Err(_) => {
            tracing::error!(action = ?request.action, by = %request.by.caller, "the audit lacks an entry")
        }
    }
}

/// Writes one thing and says what came of it.
///
/// # Errors
/// When it is not certain that it was written, or certain that it wasn't.
pub(crate) async fn persist(line: &Line<Persist>, write: Write) -> Result<Result<Applied, Refusal>, PersistError> {
    let asked = line.ask(Persist { writes: vec![write], lane: Lane::Rest }).await;
    let mut results = asked.map_err(|_| PersistError::Unknown)??;
    results.pop().ok_or(PersistError::Unknown)
}

/// Writes things that are true whether the store is up or not, as often as it takes.
pub(crate) async fn persist_surely(line: &Line<Persist>, writes: Vec<Write>) -> Results {
    loop {
        match line.ask(Persist { writes: writes.clone(), lane: Lane::Rest }).await {
            Ok(Ok(results)) => return results,
            Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}
