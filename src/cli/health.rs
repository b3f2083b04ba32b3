//! `tranche health`: does the configured server live? For a container's health check, which has no other client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::client::Client;
use super::output::Out;
use super::serve::SettingsArgs;
use crate::settings::Settings;

/// Longest wait for the answer: shorter than a container waits for a health check.
const TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The server; without it, the address that the configuration binds.
    #[arg(long)]
    url: Option<String>,
}

/// Asks `GET /livez`: no key is needed, and nothing that the server depends on is asked.
pub(super) async fn run(args: HealthArgs, out: &mut Out) -> Result<(), CliError> {
    let url = match args.url {
        Some(url) => url,
        None => {
            let bind = Settings::load(&args.settings.inputs())?.http.bind;
            let address = reachable(bind).ok_or_else(|| {
                CliError::Usage("http.bind has port 0, so that the port is not known: give --url".to_owned())
            })?;
            format!("http://{address}")
        }
    };
    let client = Client::new(&url, None)?;
    let (status, _) = tokio::time::timeout(TIMEOUT, client.probe("/livez"))
        .await
        .map_err(|_| CliError::Failed(format!("{url} did not answer within {} s", TIMEOUT.as_secs())))??;
    if status.is_success() { Ok(out.line("alive")?) } else { Err(CliError::Failed(format!("{url} answered {status}"))) }
}

/// Where a server that listens on this address can be asked from the same machine.
fn reachable(bind: SocketAddr) -> Option<SocketAddr> {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    (bind.port() != 0).then(|| SocketAddr::new(ip, bind.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_at_home() {
        let of = |bind: &str| reachable(bind.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(of("0.0.0.0:8080").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(of("[::]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(of("10.0.0.7:80").as_deref(), Some("10.0.0.7:80"));
        assert_eq!(of("127.0.0.1:0"), None);
    }
}
