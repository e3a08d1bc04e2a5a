//! Networks of proxies that may say whom they forward for (`KEYFOLD_TRUSTED_PROXIES`).

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// How many bits an IPv4 address has in front of it when it is written as an IPv6 one (RFC 4291, 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// A network in CIDR notation (RFC 4632, RFC 4291), or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no network that can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedNetwork {
    /// Neither an address nor an address, `/` and a number of bits.
    #[error("is no network")]
    Form,
    /// More bits than such an address has.
    #[error("has too many bits after the `/`")]
    Bits,
    /// A part of the address lies outside of the network's bits.
    #[error("is an address inside a network, not the network")]
    HostBits,
    /// All addresses there are.
    #[error("is everybody, so that anybody could pretend to call from anywhere")]
    Everybody,
}

impl MalformedNetwork {
    /// What to write instead.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Form => "write an address such as 10.0.0.7, or a network such as 10.0.0.0/8 or fd00::/8",
            Self::Bits => "an IPv4 address has 32 bits, an IPv6 address 128",
            Self::HostBits => "write the network's first address, or leave out `/` and what follows",
            Self::Everybody => "name the network of your own proxies, such as 10.0.0.0/8",
        }
    }
}

impl FromStr for Network {
    type Err = MalformedNetwork;

    fn from_str(text: &str) -> Result<Self, MalformedNetwork> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| MalformedNetwork::Form)?;
        let width: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match bits {
            None => width,
            Some(bits) if !bits.is_empty() && bits.bytes().all(|digit| digit.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= width).ok_or(MalformedNetwork::Bits)?
            }
            Some(_) => return Err(MalformedNetwork::Form),
        };
        let network = match address.to_canonical() {
            canonical if canonical.is_ipv4() && address.is_ipv6() && prefix >= MAPPED_BITS => {
                Self { address: canonical, prefix: prefix - MAPPED_BITS }
            }
            _ => Self { address, prefix },
        };
        if network.prefix == 0 {
            return Err(MalformedNetwork::Everybody);
        }
        if network.masked(network.address) != network.address {
            return Err(MalformedNetwork::HostBits);
        }
        Ok(network)
    }
}

impl Network {
    /// Whether an address lies in it; an IPv4 address that is written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.masked(address) == self.address
    }

    /// The address without the bits behind the prefix.
    fn masked(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                std::net::Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..], &["11.0.0.0", "9.9.9.9"]),
            ("127.0.0.1", &["127.0.0.1", "::ffff:127.0.0.1"], &["127.0.0.2", "::1"]),
            ("192.168.4.0/22", &["192.168.4.0", "192.168.7.255"], &["192.168.8.0", "192.168.3.255"]),
            ("128.0.0.0/1", &["128.0.0.0", "255.255.255.255"], &["127.255.255.255", "::"]),
            ("10.1.2.3/32", &["10.1.2.3"], &["10.1.2.2", "10.1.2.4"]),
            ("::1", &["::1"], &["::2", "127.0.0.1"]),
            ("fd00::/8", &["fd00::", "fdff::1"], &["fe00::", "fc00::1"]),
            ("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::", "10.0.0.1"]),
            // The same network in another notation.
            ("::ffff:10.0.0.0/104", &["10.9.9.9", "::ffff:10.0.0.1"], &["11.0.0.0", "::1"]),
            ("::ffff:10.0.0.7", &["10.0.0.7"], &["10.0.0.8", "::7"]),
        ] {
            for address in inside {
                assert!(network(text).contains(address.parse().unwrap()), "{text} {address}");
            }
            for address in outside {
                assert!(!network(text).contains(address.parse().unwrap()), "{text} {address}");
            }
        }
    }

    #[test]
    fn what_is_no_network_is_told_apart() {
        use MalformedNetwork::{Bits, Everybody, Form, HostBits};
        for (text, why) in [
            ("", Form),
            ("proxy.example", Form),
            ("10.0.0", Form),
            ("10.0.0.0/", Form),
            ("10.0.0.0/+8", Form),
            ("10.0.0.0/8/8", Form),
            ("10.0.0.0/a", Form),
            ("[::1]", Form),
            ("010.0.0.1", Form),
            ("fe80::1%eth0", Form),
            ("10.0.0.0/33", Bits),
            ("10.0.0.0/256", Bits),
            ("::/129", Bits),
            ("10.0.0.1/8", HostBits),
            ("fd00::1/8", HostBits),
            ("::ffff:10.0.0.1/104", HostBits),
            ("0.0.0.0/0", Everybody),
            ("::/0", Everybody),
            ("::ffff:0.0.0.0/96", Everybody),
        ] {
            assert_eq!(text.parse::<Network>(), Err(why), "{text}");
        }
    }
}
