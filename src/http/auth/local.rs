//! Requests of this very machine, where nobody is asked for a key.

use std::net::IpAddr;

use actix_web::http::Uri;
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::uri::Authority;

use crate::http::problem::{Code, Problem};

/// An open server answers its own machine only. A page in a browser there may still send requests for somebody else:
/// under a foreign name that was made to point here, or from a page of another origin. A target that is a whole address
/// names its host too, and counts above the header.
pub(in crate::http) fn comes_from_here(headers: &HeaderMap, target: &Uri) -> Result<(), Problem> {
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
