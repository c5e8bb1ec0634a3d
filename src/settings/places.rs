//! Where services listen and where clients find them: flags, settings, what a running service noted, defaults.

use super::source::{SettingError, Sources};
use super::table::{self, Setting};
use super::value::Host;
use crate::address::{Address, PartialAddress};
use crate::data_dir::{DataDir, Service};
use crate::error::{Error, Result};

/// Port of the hub where none is named.
pub const HUB_PORT: u16 = 65432;
/// Port of the bucket server where none is named.
pub const BUCKET_PORT: u16 = 61535;

/// The settings that name one place.
struct Place {
    host: &'static Setting,
    port: &'static Setting,
    default_port: u16,
}

const HUB: Place = Place { host: &table::PIPELINE_HOST, port: &table::PIPELINE_PORT, default_port: HUB_PORT };
const HUB_OF_WORKER: Place =
    Place { host: &table::PIPE_WORKER_HOST, port: &table::PIPE_WORKER_PORT, default_port: HUB_PORT };
const BUCKET_SERVER: Place =
    Place { host: &table::BUCKET_SERVER_HOST, port: &table::BUCKET_SERVER_PORT, default_port: BUCKET_PORT };
const BUCKET_OF_CLIENT: Place =
    Place { host: &table::BUCKET_CLIENT_HOST, port: &table::BUCKET_CLIENT_PORT, default_port: BUCKET_PORT };

impl Place {
    /// What the flag says, else what the settings say, else `None`.
    fn named(&self, flag: Option<&PartialAddress>, sources: &Sources) -> Result<Option<Address>, SettingError> {
        if let Some(flag) = flag {
            return Ok(Some(flag.clone().with_default_port(self.default_port)));
        }
        let host = sources.read::<Host>(self.host)?;
        let port = sources.read::<u16>(self.port)?;
        Ok((host.is_some() || port.is_some()).then(|| Address {
            host: host.map_or_else(|| Address::loopback(0).host, |host| host.0),
            port: port.unwrap_or(self.default_port),
        }))
    }

    fn listen(&self, flag: Option<&PartialAddress>, sources: &Sources) -> Result<Address, SettingError> {
        Ok(self.named(flag, sources)?.unwrap_or_else(|| Address::loopback(self.default_port)))
    }

    /// A service that listens on another port than the default noted it in the data folder.
    fn connect(
        &self,
        flag: Option<&PartialAddress>,
        sources: &Sources,
        data_dir: &DataDir,
        service: Service,
    ) -> Result<Address> {
        let named = self.named(flag, sources)?;
        let address = named
            .or_else(|| data_dir.noted_address(service))
            .unwrap_or_else(|| Address::loopback(self.default_port))
            .to_connect();
        if address.port == 0 {
            let message = format!("cannot connect to port 0 of {}", address.host);
            return Err(Error::usage(message).hint("port 0 is for services: they take any free port and print it"));
        }
        Ok(address)
    }
}

/// Where the hub listens.
pub fn hub_listens(flag: Option<&PartialAddress>, sources: &Sources) -> Result<Address> {
    Ok(HUB.listen(flag, sources)?)
}

/// Where a user's command finds the hub.
pub fn hub_of_user(flag: Option<&PartialAddress>, sources: &Sources, data_dir: &DataDir) -> Result<Address> {
    HUB.connect(flag, sources, data_dir, Service::Hub)
}

/// Where a worker finds the hub.
pub fn hub_of_worker(flag: Option<&PartialAddress>, sources: &Sources, data_dir: &DataDir) -> Result<Address> {
    HUB_OF_WORKER.connect(flag, sources, data_dir, Service::Hub)
}

/// Where the bucket server listens.
pub fn bucket_listens(flag: Option<&PartialAddress>, sources: &Sources) -> Result<Address> {
    Ok(BUCKET_SERVER.listen(flag, sources)?)
}

/// What hub and workers keep values in: `-k`, BUE_BUCKET, or a bucket server.
pub fn bucket_of_client(flag: Option<&str>, sources: &Sources, data_dir: &DataDir) -> Result<bucket::BucketUrl> {
    let named = match flag {
        Some(flag) => Some(
            named_bucket(flag).map_err(|expected| Error::usage(format_args!("-k is `{flag}`, expected {expected}")))?,
        ),
        None => sources.read_by(&table::BUE_BUCKET, named_bucket)?,
    };
    let server = match named {
        Some(NamedBucket::Url(url)) => return in_region(url, sources),
        Some(NamedBucket::Server(server)) => Some(server),
        None => None,
    };
    let address = BUCKET_OF_CLIENT.connect(server.as_ref(), sources, data_dir, Service::Bucket)?;
    address.to_string().parse().map_err(Error::usage)
}

