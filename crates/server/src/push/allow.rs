//! Which addresses webhooks may have.
//!
//! A client says where to post to, and could name what only the broker reaches: itself, its
//! neighbours, a cloud's metadata. So only public addresses are called, and what the operator
//! allows besides. A name counts as what it leads to, each time that it is looked up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Something that webhooks may have besides public addresses: a host by its name, or a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Allowed {
    /// The host of this name, whatever its addresses, in lower case.
    Host(String),
    /// Addresses that begin with so many bits of this one.
    Network(IpAddr, u8),
}

impl FromStr for Allowed {
    type Err = String;

    /// Reads `hooks.internal`, `10.1.2.3`, `10.0.0.0/8` or `fd00::/8`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("'{text}' is neither a host nor a network; write hooks.internal or 10.0.0.0/8")
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = match bits {
                None => most,
                Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?,
            };
            return Ok(Self::Network(address, bits));
        }
        let is_name = !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if is_name { Ok(Self::Host(text.to_ascii_lowercase())) } else { Err(wrong()) }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Network(address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

/// Whether a host of this name may be called at any of its addresses.
pub(super) fn allows_host(allowed: &[Allowed], name: &str) -> bool {
    allowed.iter().any(|known| match known {
        Allowed::Host(known) => known.eq_ignore_ascii_case(name),
        Allowed::Network(..) => false,
    })
}

/// Whether an address may be called.
pub(super) fn allows(allowed: &[Allowed], address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_within = |known: &Allowed| match (known, address) {
        (Allowed::Network(IpAddr::V4(network), bits), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (Allowed::Network(IpAddr::V6(network), bits), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    };
    is_public(address) || allowed.iter().any(is_within)
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        // Multicast, reserved and broadcast.
        || a >= 224
        // Shared by the customers of a carrier.
        || (a == 100 && (64..128).contains(&b))
        // For protocols and for measuring.
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Only what is given out is public; of that, what leads elsewhere is not.
    let is_given_out = first & 0xe000 == 0x2000;
    let is_special = (first == 0x2001 && (second < 0x0200 || second == 0x0db8))
        // Has an address of version 4 within.
        || first == 0x2002;
    is_given_out && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(texts: &[&str]) -> Vec<Allowed> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn only_public_addresses_may_be_called() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "ff02::1",
        ] {
            assert!(!allows(&[], text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111"] {
            assert!(allows(&[], text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_allowed_besides_may_be_called_and_no_more() {
        let known = allowed(&["10.0.0.0/8", "127.0.0.1", "fd00::/8", "Hooks.internal"]);
        for text in ["10.255.0.1", "127.0.0.1", "::ffff:127.0.0.1", "fd12::1"] {
            assert!(allows(&known, text.parse().unwrap()), "{text}");
        }
        for text in ["11.0.0.1", "127.0.0.2", "fe80::1", "192.168.0.1"] {
            assert_eq!(allows(&known, text.parse().unwrap()), text == "11.0.0.1", "{text}");
        }
        assert!(allows_host(&known, "hooks.INTERNAL"));
        assert!(!allows_host(&known, "internal"));
        assert!(allows(&allowed(&["0.0.0.0/0"]), "127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_neither_a_host_nor_a_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0.0/x", "a b", "http://x", "x/8"] {
            let why = text.parse::<Allowed>().unwrap_err();
            assert!(why.contains("10.0.0.0/8"), "{why}");
        }
        let shown: Vec<_> =
            allowed(&["fd00::/8", "1.2.3.4", "x"]).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["fd00::/8", "1.2.3.4/32", "x"]);
    }
}
