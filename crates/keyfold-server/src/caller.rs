//! Who is calling, as far as a connection and the log can tell: the address, and the user once that is known.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{Extensions, HeaderMap, HeaderValue};
use keyfold::limit::Standing;
use keyfold::user::UserId;

use crate::config::Network;
use crate::serve::Peer;

pub(crate) const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// The id of a request, in its extensions.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) Arc<str>);

/// In the extensions of an answer that is a provider's and not Keyfold's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProvidersAnswer;

/// What is known of the caller of a request. The outermost middleware puts it into the request's extensions.
#[derive(Clone)]
pub(crate) struct Caller {
    /// The client's address, past proxies that are trusted; `None` if the request came over no socket.
    pub(crate) address: Option<IpAddr>,
    /// That address is the client's own, and not that of a proxy which others use too, as far as can be told.
    pub(crate) address_is_its_own: bool,
    /// A trusted proxy says that the client's own connection is encrypted.
    pub(crate) came_over_https: bool,
    user: Arc<OnceLock<UserId>>,
    service: Arc<OnceLock<Arc<str>>>,
    limits: Arc<Mutex<Vec<Standing>>>,
}

impl Caller {
    /// Looks at a request's connection, and at what proxies in `trusted` networks say of it.
    pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let peer = extensions.get::<Peer>().map(|Peer(peer)| peer.ip().to_canonical());
        let is_proxy = peer.is_some_and(|peer| is_trusted(peer, trusted));
        let forwarded = || headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
        let address = peer.map(|peer| client_address(peer, forwarded(), trusted));
        Self {
            address,
            address_is_its_own: address.is_some_and(|address| {
                if is_proxy { !is_trusted(address, trusted) } else { is_public(address) }
            }),
            came_over_https: is_proxy && last_protocol(headers).is_some_and(|protocol| protocol == "https"),
            user: Arc::default(),
            service: Arc::default(),
            limits: Arc::default(),
        }
    }

    /// A caller at this address, of whom nothing else is known yet.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self {
            address: Some(address),
            address_is_its_own: false,
            came_over_https: false,
            user: Arc::default(),
            service: Arc::default(),
            limits: Arc::default(),
        }
    }

    /// Notes whose credential was verified, for the request's line in the log.
    pub(crate) fn note_user(&self, user: &UserId) {
        // The first one counts: a request has one user.
        let _ = self.user.set(user.clone());
    }

    /// Notes how a limit stands that the request was counted by.
    pub(crate) fn note_limit(&self, standing: Standing) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.retain(|known| known.class != standing.class);
        limits.push(standing);
    }

    /// The limits that were noted.
    pub(crate) fn limits(&self) -> Vec<Standing> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the name of the service token that was verified, for the request's line in the log.
    pub(crate) fn note_service(&self, name: &Arc<str>) {
        let _ = self.service.set(Arc::clone(name));
    }

    /// The service that was noted.
    pub(crate) fn service(&self) -> Option<&str> {
        self.service.get().map(|name| &**name)
    }

    /// The user that was noted.
    pub(crate) fn user(&self) -> Option<&UserId> {
        self.user.get()
    }
}

/// The rightmost address of `X-Forwarded-For` that is not a trusted proxy's: what stands left of it may be the
/// client's own invention. Where the list ends, or has something that is no address, the last proxy counts.
pub(crate) fn client_address<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[Network],
) -> IpAddr {
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let entries = forwarded.rev().flat_map(|value| {
        let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii()).unwrap_or("?");
        text.rsplit(',').map(str::trim)
    });
    let mut client = peer;
    for entry in entries {
        if !is_trusted(client, trusted) {
            break;
        }
        let Some(address) = address_in(entry) else { break };
        client = address;
    }
    client
}

fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// An address that the whole internet can tell from others. Private networks are where platforms have their proxies.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            // RFC 6598: shared address space, which some platforms use inside.
            let is_shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 0x40;
            !(address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
                || is_shared)
        }
        IpAddr::V6(address) => {
            !(address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_unspecified())
        }
    }
}

/// An address, with or without a port: some proxies write one.
fn address_in(entry: &str) -> Option<IpAddr> {
    let in_brackets = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = in_brackets
        .and_then(|address| address.parse().ok().filter(IpAddr::is_ipv6))
        .or_else(|| entry.parse().ok())
        .or_else(|| entry.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()))?;
    Some(address.to_canonical())
}

