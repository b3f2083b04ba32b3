//! The one provider of TLS, and what can do without.

use std::net::IpAddr;

use reqwest::Url;

/// Makes ring the provider of TLS for this process; a client that is built before this panics. Doing it again changes
/// nothing.
pub fn install() {
    // An error says that there is one already, which can only be this.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Whether an address leads nowhere but to this machine, so that nobody listens on the way.
#[must_use]
pub fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}
