//! `host:port`, as people write it.

use std::fmt;
use std::str::FromStr;

/// Where a service listens, or where a client finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port; 0 only for listening: any free one.
    pub port: u16,
}

/// An address whose port may have been left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialAddress {
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port, where one was given.
    pub port: Option<u16>,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address: expected `host:port`, such as `localhost:65432`")]
pub struct AddressError(String);

impl PartialAddress {
    /// The address, with this port where none was given.
    pub fn with_default_port(self, port: u16) -> Address {
        Address { host: self.host, port: self.port.unwrap_or(port) }
    }
}

impl FromStr for PartialAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.chars().take(80).collect());
        let bare = text.strip_prefix("http://").unwrap_or(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let (host, port) = split(bare).ok_or_else(wrong)?;
        let port = port.map(|port| port.parse().map_err(|_| wrong())).transpose()?;
        let plain = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._:%".contains(c));
        if plain { Ok(Self { host: host.to_owned(), port }) } else { Err(wrong()) }
    }
}

/// Host and port; an IPv6 address stands in brackets where a port follows.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest {
            "" => Some((host, None)),
            _ => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    match text.matches(':').count() {
        0 => Some((text, None)),
        1 => text.split_once(':').map(|(host, port)| (host, Some(port))),
        _ => text.parse::<std::net::Ipv6Addr>().is_ok().then_some((text, None)),
    }
}

impl Address {
    /// Loopback: what everything uses unless told otherwise.
    pub fn loopback(port: u16) -> Self {
        Self { host: "127.0.0.1".to_owned(), port }
    }

    /// Where a client on this machine reaches a service that listens here: "every address" is no place to connect to.
    pub fn to_connect(&self) -> Self {
        let host = match self.host.as_str() {
            "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        };
        Self { host: host.to_owned(), port: self.port }
    }

    /// Whether it can only mean this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self
                .host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback() || address.is_unspecified())
    }

    /// As the beginning of a URL.
    pub fn url(&self) -> String {
        format!("http://{self}")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        text.parse::<PartialAddress>().unwrap().with_default_port(7).to_string()
    }

    #[test]
    fn an_address_reads_with_and_without_its_port() {
        assert_eq!(read("localhost:65432"), "localhost:65432");
        assert_eq!(read("localhost"), "localhost:7");
        assert_eq!(read("http://10.0.0.1:80/"), "10.0.0.1:80");
        assert_eq!(read("[::1]:80"), "[::1]:80");
        assert_eq!(read("::1"), "[::1]:7");
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for text in [
            "",
            ":80",
            "host:",
            "host:port",
            "host:70000",
            "a b:1",
            "[::1",
            "[::1]80",
            "s3://x/y",
            "host:1/path",
            "nonsense:1:2",
        ] {
            let error = text.parse::<PartialAddress>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn every_address_of_a_machine_is_reached_by_loopback() {
        assert_eq!(Address { host: "0.0.0.0".to_owned(), port: 1 }.to_connect(), Address::loopback(1));
        assert!(Address { host: "::1".to_owned(), port: 1 }.is_loopback());
        assert!(!Address { host: "10.0.0.1".to_owned(), port: 1 }.is_loopback());
    }
}
