//! Metrics of the process: their recorder, and what the server counts itself.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

const REQUESTS: &str = "tranche_http_requests_total";
const DURATION: &str = "tranche_http_request_duration_seconds";

/// Upper bounds of histograms, in seconds.
const BUCKETS: &[f64] = &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How often measurements are folded into their histograms, so that they don't pile up when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
static TURN: Mutex<()> = Mutex::new(());

/// Installs the recorder of this process and says what renders it; later calls give the first one's handle.
///
/// Histograms whose names end in `_seconds` have the bounds of durations.
///
/// # Errors
/// When another recorder was installed before.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    // One after the other: of two that install at once the slower would find a recorder and no handle.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let built = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS)?
        .install_recorder();
    match built {
        Ok(handle) => {
            metrics::describe_counter!(REQUESTS, "Requests answered, by route and status");
            metrics::describe_histogram!(DURATION, metrics::Unit::Seconds, "Time from a request's head to its answer");
            metrics::describe_gauge!("tranche_build_info", "The version that runs; always 1");
            gauge!("tranche_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
            Ok(HANDLE.get_or_init(|| handle).clone())
        }
        Err(error) => Err(error),
    }
}

/// Folds measurements for as long as the process lives.
pub(super) async fn keep_up(handle: PrometheusHandle) {
    loop {
        actix_web::rt::time::sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}

/// A request that is being answered.
pub(super) struct Watch {
    method: &'static str,
    started: Duration,
}

impl Watch {
    /// Begins at an instant of the monotonic clock.
    pub(super) fn start(method: &Method, now: Duration) -> Self {
        Self { method: known(method), started: now }
    }

    /// Counts the answer. A path that is no route of ours counts as `unmatched`, so that labels stay few.
    pub(super) fn end(self, route: Option<&str>, status: StatusCode, now: Duration) {
        let labels = [
            ("method", self.method.to_owned()),
            ("route", route.unwrap_or("unmatched").to_owned()),
            ("status", status.as_u16().to_string()),
        ];
        histogram!(DURATION, &labels).record(now.saturating_sub(self.started).as_secs_f64());
        counter!(REQUESTS, &labels).increment(1);
    }
}

fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
