//! `tranche venue`: the matching engine as a process of its own, behind the API of a real broker, with all that goes wrong at
//! one on request. It stands in for that broker where there is no account, and where what is to be tried would cost money.
//!
//! Its words are its own: nothing here is shared with the connector that speaks to it, so that no mistake is made twice.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, guard, web};
use chrono::{DateTime, Utc};
use thiserror::Error as ThisError;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tranche_actors::market::engine::{Partial, Rules};
use tranche_actors::market::faults::PerMille;
use tranche_actors::market::quotes::Quotes;
use tranche_actors::market::walk::Walk;

use account::{Account, Kept};
use clock::ScaledClock;
use desk::Desk;
use faults::Mischief;
use hub::Hub;
use journal::{Entry, Journal, JournalError, Line};
use options::Options;
use rates::Rates;
use shop::{Key, Shop};

mod account;
mod admin;
mod around;
mod clock;
mod desk;
mod draft;
pub mod faults;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
pub mod hours;
mod hub;
pub mod journal;
mod market_data;
pub mod options;
mod orders;
mod rates;
mod reads;
mod refusal;
mod shape;
mod shop;
mod stream;

/// Shortest time between two moves of the market, so that some is left for whoever asks.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// Largest body of a request.
const MAX_BODY: usize = 64 * 1024;

/// Why the venue does not run.
#[derive(Debug, ThisError)]
pub enum VenueError {
    /// The address can't be listened on.
    #[error("{address} can't be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// The journal can't be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal says what can't be.
    #[error("the journal can't be right: {0}")]
    Contradiction(String),
    /// An option makes no sense.
    #[error("{0}")]
    Option(String),
    /// The server ended badly, or a signal can't be listened for.
    #[error("the venue failed")]
    Server(#[source] io::Error),
    /// It could not go on.
    #[error("the venue could not go on: {0}")]
    Broken(String),
}

/// Runs the venue until it is told to stop. `on_listening` gets the address as soon as there is one.
///
/// # Errors
/// Why it did not start, or did not end well.
pub async fn run(options: Options, on_listening: impl FnOnce(SocketAddr)) -> Result<(), VenueError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(VenueError::Server)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(VenueError::Server)?;
    let listen = |source| VenueError::Listen { address: options.bind, source };
    let listener = TcpListener::bind(options.bind).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let shop = web::Data::new(open(&options)?);
    let mut broken = shop.broken.subscribe();
    let server = serve(listener, shop.clone()).map_err(VenueError::Server)?;
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);
    let market = actix_web::rt::spawn({
        let (shop, interval) = (shop.clone(), options.quote_interval);
        async move {
            loop {
                // However fast the clock is: what it passes over is caught up with.
                tokio::time::sleep(shop.clock.real(interval).max(SHORTEST_PAUSE)).await;
                shop.tick();
            }
        }
    });
    on_listening(address);
    let why = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        broken = broken.wait_for(Option::is_some) => broken.ok().and_then(|why| why.clone()),
    };
    market.abort();
    // What was promised is on disk: nobody needs to be waited for.
    handle.stop(false).await;
    serving.await.map_err(|error| VenueError::Server(error.into()))?.map_err(VenueError::Server)?;
    why.map_or(Ok(()), |why| Err(VenueError::Broken(why)))
}

fn serve(listener: TcpListener, shop: web::Data<Shop>) -> io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shop.clone())
            .app_data(web::PayloadConfig::new(MAX_BODY))
            .service(web::scope("/admin").guard(guard::fn_guard(admin::is_near)).configure(admin_routes))
            .route("/stream", web::get().to(stream::stream))
            .service(web::scope("/v2").wrap(from_fn(around::around)).configure(routes))
            .default_service(web::to(market_data::nothing))
    });
    Ok(server.workers(1).on_connect(around::on_connect).disable_signals().listen(listener)?.run())
}