fn last_protocol(headers: &HeaderMap) -> Option<&str> {
    let last = headers.get_all(FORWARDED_PROTO).iter().next_back()?;
    last.to_str().ok()?.rsplit(',').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIES: [&str; 3] = ["10.0.0.0/8", "fd00::/8", "::1"];

    fn caller(peer: &str, lines: &[(&'static str, &[u8])]) -> Caller {
        let trusted: Vec<Network> = PROXIES.iter().map(|network| network.parse().unwrap()).collect();
        let mut extensions = Extensions::new();
        extensions.insert(Peer(SocketAddr::new(peer.parse().unwrap(), 4711)));
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        Caller::of(&extensions, &headers, &trusted)
    }

    #[track_caller]
    fn client(peer: &str, forwarded: &[&str], expected: &str) {
        let lines: Vec<(&str, &[u8])> =
            forwarded.iter().map(|value| (FORWARDED_FOR, value.as_bytes())).collect();
        let address = caller(peer, &lines).address.unwrap();
        assert_eq!(address, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
    }

    #[test]
    fn only_a_trusted_peer_may_speak_for_others() {
        client("203.0.113.5", &["198.51.100.1"], "203.0.113.5");
        client("11.0.0.1", &["198.51.100.1", "10.0.0.1"], "11.0.0.1");
        client("10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        client("::1", &["198.51.100.1"], "198.51.100.1");
        client("10.0.0.1", &[], "10.0.0.1");
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_counts() {
        client("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1");
        client("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.2, fd00::7"], "198.51.100.1");
        client("10.0.0.1", &["1.1.1.1,10.0.0.3, 198.51.100.1 ,10.0.0.2"], "198.51.100.1");
        // All of them are proxies: the farthest one asks for itself.
        client("10.0.0.1", &["10.0.0.9, 10.0.0.2"], "10.0.0.9");
    }

    #[test]
    fn several_lines_are_one_list() {
        client("10.0.0.1", &["1.1.1.1", "198.51.100.1", "10.0.0.2"], "198.51.100.1");
        client("10.0.0.1", &["198.51.100.1", "10.0.0.3, 10.0.0.2"], "198.51.100.1");
    }

    #[test]
    fn what_is_no_address_ends_the_list() {
        for odd in
            ["", "unknown", "_hidden", "x", "300.1.1.1", "1.1.1.1;", "[10.0.0.1]", "localhost", "\"::1\""]
        {
            client("10.0.0.1", &[&format!("198.51.100.1, {odd}")], "10.0.0.1");
            client("10.0.0.1", &[&format!("198.51.100.1, {odd}, 10.0.0.2")], "10.0.0.2");
            // Behind the client's own address nobody looks.
            client("10.0.0.1", &[&format!("{odd}, 198.51.100.1, 10.0.0.2")], "198.51.100.1");
        }
        let unreadable = caller("10.0.0.1", &[(FORWARDED_FOR, b"\xff\xfe, 198.51.100.1")]);
        assert_eq!(unreadable.address.unwrap().to_string(), "10.0.0.1");
    }

    #[test]
    fn addresses_are_read_in_every_usual_form() {
        client("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1");
        client("10.0.0.1", &["2001:db8::1"], "2001:db8::1");
        client("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        client("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1");
        client("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1");
        // An IPv4 proxy as a socket that listens on both shows it.
        client("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        client("::ffff:203.0.113.5", &["198.51.100.1"], "203.0.113.5");
    }

    #[test]
    fn the_standard_header_that_no_platform_sends_does_not_count() {
        let lines: [(&str, &[u8]); 2] =
            [("forwarded", b"for=198.51.100.1;proto=https"), ("x-real-ip", b"1.1.1.1")];
        let caller = caller("10.0.0.1", &lines);
        assert_eq!(caller.address.unwrap().to_string(), "10.0.0.1");
        assert!(!caller.came_over_https);
    }

    #[test]
    fn only_a_trusted_peer_may_say_that_it_came_over_https() {
        for (peer, protocols, https) in [
            ("10.0.0.1", &["https"][..], true),
            ("10.0.0.1", &["http, https"], true),
            ("10.0.0.1", &["http", "https"], true),
            ("10.0.0.1", &["https, http"], false),
            ("10.0.0.1", &["http"], false),
            ("10.0.0.1", &[], false),
            ("203.0.113.5", &["https"], false),
        ] {
            let lines: Vec<(&str, &[u8])> =
                protocols.iter().map(|value| (FORWARDED_PROTO, value.as_bytes())).collect();
            assert_eq!(caller(peer, &lines).came_over_https, https, "{peer} {protocols:?}");
        }
    }

    #[test]
    fn an_address_is_the_clients_own_only_where_no_unknown_proxy_can_stand_before_it() {
        for (peer, forwarded, own) in [
            ("203.0.113.5", None, true),
            ("2001:db8::1", None, true),
            // Not trusted, so it is who it is, whatever it says.
            ("203.0.113.5", Some("198.51.100.1"), true),
            ("127.0.0.1", None, false),
            ("192.168.1.1", None, false),
            ("192.168.1.1", Some("198.51.100.1"), false),
            ("172.16.0.1", None, false),
            ("100.64.0.1", None, false),
            ("100.127.255.255", None, false),
            ("100.128.0.1", None, true),
            ("169.254.1.1", None, false),
            ("fc00::1", None, false),
            ("fe80::1", None, false),
            ("::ffff:192.168.1.1", None, false),
            // Trusted proxies.
            ("10.0.0.1", Some("198.51.100.1"), true),
            ("10.0.0.1", Some("192.168.1.1"), true),
            ("10.0.0.1", None, false),
            ("10.0.0.1", Some("10.0.0.2"), false),
            ("10.0.0.1", Some("unknown"), false),
        ] {
            let lines: Vec<(&str, &[u8])> =
                forwarded.iter().map(|value: &&str| (FORWARDED_FOR, value.as_bytes())).collect();
            assert_eq!(caller(peer, &lines).address_is_its_own, own, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_request_keeps_its_first_user() {
        let caller = caller("10.0.0.1", &[]);
        assert_eq!(caller.user(), None);
        caller.clone().note_user(&UserId::parse("user_a").unwrap());
        caller.note_user(&UserId::parse("user_b").unwrap());
        assert_eq!(caller.user().map(UserId::as_str), Some("user_a"));
    }
}
