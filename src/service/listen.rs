//! Listening sockets, with errors that name the port and the way out.

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::address::Address;
use crate::error::{Error, Result};

/// How long a service is given to answer that it is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before it is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// Listens at `address`; tells the address with the real port where any free one was asked for.
pub async fn bind(address: &Address) -> Result<(TcpListener, Address)> {
    let host = address.host.trim_start_matches('[').trim_end_matches(']');
    let bound = async {
        let listener = TcpListener::bind((host, address.port)).await?;
        let port = listener.local_addr()?.port();
        Ok((listener, Address { host: address.host.clone(), port }))
    };
    bound.await.map_err(|error: io::Error| explain(address, &error))
}

/// Drives a service to its end; calls `tell` as soon as it answers at `url`.
///
/// A service may fail while it opens its files, after its socket is there: it must not be called ready before.
/// What `tell` gives is kept until the end.
pub async fn until_ready<T, G>(
    serving: impl Future<Output = T>,
    url: &str,
    tell: impl FnOnce() -> Result<G>,
) -> Result<T> {
    let mut serving = pin!(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended),
        asked = first_answer(url) => asked?,
    }
    let _kept = tell()?;
    Ok(serving.await)
}

/// Waits for any answer at all: that it wants a token is one.
async fn first_answer(url: &str) -> Result {
    let client = bucket::http_client(url).build().map_err(Error::machine)?;
    while client.get(url).timeout(ANSWER_TIMEOUT).send().await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn explain(address: &Address, error: &io::Error) -> Error {
    let Address { host, port } = address;
    match error.kind() {
        io::ErrorKind::AddrInUse => Error::machine(format_args!("port {port} on {host} is in use")).hint(format_args!(
            "`ss -ltnp 'sport = :{port}'` shows by whom; -b {host}:PORT takes another one, port 0 any free one"
        )),
        io::ErrorKind::PermissionDenied => Error::machine(format_args!("may not listen on port {port} of {host}"))
            .hint("ports below 1024 are for the system; -b takes another one"),
        io::ErrorKind::AddrNotAvailable => Error::machine(format_args!("{host} is no address of this machine"))
            .hint("0.0.0.0 listens on every address of this machine, 127.0.0.1 for this machine alone"),
        _ => Error::machine(format_args!("cannot listen on {address}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_the_way_out() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::loopback(taken.local_addr().unwrap().port());
        let error = crate::context::block_on(async { bind(&address).await.map(drop) }).unwrap_err().to_string();
        assert!(error.contains(&format!("port {} on 127.0.0.1 is in use", address.port)), "{error}");
        assert!(error.contains("ss -ltnp"), "{error}");
    }
}
