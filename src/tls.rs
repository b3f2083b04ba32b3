//! The one provider of TLS.

/// Makes ring the provider of TLS for this process; a client that is built before this panics. Doing it again changes
/// nothing.
pub fn install() {
    // An error says that there is one already, which can only be this.
    drop(rustls::crypto::ring::default_provider().install_default());
}
