//! Who may: an admin key, or the programs of this machine.

use std::fmt;
use std::net::IpAddr;

use actix_web::HttpMessage;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::uri::Authority;
use actix_web::middleware::Next;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use tranche_actors::domain::names::{Caller, Role};

use super::Gateway;
use super::problem::{Code, Problem};

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

/// Whether requests need a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// They do.
    Key,
    /// They don't: only this machine can ask.
    Nothing,
}

/// Why the server must not start; the sentence names the setting that mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AuthSetupError {
    /// Other machines could trade.
    #[error(
        "{bind} can be reached from other machines, and there is no key: set TRANCHE__AUTH__ADMIN_KEY_FILE to a file \
         that holds one, or bind to 127.0.0.1 with TRANCHE__HTTP__BIND"
    )]
    OpenToAll {
        /// The address.
        bind: IpAddr,
    },
    /// Keys are asked for, and there is none.
    #[error(
        "TRANCHE__AUTH__MODE asks for keys, and there is none: set TRANCHE__AUTH__ADMIN_KEY_FILE to a file that holds one"
    )]
    NoKey,
    /// A key of nothing would let everybody in.
    #[error("the admin key is empty: write one into the file that TRANCHE__AUTH__ADMIN_KEY_FILE names")]
    EmptyKey,
}

/// Decides how requests are let in, with the admin key if there is one; white space around it doesn't count.
///
/// # Errors
/// When other machines could trade without a key, or nobody could with one.
pub fn access(mode: Mode, key: Option<&str>, bind: IpAddr) -> Result<Access, AuthSetupError> {
    let key = key.map(str::trim);
    if key.is_some_and(str::is_empty) {
        return Err(AuthSetupError::EmptyKey);
    }
    match (decide(mode, key.is_some(), bind)?, key) {
        (Need::Key, Some(key)) => Ok(Access::Keyed(AdminKey::new(key))),
        (Need::Key, None) => Err(AuthSetupError::NoKey),
        (Need::Nothing, _) => Ok(Access::Open),
    }
}

/// Decides what requests need.
///
/// # Errors
/// When other machines could trade without a key, or nobody could with one.
pub fn decide(mode: Mode, has_key: bool, bind: IpAddr) -> Result<Need, AuthSetupError> {
    // An IPv4 address may come as an IPv6 one.
    let is_local = bind.to_canonical().is_loopback();
    match (mode, has_key, is_local) {
        (Mode::Auto | Mode::Keys, true, _) => Ok(Need::Key),
        (Mode::Keys, false, _) => Err(AuthSetupError::NoKey),
        (Mode::Auto, false, true) | (Mode::Open, _, true) => Ok(Need::Nothing),
        (Mode::Auto, false, false) | (Mode::Open, _, false) => Err(AuthSetupError::OpenToAll { bind }),
    }
}

/// How requests are let in.
#[derive(Clone, Debug)]
pub enum Access {
    /// All of them come from this machine; the caller is `local`, and may everything.
    Open,
    /// They carry the key; the caller is `admin`, and may everything.
    Keyed(AdminKey),
}

/// The admin key, of which only the hash is kept.
#[derive(Clone)]
pub struct AdminKey([u8; 32]);

impl AdminKey {
    pub(super) fn new(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(header::AUTHORIZATION).and_then(bearer);
        sent.is_some_and(|sent| self.opens(sent))
    }

    fn opens(&self, sent: &[u8]) -> bool {
        let sent: [u8; 32] = Sha256::digest(sent).into();
        self.0.ct_eq(&sent).into()
    }
}

impl Access {
    /// Whether a connection may stay open behind this request. Where keys are asked for, whoever has none gets an answer
    /// and no more: idle connections of strangers would keep an operator from the kill switch.
    pub(super) fn keeps_connection(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Open => true,
            Self::Keyed(key) => key.is_shown(headers),
        }
    }
}

impl fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminKey(…)")
    }
}

/// Lets a request in, and notes who asks.
pub(super) async fn admit(request: ServiceRequest, next: Next<BoxBody>) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let caller = match request.app_data::<Gateway>() {
        Some(gateway) => {
            let is_public = is_public(request.path(), gateway.state.metrics_public);
            who(&gateway.state.access, is_public, request.headers(), request.uri())
        }
        None => Err(Problem::new(Code::Internal, "the server has no state")),
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.call(request).await
        }
        Err(problem) => Ok(request.error_response(problem)),
    }
}

/// What needs no key: probes, and the pages that say how to use one.
fn is_public(path: &str, metrics_public: bool) -> bool {
    match path {
        "/livez" | "/healthz" | "/readyz" | "/openapi.json" | "/docs" => true,
        "/metrics" => metrics_public,
        other => other.starts_with("/docs/"),
    }
}

/// Who asks, as handlers know it.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    /// Nobody on public paths without a key.
    pub(super) caller: Option<Caller>,
    pub(super) role: Role,
}

impl Asker {
    fn named(name: &str, role: Role) -> Self {
        Self { caller: Caller::parse(name).ok(), role }
    }
}

/// Lets a request pass whose caller has this role, or a higher one.
pub(super) async fn needs(
    role: Role,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let has = request.extensions().get::<Asker>().map(|asker| asker.role);
    match has {
        Some(has) if has >= role => next.call(request).await,
        Some(has) => {
            let detail = format!("this takes a key of the role {role}, and yours is of the role {has}");
            let problem = Problem::new(Code::Forbidden, detail).with("role", has.as_str()).with("needs", role.as_str());
            Ok(request.error_response(problem))
        }
        None => Ok(request.error_response(Problem::new(Code::Internal, "nobody was let in"))),
    }
}