fn admin_routes(config: &mut web::ServiceConfig) {
    config
        .route("/faults", web::get().to(admin::faults))
        .route("/faults", web::put().to(admin::set_faults))
        .route("/clock", web::get().to(admin::clock))
        .route("/clock", web::put().to(admin::set_clock))
        .route("/rate", web::put().to(admin::set_rate))
        .route("/stream/cut", web::post().to(admin::cut_streams))
        .route("/orders/{id}/fill", web::post().to(admin::fill));
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/orders", web::post().to(orders::submit))
        .route("/orders", web::get().to(orders::list))
        .route("/orders", web::delete().to(orders::cancel_all))
        .route("/orders:by_client_order_id", web::get().to(orders::by_client_order_id))
        .route("/orders/{id}", web::get().to(orders::get))
        .route("/orders/{id}", web::patch().to(orders::replace))
        .route("/orders/{id}", web::delete().to(orders::cancel))
        .route("/positions", web::get().to(reads::positions))
        .route("/positions", web::delete().to(reads::close_all))
        .route("/positions/{symbol}", web::get().to(reads::position))
        .route("/positions/{symbol}", web::delete().to(reads::close))
        .route("/account", web::get().to(reads::account))
        .route("/account/configurations", web::get().to(reads::configurations))
        .route("/account/activities/FILL", web::get().to(reads::fills))
        .route("/clock", web::get().to(reads::clock))
        .route("/calendar", web::get().to(reads::calendar))
        .route("/assets", web::get().to(reads::assets))
        .route("/assets/{symbol:.*}", web::get().to(reads::asset))
        .route("/stocks/quotes/latest", web::get().to(market_data::latest_quotes))
        .route("/stocks/trades/latest", web::get().to(market_data::latest_trades))
        .route("/stocks/bars", web::get().to(market_data::bars_of_many))
        .route("/stocks/{symbol}/quotes/latest", web::get().to(market_data::latest_quote))
        .route("/stocks/{symbol}/trades/latest", web::get().to(market_data::latest_trade))
        .route("/stocks/{symbol}/bars", web::get().to(market_data::bars_of_one))
        .default_service(web::to(market_data::nothing));
}

/// The venue as its journal has it.
fn open(options: &Options) -> Result<Shop, VenueError> {
    options.faults.check().map_err(VenueError::Option)?;
    if options.keys.is_empty() {
        return Err(VenueError::Option("a key is needed".to_owned()));
    }
    let (mut journal, lines) = Journal::open(&options.folder.join(journal::FILE))?;
    let clock = ScaledClock::new(options.time_scale, lines.last().map(|line| line.at));
    let written = lines.last().map_or(0, |line| line.n);
    // The seed of the first start holds: ids and quotes have to stay what they were.
    let seed = first_seed(&lines).unwrap_or(options.seed);
    let mut kept = kept(lines);
    let mut entries = vec![Entry::Started { seed, time_scale: clock.scale() }];
    let mut keys = BTreeMap::new();
    for key in &options.keys {
        keys.insert(key.id.clone(), Key { secret: key.secret.clone(), account: key.account.clone() });
        if !kept.contains_key(&key.account) {
            kept.insert(key.account.clone(), Kept::opened(options.cash));
            entries.push(Entry::Account { account: key.account.clone(), cash: options.cash });
        }
    }
    journal.write(clock.now(), entries)?;
    let accounts = accounts(options, seed, kept)?;
    let mischief = Mischief::new(options.faults.clone(), seed, written);
    Ok(Shop {
        desk: Desk::new(accounts, mischief, options.hours, journal).into(),
        hub: Hub::new(written.saturating_mul(1_000)).into(),
        rates: Rates::new(options.rate_limit, options.rate_window).into(),
        clock,
        keys,
        latency: options.latency,
        text_frames: options.text_frames,
        broken: watch::Sender::new(None),
    })
}

fn first_seed(lines: &[Line]) -> Option<u64> {
    lines.iter().find_map(|line| match &line.entry {
        Entry::Started { seed, .. } => Some(*seed),
        Entry::Account { .. } | Entry::Request(_) | Entry::Order(_) => None,
    })
}

fn kept(lines: Vec<Line>) -> BTreeMap<String, Kept> {
    let mut kept = BTreeMap::<String, Kept>::new();
    for line in lines {
        match line.entry {
            Entry::Account { account, cash } => drop(kept.insert(account, Kept::opened(cash))),
            Entry::Order(order) => kept.entry(order.account.clone()).or_default().take(*order),
            Entry::Started { .. } | Entry::Request(_) => {}
        }
    }
    kept
}

fn accounts(
    options: &Options,
    seed: u64,
    kept: BTreeMap<String, Kept>,
) -> Result<BTreeMap<String, Account>, VenueError> {
    let probability = PerMille::try_from(options.partial_per_mille);
    let probability = probability.map_err(|error| VenueError::Option(format!("partial fills {error}")))?;
    let step_ms = u64::try_from(options.quote_interval.as_millis()).unwrap_or(u64::MAX);
    let quotes = Quotes::new(Walk::new(seed, step_ms), BTreeMap::new());
    let rules = Rules { partial: Some(Partial { probability, seed }), ..Rules::default() };
    let restored = kept.into_iter().map(|(name, kept)| {
        let account = Account::restore(&name, seed, rules.clone(), quotes.clone(), kept);
        Ok((name, account.map_err(VenueError::Contradiction)?))
    });
    restored.collect()
}

/// An error with everything that caused it.
fn full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A time as the journal's reader shows it.
#[must_use]
pub fn shown(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}