/// What names the bucket, for errors: the flag, or the setting and where it was found; `None` where it is a bucket server that
/// other settings name.
pub fn name_of_bucket(flag: Option<&str>, sources: &Sources) -> Option<String> {
    match flag {
        Some(_) => Some("-k".to_owned()),
        None => sources.origin(&table::BUE_BUCKET).map(|origin| format!("{} from {origin}", table::BUE_BUCKET.name)),
    }
}

/// A bucket as people name it.
enum NamedBucket {
    Url(bucket::BucketUrl),
    Server(PartialAddress),
}

fn named_bucket(text: &str) -> Result<NamedBucket, String> {
    let expected = "`host:port` of a `bue bucket`, `file:///folder` or `s3://bucket/prefix?endpoint=http://host:9000`";
    if ["file://", "s3://"].iter().any(|scheme| text.starts_with(scheme)) {
        let url = text.parse().map_err(|error: bucket::BucketUrlError| format!("{expected}: {}", error.reason()));
        return url.map(NamedBucket::Url);
    }
    text.parse().map(NamedBucket::Server).map_err(|_| expected.to_owned())
}

/// The bucket in the region that the environment names, where its URL names none.
fn in_region(mut url: bucket::BucketUrl, sources: &Sources) -> Result<bucket::BucketUrl> {
    if let bucket::BucketUrl::S3(s3) = &mut url
        && s3.region.is_none()
    {
        s3.region = match sources.read(&table::AWS_REGION)? {
            Some(region) => Some(region),
            None => sources.read(&table::AWS_DEFAULT_REGION)?,
        };
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere() -> DataDir {
        DataDir::new("/nonexistent/data".into())
    }

    #[test]
    fn flags_beat_settings_and_settings_beat_defaults() {
        let sources = Sources::of(&[("PIPELINE_HOST", "0.0.0.0"), ("PIPE_WORKER_PORT", "7")], &[]);
        let flag: PartialAddress = "10.0.0.1".parse().unwrap();
        assert_eq!(hub_listens(Some(&flag), &sources).unwrap().to_string(), "10.0.0.1:65432");
        assert_eq!(hub_listens(None, &sources).unwrap().to_string(), "0.0.0.0:65432");
        assert_eq!(hub_of_user(None, &sources, &nowhere()).unwrap().to_string(), "127.0.0.1:65432");
        assert_eq!(hub_of_worker(None, &sources, &nowhere()).unwrap().to_string(), "127.0.0.1:7");
        assert_eq!(bucket_listens(None, &sources).unwrap().to_string(), "127.0.0.1:61535");
    }

    #[test]
    fn a_bucket_is_a_server_or_a_url() {
        let sources = Sources::of(&[("BUCKET_CLIENT_HOST", "bucket.internal")], &[]);
        let url = |flag| bucket_of_client(flag, &sources, &nowhere()).map(|url| url.to_string());
        assert_eq!(url(None).unwrap(), "bucket.internal:61535");
        assert_eq!(url(Some("localhost")).unwrap(), "localhost:61535");
        assert_eq!(url(Some("file:///data/values")).unwrap(), "file:///data/values");
        assert!(url(Some("ftp://x")).unwrap_err().to_string().contains("ftp://x"));
    }

    #[test]
    fn the_region_of_the_environment_is_that_of_a_bucket_whose_url_names_none() {
        let url = |flag: &str, variables: &[(&'static str, &str)]| {
            bucket_of_client(Some(flag), &Sources::of(variables, &[]), &nowhere()).unwrap().to_string()
        };
        let both = [("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-north-1")];
        assert_eq!(url("s3://b", &both), "s3://b?region=eu-west-1");
        assert_eq!(url("s3://b", &both[1..]), "s3://b?region=eu-north-1");
        assert_eq!(url("s3://b?region=us-west-2", &both), "s3://b?region=us-west-2");
        assert_eq!(url("s3://b", &[]), "s3://b");
    }

    #[test]
    fn what_a_running_service_noted_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::new(folder.path().to_owned());
        let _note = data_dir.note_address(Service::Hub, &Address::loopback(4711)).unwrap();
        assert_eq!(hub_of_worker(None, &Sources::default(), &data_dir).unwrap().port, 4711);
        assert_eq!(hub_of_user(None, &Sources::of(&[("PIPELINE_PORT", "5")], &[]), &data_dir).unwrap().port, 5);
    }
}
