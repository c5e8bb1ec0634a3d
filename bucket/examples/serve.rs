//! Serves a folder as S3 until it is ended: `serve FOLDER ADDRESS`, with the key pair in `AWS_ACCESS_KEY_ID` and
//! `AWS_SECRET_ACCESS_KEY`. Prints the address it listens on, so that port 0 can be asked for.

use bue_bucket::Credentials;
use bue_bucket::server::{Limits, ServerConfig, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(folder), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve FOLDER ADDRESS".into());
    };
    let address = address.into_string().map_err(|_| "the address is not text")?;
    let credentials = Credentials::from_environment().ok_or("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")?;
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    let config = ServerConfig { folder: folder.into(), credentials, limits: Limits::default() };
    serve(listener, config, CancellationToken::new()).await?;
    Ok(())
}
