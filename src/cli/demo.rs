//! `tranche demo`: a stranger's first minute. The server with a sample parent at work on the paper broker, watched live.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::launch::{self, LaunchError};
use super::output::{Out, cell, complain};
use super::serve::SettingsArgs;
use super::views::{Parent, Plan, number};
use super::{CliError, report, watch};
use crate::settings::Settings;
use crate::telemetry;

/// Folders that the demo may use: another while a demo before is still up.
const FOLDERS: u32 = 9;
/// Ports that it tries beyond the configured one.
const PORTS: u16 = 100;
/// Longest wait for the server to be ready, and then for trading to be allowed.
const READY_WAIT: Duration = Duration::from_secs(20);
const ALLOWED_WAIT: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the server calls with its address.
pub(super) type OnReady = Box<dyn FnOnce(SocketAddr)>;

/// Runs the demo until it is told to stop.
pub(super) fn demo(args: &SettingsArgs, out: &mut Out) -> Result<(), CliError> {
    telemetry::init(crate::settings::LogFormat::Auto, "warn");
    let mut told = None;
    for number in 1..FOLDERS {
        match in_folder(&folder(number), args, &mut told, out) {
            Err(CliError::Launch(LaunchError::FolderInUse { folder, detail })) => {
                out.line(&format!("{} is in use ({detail}): trying the next", folder.display()))?;
            }
            ended => return ended,
        }
    }
    in_folder(&folder(FOLDERS), args, &mut told, out)
}

fn folder(number: u32) -> String {
    if number == 1 { "data/demo".to_owned() } else { format!("data/demo-{number}") }
}

/// Runs the demo in a folder. `told` is the address whose choice was told already.
fn in_folder(folder: &str, args: &SettingsArgs, told: &mut Option<SocketAddr>, out: &mut Out) -> Result<(), CliError> {
    let mut inputs = args.inputs();
    let own = [
        ("storage.url", format!("sqlite://{folder}")),
        ("storage.migrate_on_start", "true".to_owned()),
        ("broker.kind", "paper".to_owned()),
        ("broker.paper.book", String::new()),
    ];
    inputs.flags.extend(own.map(|(key, value)| (key.to_owned(), value)));
    let mut settings = Settings::load(&inputs)?;
    let asked = settings.http.bind;
    settings.http.bind = free_address(asked)?;
    if settings.http.bind != asked && told.replace(settings.http.bind) != Some(settings.http.bind) {
        out.line(&format!("{asked} is taken, so this demo listens on {}.", settings.http.bind))?;
    }
    launch::on_a_system(stage(settings, launch::run, out))
}

/// The address asked for, or the same with the next port that is free.
fn free_address(asked: SocketAddr) -> Result<SocketAddr, CliError> {
    for step in 0..=PORTS {
        let Some(port) = asked.port().checked_add(step) else {
            break;
        };
        let address = SocketAddr::new(asked.ip(), port);
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && asked.port() != 0 => {}
            Err(error) => return Err(CliError::Failed(format!("{address} can't be listened on: {error}"))),
        }
    }
    Err(CliError::Failed(format!("{asked} and the {PORTS} ports after it are taken")))
}

/// Starts the server, plays the sample, and then waits until the server is told to stop.
pub(super) async fn stage<L, F>(settings: Settings, launch: L, out: &mut Out) -> Result<(), CliError>
where
    L: FnOnce(Settings, OnReady) -> F,
    F: Future<Output = Result<(), LaunchError>> + 'static,
{
    let (tell, ready) = oneshot::channel();
    let key = settings.auth.admin_key.clone();
    let on_ready: OnReady = Box::new(move |address| {
        // Nobody waits for it when the demo has ended before.
        tell.send(address).ok();
    });
    let mut server = actix_web::rt::spawn(launch(settings, on_ready));
    let Ok(address) = ready.await else {
        return ended(server.await);
    };
    let played = tokio::select! {
        end = &mut server => return ended(end),
        played = play(address, key, out) => played,
    };
    match played {
        Err(CliError::Output(closed)) => return Err(closed.into()),
        Err(error) => {
            complain(&error);
            for line in remedy(&error, &format!("http://{address}")) {
                out.line(&line)?;
            }
        }
        Ok(()) => {}
    }
    ended(server.await)
}

fn ended(end: Result<Result<(), LaunchError>, tokio::task::JoinError>) -> Result<(), CliError> {
    Ok(end.map_err(|error| LaunchError::Failed(error.into()))??)
}

async fn play(address: SocketAddr, key: Option<SecretString>, out: &mut Out) -> Result<(), CliError> {
    let has_key = key.is_some();
    let client = Client::new(&format!("http://{address}"), key)?;
    out.line(&format!("tranche is up at {}, on the paper broker.", client.url()))?;
    until_allowed(&client).await?;
    let key = format!("demo-{}", uuid::Uuid::new_v4().simple());
    let plan = client.post::<Plan>("/orders/slice", &sample(), Some(&key)).await?;
    out.line(&opening(&plan))?;
    let parent = watch::follow(&client, &plan.parent_order_id, out).await?;
    for line in ending(&parent).into_iter().chain(tour(client.url(), &parent, has_key)) {
        out.line(&line)?;
    }
    Ok(())
}

/// 103 shares over half a minute: eight slices, which can't be equal.
fn sample() -> Value {
    json!({
        "symbol": "AAPL", "side": "buy", "qty": "103", "order_type": "market",
        "duration_seconds": 30, "interval_seconds": 4, "strategy_id": "demo",
    })
}

