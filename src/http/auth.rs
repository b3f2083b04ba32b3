//! Who may: the keys of the store, an admin key from outside, or the programs of this machine.

use std::fmt;
use std::net::IpAddr;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

pub(super) use admitting::{Asker, admit, is_enough, needs};
pub(super) use pace::Pace;
pub(super) use ring::KeyRing;
#[cfg(any(test, fuzzing))]
pub(super) use {admitting::bearer, local::comes_from_here};

mod admitting;
mod local;
mod pace;
mod ring;

/// When keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Once there is one. Without any, an address of this machine alone works open.
    Auto,
    /// Always.
    Keys,
    /// Never, on an address of this machine alone.
    Open,
}

/// How requests are let in.
#[derive(Clone, Debug)]
pub enum Access {
    /// All of them come from this machine; the caller is `local`, and may everything.
    Open,
    /// The same, until the store has a key.
    OpenUntilKeyed,
    /// They carry a key of the store's, or the admin key from outside, whose caller is `admin`, and may everything.
    Keyed(Option<AdminKey>),
}

/// Why the server must not start; the sentence names what mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AuthSetupError {
    /// Other machines could trade.
    #[error(
        "{bind} can be reached from other machines, and there is no key: make one by `tranche keys add NAME --role admin`, \
         or set TRANCHE__AUTH__ADMIN_KEY_FILE to a file that holds one, or bind to 127.0.0.1 with TRANCHE__HTTP__BIND"
    )]
    OpenToAll {
        /// The address.
        bind: IpAddr,
    },
    /// Keys are asked for, and there is none.
    #[error(
        "TRANCHE__AUTH__MODE asks for keys, and there is none: make one by `tranche keys add NAME --role admin`, or set \
         TRANCHE__AUTH__ADMIN_KEY_FILE to a file that holds one"
    )]
    NoKey,
    /// A key of nothing would let everybody in.
    #[error("the admin key is empty: write one into the file that TRANCHE__AUTH__ADMIN_KEY_FILE names")]
    EmptyKey,
}

/// Decides how requests are let in, with the admin key if there is one; white space around it doesn't count. `stored`:
/// whether the store has a key, taken back or not, as far as that is known. What is not known opens nothing to others.
///
/// # Errors
/// When other machines could trade without a key, or nobody could with one.
pub fn access(mode: Mode, key: Option<&str>, stored: Option<bool>, bind: IpAddr) -> Result<Access, AuthSetupError> {
    let key = key.map(str::trim);
    if key.is_some_and(str::is_empty) {
        return Err(AuthSetupError::EmptyKey);
    }
    // An IPv4 address may come as an IPv6 one.
    let is_local = bind.to_canonical().is_loopback();
    match (mode, key, is_local) {
        (Mode::Open, _, true) => Ok(Access::Open),
        (Mode::Open, _, false) => Err(AuthSetupError::OpenToAll { bind }),
        (Mode::Auto | Mode::Keys, Some(key), _) => Ok(Access::Keyed(Some(AdminKey::new(key)))),
        (Mode::Auto, None, true) => Ok(Access::OpenUntilKeyed),
        (Mode::Auto, None, false) if stored == Some(false) => Err(AuthSetupError::OpenToAll { bind }),
        (Mode::Keys, None, _) if stored == Some(false) => Err(AuthSetupError::NoKey),
        (Mode::Auto | Mode::Keys, None, _) => Ok(Access::Keyed(None)),
    }
}

/// The admin key, of which only the hash is kept.
#[derive(Clone)]
pub struct AdminKey([u8; 32]);

impl AdminKey {
    pub(super) fn new(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    fn opens(&self, sent: &[u8]) -> bool {
        let sent: [u8; 32] = Sha256::digest(sent).into();
        self.0.ct_eq(&sent).into()
    }
}

impl fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn without_a_key_only_this_machine_is_served() {
        for local in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
            for stored in [Some(false), Some(true), None] {
                let decided = access(Mode::Auto, None, stored, ip(local));
                assert!(matches!(decided, Ok(Access::OpenUntilKeyed)), "{local} {stored:?}");
            }
            assert!(matches!(access(Mode::Auto, Some("k"), None, ip(local)), Ok(Access::Keyed(Some(_)))), "{local}");
            assert!(matches!(access(Mode::Open, None, None, ip(local)), Ok(Access::Open)), "{local}");
        }
        for wide in ["0.0.0.0", "::", "10.0.0.1", "192.168.1.7"] {
            let refused = access(Mode::Auto, None, Some(false), ip(wide)).unwrap_err();
            for mend in ["TRANCHE__AUTH__ADMIN_KEY_FILE", "tranche keys add"] {
                assert!(refused.to_string().contains(mend), "{refused}");
            }
            for stored in [Some(true), None] {
                assert!(matches!(access(Mode::Auto, None, stored, ip(wide)), Ok(Access::Keyed(None))), "{wide}");
            }
            assert!(matches!(access(Mode::Auto, Some("k"), Some(false), ip(wide)), Ok(Access::Keyed(Some(_)))));
            assert!(access(Mode::Open, None, Some(true), ip(wide)).is_err());
        }
        for bind in ["127.0.0.1", "0.0.0.0"] {
            assert_eq!(access(Mode::Keys, None, Some(false), ip(bind)).unwrap_err(), AuthSetupError::NoKey);
            assert!(matches!(access(Mode::Keys, None, Some(true), ip(bind)), Ok(Access::Keyed(None))));
        }
    }

    #[test]
    fn a_key_opens_only_whole() {
        let key = AdminKey::new("s3cret");
        assert!(key.opens(b"s3cret"));
        for wrong in ["", "s3cre", "s3cret ", "S3cret"] {
            assert!(!key.opens(wrong.as_bytes()), "{wrong:?}");
        }
        assert!(!format!("{key:?}").contains("s3cret"));
    }

    #[test]
    fn a_key_of_nothing_is_refused_and_white_space_around_one_is_not_part_of_it() {
        for blank in ["", " ", "\n"] {
            let refused = access(Mode::Auto, Some(blank), None, ip("127.0.0.1"));
            assert!(matches!(refused, Err(AuthSetupError::EmptyKey)), "{blank:?}");
        }
        let Ok(Access::Keyed(Some(key))) = access(Mode::Auto, Some(" s3cret\n"), None, ip("0.0.0.0")) else {
            panic!("there is a key")
        };
        assert!(key.opens(b"s3cret"));
    }
}
