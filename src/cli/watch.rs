//! Follows a parent until it has ended: a bar on a terminal, plain lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, sleep};

use super::CliError;
use super::client::{Client, ClientError};
use super::output::{Out, in_full, remark};
use super::progress::{self, Told};
use super::report;
use super::views::{Order, Parent};

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 400 });
/// The same for a parent of more slices than [`MANY`], whose list is long.
const SLOW_PERIOD: Duration = Duration::from_secs(5);
const MANY: u64 = 500;
/// How long a server may be away before the watch gives up: a restart is shorter.
const PATIENCE: Duration = Duration::from_secs(60);
/// Cells of the bar.
const WIDTH: usize = 40;

/// Shows a parent's progress until it has ended, and returns it as it ended.
pub(super) async fn follow(client: &Client, parent: &str, out: &mut Out) -> Result<Parent, CliError> {
    let mut screen = Screen::new(out);
    let mut told = Told::default();
    let mut away_since = None;
    loop {
        match look(client, parent).await {
            Ok((parent, slices, now)) => {
                away_since = None;
                for line in told.news(&slices) {
                    screen.line(&line)?;
                }
                let scheduled = now.map(|now| progress::scheduled(&slices, now));
                screen.show(&parent, scheduled);
                if parent.is_terminal() {
                    screen.end();
                    return Ok(parent);
                }
                sleep(if parent.total_slices > MANY { SLOW_PERIOD } else { PERIOD }).await;
            }
            Err(error) if error.is_passing() => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(error.into());
                }
                screen.away(&error);
                sleep(PERIOD).await;
            }
            Err(error) => return Err(no_parent(client, parent, error).await),
        }
    }
}

/// Why there is nothing to follow, with the right command where the id names an order.
async fn no_parent(client: &Client, id: &str, error: ClientError) -> CliError {
    if error.is_not_found() && client.get::<Order>(&format!("/orders/{id}")).await.is_ok() {
        return CliError::Usage(format!(
            "{id} is a single order or a slice, and only a parent is watched: `tranche order show {id}` shows it"
        ));
    }
    error.into()
}

/// `order watch`: follows a parent, and tells at the end what it cost.
pub(super) async fn watch(client: &Client, parent: &str, out: &mut Out) -> Result<(), CliError> {
    let ended = follow(client, parent, out).await?;
    out.line(&format!("{} is {}", ended.parent_order_id, ended.status))?;
    for line in report::lines(&ended) {
        out.line(&line)?;
    }
    Ok(())
}

type Look = (Parent, Vec<Order>, Option<chrono::DateTime<chrono::Utc>>);

/// The slices are asked for before the parent, so that its end is not seen before theirs.
async fn look(client: &Client, parent: &str) -> Result<Look, ClientError> {
    let slices = client.get::<Vec<Order>>(&format!("/orders/{parent}/slices")).await?;
    let found = client.get::<Parent>(&format!("/orders/{parent}")).await?;
    if !found.body.is_terminal() {
        return Ok((found.body, slices.body, found.at));
    }
    let last = client.get::<Vec<Order>>(&format!("/orders/{parent}/slices")).await?;
    Ok((found.body, last.body, found.at))
}

/// Lines, and on a terminal a bar below them.
struct Screen<'a> {
    out: &'a mut Out,
    bar: Option<ProgressBar>,
    told: String,
}

impl<'a> Screen<'a> {
    fn new(out: &'a mut Out) -> Self {
        let bar = out.is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
            bar.with_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self { out, bar, told: String::new() }
    }

    fn line(&mut self, text: &str) -> Result<(), CliError> {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => self.out.line(text)?,
        }
        Ok(())
    }

    fn show(&mut self, parent: &Parent, scheduled: Option<rust_decimal::Decimal>) {
        if let Some(bar) = &self.bar {
            let cells = progress::bar(parent, scheduled, WIDTH);
            bar.set_message(format!("[{cells}] {}: {}", parent.status, progress::summary(parent)));
        }
        self.told.clear();
    }

    /// Tells once that the server is away; a bar that stands still would hide it.
    fn away(&mut self, error: &ClientError) {
        let text = error.to_string();
        if text == self.told {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(format!("trying again: {text}")),
            None => remark(&format!("trying again: {}", in_full(error))),
        }
        self.told = text;
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.abandon();
        }
    }
}