/// Waits while the server starts. A server that is ready and doesn't trade says why when it gets the order.
async fn until_allowed(client: &Client) -> Result<(), CliError> {
    let began = Instant::now();
    let mut ready_since = None;
    loop {
        let (status, body) = client.probe("/readyz").await?;
        if status.is_success() {
            let since = *ready_since.get_or_insert_with(Instant::now);
            let allowed = body.get("trading_allowed").and_then(Value::as_bool);
            if allowed == Some(true) || since.elapsed() > ALLOWED_WAIT {
                return Ok(());
            }
        } else if began.elapsed() > READY_WAIT {
            let reasons = body.get("reasons").map(cell).unwrap_or_default();
            let waited = READY_WAIT.as_secs();
            return Err(CliError::Failed(format!("the server is not ready after {waited} s: {reasons}")));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn opening(plan: &Plan) -> String {
    let sizes = plan.slices.iter().map(|slice| number(Some(slice.qty))).collect::<Vec<_>>().join(", ");
    format!(
        "A sample parent, {}: {} {} {} in {} slices over half a minute ({sizes}).",
        plan.parent_order_id,
        plan.side,
        number(Some(plan.total_qty)),
        plan.symbol,
        plan.total_slices
    )
}

fn ending(parent: &Parent) -> Vec<String> {
    let mut lines = vec![String::new(), format!("The parent is {}. What it cost:", parent.status)];
    lines.extend(report::lines(parent));
    lines
}

/// What to try next, in lines that work as they are.
fn tour(url: &str, parent: &Parent, has_key: bool) -> Vec<String> {
    let id = &parent.parent_order_id;
    let key = if has_key { " -H \"Authorization: Bearer $TRANCHE_KEY\"" } else { "" };
    let post = format!("curl -s{key} -H 'Content-Type: application/json' {url}/api/v1");
    let program = program();
    let order = r#"{"symbol":"MSFT","side":"sell","qty":"60","order_type":"market","duration_seconds":300}"#;
    let mut lines = vec![String::new()];
    if has_key {
        lines.push("The server asks for its key: put it into TRANCHE_KEY first.".to_owned());
    }
    lines.extend([
        "Try next, in another terminal:".to_owned(),
        String::new(),
        "  # the parent, its slices, and what happened to it".to_owned(),
        format!("  curl -s{key} {url}/api/v1/orders/{id}"),
        format!("  curl -s{key} {url}/api/v1/orders/{id}/slices"),
        format!("  curl -s{key} {url}/api/v1/orders/{id}/events"),
        String::new(),
        "  # a parent of your own, watched; then stop all trading in the middle of it, and let it go on".to_owned(),
        format!("  {post}/orders/slice -d '{order}'"),
        format!("  {program} order list --parents --url {url}"),
        format!("  {program} order watch ID --url {url}"),
        format!("  {post}/kill-switch/engage -d '{{\"reason\":\"a try\",\"operator\":\"me\"}}'"),
        format!("  {post}/kill-switch/disengage -d '{{\"operator\":\"me\"}}'"),
        String::new(),
        format!("  # every call, to try in a browser: {url}/docs"),
        String::new(),
        format!("The server stays up at {url}; Ctrl-C ends it."),
    ]);
    lines
}

/// What to do where the sample was refused, because a tour before left a switch as it was.
fn remedy(error: &CliError, url: &str) -> Vec<String> {
    let code = match error {
        CliError::Client(error) => error.problem_code().unwrap_or_default(),
        CliError::Usage(_)
        | CliError::Settings(_)
        | CliError::Scenario(_)
        | CliError::Launch(_)
        | CliError::Failed(_)
        | CliError::Logged(_)
        | CliError::Output(_) => "",
    };
    let program = program();
    let mut lines = match code {
        "kill_switch_engaged" => vec![
            "The kill switch is still engaged from before. Disengage it, and run the demo again:".to_owned(),
            format!("  {program} kill disengage --url {url}"),
        ],
        "circuit_breaker_tripped" => vec![
            "The circuit breaker is still tripped from before. Reset it, and run the demo again after its quiet period:"
                .to_owned(),
            format!("  {program} breaker reset --reason 'the end of trying it out' --url {url}"),
        ],
        _ => Vec::new(),
    };
    lines.push(format!("The server stays up at {url}; Ctrl-C ends it."));
    lines
}

/// The program as it was called, so that what is printed can be copied.
pub(super) fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "tranche".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::tests::parent;

    #[test]
    fn a_taken_port_is_passed_over() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let _holder = TcpListener::bind(taken).unwrap();
        let free = free_address(taken).unwrap();
        assert_eq!(free.ip(), taken.ip());
        assert!(free.port() > taken.port());
        assert_eq!(free_address("127.0.0.1:0".parse().unwrap()).unwrap().port(), 0);
    }

    #[test]
    fn the_tour_names_this_server_and_this_parent() {
        let lines = tour("http://127.0.0.1:8081", &parent(100, 0, 0), false).join("\n");
        assert!(lines.contains("curl -s http://127.0.0.1:8081/api/v1/orders/p/slices"));
        assert!(!lines.contains("8080") && !lines.contains("Bearer"));
        let lines = tour("http://127.0.0.1:8081", &parent(100, 0, 0), true).join("\n");
        assert!(lines.contains("Bearer $TRANCHE_KEY"));
    }
}
