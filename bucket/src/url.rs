//! Where a bucket is, as users write it: `file:///path`, `s3://bucket/prefix?endpoint=…&region=…`, `host:port`.
//!
//! A bucket URL never holds credentials, so it can be shown and logged.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::percent;

/// Name of the S3 bucket that a `bue bucket` serves to `host:port` URLs.
pub const DEFAULT_BUCKET_NAME: &str = "bue";
/// Region of a bucket whose URL names none.
pub const DEFAULT_REGION: &str = "us-east-1";

/// Where a bucket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketUrl {
    /// A folder of this machine, or one that all machines share.
    Folder(PathBuf),
    /// A bucket of an S3 service.
    S3(S3Url),
    /// A `bue bucket`, by `host:port`.
    Server(String),
}

/// A bucket of an S3 service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Url {
    /// Name of the bucket.
    pub bucket: String,
    /// What all keys begin with, without slashes around; may be empty.
    pub prefix: String,
    /// Where the service is (`http://minio:9000`); AWS when `None`.
    pub endpoint: Option<String>,
    /// Region to sign for.
    pub region: Option<String>,
    /// How requests name the bucket.
    pub style: AddressStyle,
}

/// How requests name the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressStyle {
    /// `http://endpoint/bucket/key`: what MinIO and most servers other than AWS want.
    Path,
    /// `http://bucket.endpoint/key`: what AWS wants.
    VirtualHost,
}

/// Why a text is not the URL of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not the URL of a bucket: {reason}; write `file:///path`, `s3://bucket/prefix?endpoint=http://host:9000` or `host:port`"
)]
pub struct BucketUrlError {
    text: String,
    reason: String,
}

impl BucketUrlError {
    /// What is wrong with it.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl FromStr for BucketUrl {
    type Err = BucketUrlError;

    fn from_str(text: &str) -> Result<Self, BucketUrlError> {
        let parsed = match text.split_once("://") {
            Some(("file", path)) => folder(path),
            Some(("s3", rest)) => s3(rest).map(Self::S3),
            Some((scheme, _)) => Err(format!("`{scheme}` is none of its schemes")),
            None => server(text),
        };
        parsed.map_err(|reason| BucketUrlError { text: text.to_owned(), reason })
    }
}

fn folder(path: &str) -> Result<BucketUrl, String> {
    if !path.starts_with('/') {
        return Err("the path of a folder must be absolute, so that there are three slashes".to_owned());
    }
    let decoded = percent::decode(path).ok_or("a `%` in it is not followed by two hex digits")?;
    Ok(BucketUrl::Folder(PathBuf::from(decoded)))
}

fn server(text: &str) -> Result<BucketUrl, String> {
    let (host, port) = text.rsplit_once(':').ok_or("it has neither a scheme nor a port")?;
    if host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) {
        return Err("its host is not a name or an address".to_owned());
    }
    port.parse::<u16>().ok().filter(|port| *port != 0).ok_or("its port is not a number from 1 to 65535")?;
    Ok(BucketUrl::Server(text.to_owned()))
}

fn s3(rest: &str) -> Result<S3Url, String> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() || bucket.contains(['@', ':']) {
        return Err("it does not name a bucket after `s3://` (credentials come from AWS_* variables)".to_owned());
    }
    let mut url = S3Url {
        bucket: bucket.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
        endpoint: None,
        region: None,
        style: AddressStyle::VirtualHost,
    };
    let mut style = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent::decode(value).filter(|value| !value.is_empty()).ok_or(format!("`{name}` has no value"))?;
        match name {
            "endpoint" => url.endpoint = Some(endpoint(&value)?),
            "region" => url.region = Some(value),
            "style" => style = Some(address_style(&value)?),
            _ => return Err(format!("`{name}` is none of its settings endpoint, region and style")),
        }
    }
    // Servers other than AWS rarely have a wildcard DNS entry for their buckets.
    let default = if url.endpoint.is_some() { AddressStyle::Path } else { AddressStyle::VirtualHost };
    url.style = style.unwrap_or(default);
    Ok(url)
}

fn endpoint(value: &str) -> Result<String, String> {
    let host = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains('@') => Ok(value.trim_end_matches('/').to_owned()),
        _ => Err("its endpoint does not begin with `http://` or `https://` and a host".to_owned()),
    }
}

fn address_style(value: &str) -> Result<AddressStyle, String> {
    match value {
        "path" => Ok(AddressStyle::Path),
        "virtual" => Ok(AddressStyle::VirtualHost),
        _ => Err("its style is neither `path` nor `virtual`".to_owned()),
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => {
                let plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
                write!(f, "file://{}", percent::encode(&path.to_string_lossy(), plain))
            }
            Self::S3(url) => fmt::Display::fmt(url, f),
            Self::Server(address) => f.write_str(address),
        }
    }
}

impl fmt::Display for S3Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        let style = match (self.style, &self.endpoint) {
            (AddressStyle::Path, None) => Some("path"),
            (AddressStyle::VirtualHost, Some(_)) => Some("virtual"),
            _ => None,
        };
        let settings = [("endpoint", self.endpoint.as_deref()), ("region", self.region.as_deref()), ("style", style)];
        let mut separator = '?';
        for (name, value) in settings {
            if let Some(value) = value {
                write!(f, "{separator}{name}={value}")?;
                separator = '&';
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> BucketUrl {
        text.parse().unwrap()
    }

    #[test]
    fn the_three_forms_are_read_and_written_back() {
        for text in [
            "file:///var/lib/buelon/bucket",
            "s3://bucket",
            "s3://bucket/some/prefix",
            "s3://bucket/prefix?endpoint=http://minio:9000",
            "s3://bucket?endpoint=https://minio&region=eu-central-1&style=virtual",
            "s3://bucket?style=path",
            "localhost:61535",
            "[::1]:61535",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn an_endpoint_asks_for_path_style_unless_told_otherwise() {
        let style = |text: &str| match parse(text) {
            BucketUrl::S3(url) => url.style,
            other => panic!("{other:?}"),
        };
        assert_eq!(style("s3://b"), AddressStyle::VirtualHost);
        assert_eq!(style("s3://b?endpoint=http://h:1"), AddressStyle::Path);
        assert_eq!(style("s3://b?endpoint=http://h:1&style=virtual"), AddressStyle::VirtualHost);
    }

    #[test]
    fn escapes_in_a_folder_and_an_endpoint_are_read() {
        assert_eq!(parse("file:///a%20b"), BucketUrl::Folder(PathBuf::from("/a b")));
        assert_eq!(parse("s3://b?endpoint=http%3A%2F%2Fh%3A9000"), parse("s3://b?endpoint=http://h:9000/"));
    }

    #[test]
    fn what_is_no_bucket_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "neither a scheme nor a port"),
            ("somewhere", "neither a scheme nor a port"),
            (":61535", "host"),
            ("host:0", "port"),
            ("host:99999", "port"),
            ("user@host:1", "host"),
            ("file://relative", "absolute"),
            ("file:///%", "hex digits"),
            ("s3://", "name a bucket"),
            ("s3://key:secret@bucket", "name a bucket"),
            ("s3://bucket?endpoint=minio", "endpoint"),
            ("s3://bucket?region=", "no value"),
            ("s3://bucket?color=red", "color"),
            ("s3://bucket?style=odd", "style"),
            ("ftp://host/x", "ftp"),
        ] {
            let error = text.parse::<BucketUrl>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