fn who(access: &Access, is_public: bool, headers: &HeaderMap, target: &Uri) -> Result<Asker, Problem> {
    match access {
        Access::Open => {
            comes_from_here(headers, target)?;
            Ok(Asker::named("local", Role::Admin))
        }
        Access::Keyed(_) if is_public => Ok(Asker { caller: None, role: Role::Viewer }),
        Access::Keyed(key) => {
            if key.is_shown(headers) {
                return Ok(Asker::named("admin", Role::Admin));
            }
            let detail = "send the API key as 'Authorization: Bearer …'";
            let challenge = HeaderValue::from_static("Bearer");
            Err(Problem::new(Code::Unauthorised, detail).header(header::WWW_AUTHENTICATE, challenge))
        }
    }
}

/// The token of a bearer header; the scheme's name has no case.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// An open server answers its own machine only. A page in a browser there may still send requests for somebody else:
/// under a foreign name that was made to point here, or from a page of another origin. A target that is a whole address
/// names its host too, and counts above the header.
fn comes_from_here(headers: &HeaderMap, target: &Uri) -> Result<(), Problem> {
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or("?"));
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("?"));
    let named = target.authority().map(Authority::as_str);
    if ![host, named].into_iter().flatten().all(is_ours) {
        let detail = "without a key the gateway answers to localhost only: ask it there, or set an admin key";
        return Err(Problem::new(Code::ForeignOrigin, detail));
    }
    let same_origin = |origin: &str| {
        let from = origin.split_once("://").map(|(_, from)| from);
        from.is_some_and(|from| is_ours(from) && Some(from) == host && named.is_none_or(|named| named == from))
    };
    if !origin.is_none_or(same_origin) {
        let detail = "without a key the gateway takes no requests of other sites: set an admin key";
        return Err(Problem::new(Code::ForeignOrigin, detail));
    }
    Ok(())
}

/// Whether a host, with or without a port, is this machine. With a user before it, it is not what it seems.
fn is_ours(authority: &str) -> bool {
    let parsed = authority.parse::<Authority>().ok();
    parsed.is_some_and(|parsed| !authority.contains('@') && is_this_machine(parsed.host()))
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
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
            assert_eq!(decide(Mode::Auto, false, ip(local)), Ok(Need::Nothing), "{local}");
            assert_eq!(decide(Mode::Auto, true, ip(local)), Ok(Need::Key), "{local}");
            assert_eq!(decide(Mode::Open, true, ip(local)), Ok(Need::Nothing), "{local}");
        }
        for wide in ["0.0.0.0", "::", "10.0.0.1", "192.168.1.7"] {
            let refused = decide(Mode::Auto, false, ip(wide)).unwrap_err();
            assert!(refused.to_string().contains("TRANCHE__AUTH__ADMIN_KEY_FILE"), "{refused}");
            assert_eq!(decide(Mode::Auto, true, ip(wide)), Ok(Need::Key));
            assert!(decide(Mode::Open, true, ip(wide)).is_err());
        }
        assert_eq!(decide(Mode::Keys, false, ip("127.0.0.1")), Err(AuthSetupError::NoKey));
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
            let refused = access(Mode::Auto, Some(blank), ip("127.0.0.1"));
            assert!(matches!(refused, Err(AuthSetupError::EmptyKey)), "{blank:?}");
        }
        let Ok(Access::Keyed(key)) = access(Mode::Auto, Some(" s3cret\n"), ip("0.0.0.0")) else {
            panic!("there is a key")
        };
        assert!(key.opens(b"s3cret"));
        assert!(matches!(access(Mode::Auto, None, ip("::1")), Ok(Access::Open)));
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name.parse().unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn target(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn a_target_that_is_a_whole_address_has_to_be_ours_too() {
        let own = headers(&[("host", "localhost:8080")]);
        assert!(comes_from_here(&own, &target("http://localhost:8080/livez")).is_ok());
        assert!(comes_from_here(&headers(&[]), &target("http://127.0.0.1:8080/livez")).is_ok());
        for foreign in
            ["http://evil.example/livez", "http://evil.example@localhost:8080/livez", "http://10.0.0.1/livez"]
        {
            assert!(comes_from_here(&own, &target(foreign)).is_err(), "{foreign}");
        }
        let page = headers(&[("host", "localhost:8080"), ("origin", "http://localhost:8080")]);
        assert!(comes_from_here(&page, &target("http://localhost:8080/livez")).is_ok());
        assert!(comes_from_here(&page, &target("http://localhost:3000/livez")).is_err());
    }

    #[test]
    fn an_open_server_answers_no_foreign_page() {
        let ours: [&[(&str, &str)]; 6] = [
            &[],
            &[("host", "localhost:8080")],
            &[("host", "127.0.0.1:8080")],
            &[("host", "[::1]:8080")],
            &[("host", "localhost:8080"), ("origin", "http://localhost:8080")],
            &[("host", "gw.localhost")],
        ];
        for pairs in ours {
            assert!(comes_from_here(&headers(pairs), &target("/livez")).is_ok(), "{pairs:?}");
        }
        let foreign: [&[(&str, &str)]; 10] = [
            &[("host", "evil.example@localhost:8080")],
            &[("host", "localhost@evil.example")],
            &[("host", "localhost/evil.example")],
            &[("host", "user@localhost:8080"), ("origin", "http://user@localhost:8080")],
            &[("host", "evil.example")],
            &[("host", "localhost.evil.example:8080")],
            &[("host", "10.0.0.1:8080")],
            &[("host", "localhost:8080"), ("origin", "http://evil.example")],
            &[("host", "localhost:8080"), ("origin", "http://localhost:3000")],
            &[("host", "localhost:8080"), ("origin", "null")],
        ];
        for pairs in foreign {
            assert!(comes_from_here(&headers(pairs), &target("/livez")).is_err(), "{pairs:?}");
        }
    }
}
