//! The text of a key: `tr_`, its public id, and its secret. It is made here, shown once, and never stored.

use rustls::crypto::SecureRandom;
use sha2::{Digest, Sha256};
use tranche_actors::domain::keys::KeyId;

/// What every key begins with, so that it is known where it turns up.
const PREFIX: &str = "tr_";
/// Random bytes of the public id.
const ID_BYTES: usize = 8;
/// Random bytes of the secret: 256 bits.
const SECRET_BYTES: usize = 32;

/// A key that was just made.
pub(crate) struct NewKey {
    /// Its public part.
    pub(crate) id: KeyId,
    /// All of it; whoever has it may.
    pub(crate) text: String,
    /// What is stored.
    pub(crate) hash: String,
}

/// Makes a key by the operating system's chance; `None` where that fails.
pub(crate) fn make(random: &dyn SecureRandom) -> Option<NewKey> {
    let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
    random.fill(&mut id).ok()?;
    random.fill(&mut secret).ok()?;
    let id = KeyId::parse(&hex(&id)).ok()?;
    let text = format!("{PREFIX}{id}_{}", hex(&secret));
    Some(NewKey { id, hash: hash(text.as_bytes()), text })
}

/// The public id that a text begins with, if it has the form of a key.
pub(crate) fn id_of(text: &[u8]) -> Option<KeyId> {
    let text = std::str::from_utf8(text).ok()?;
    let (id, _) = text.strip_prefix(PREFIX)?.split_once('_')?;
    KeyId::parse(id).ok()
}

/// What is kept of a key's text.
pub(crate) fn hash(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_id_and_nothing_else() {
        let provider = rustls::crypto::ring::default_provider();
        let (one, other) = (make(provider.secure_random).unwrap(), make(provider.secure_random).unwrap());
        assert_ne!(one.text, other.text);
        assert_ne!(one.id, other.id);
        assert_eq!(one.text.len(), 3 + 16 + 1 + 64);
        assert_eq!(id_of(one.text.as_bytes()).as_ref(), Some(&one.id));
        assert_eq!(hash(one.text.as_bytes()), one.hash);
        assert!(!one.hash.contains(one.text.split('_').nth(2).unwrap()));
        for not_one in ["", "tr_", "tr_0123456789abcdef", "xx_0123456789abcdef_1", "tr_0123456789ABCDEF_1"] {
            assert_eq!(id_of(not_one.as_bytes()), None, "{not_one}");
        }
    }
}
