//! A real S3 service of somebody else: SeaweedFS.

#![allow(dead_code, missing_docs, reason = "each test file uses a part of it")]

mod server;

use server::Server;

use crate::fleet::{Fleet, eventually};

/// A running server.
pub struct Weed {
    server: Server,
}

impl Weed {
    /// Starts it and waits until its bucket takes objects.
    pub fn start() -> Self {
        let weed = Self { server: Server::start() };
        weed.wait();
        weed
    }

    /// A fleet that keeps its values there.
    pub fn fleet(&self) -> Fleet {
        Fleet::empty()
            .with("BUE_BUCKET", &self.server.url())
            .with("AWS_ACCESS_KEY_ID", "key")
            .with("AWS_SECRET_ACCESS_KEY", "secret")
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again, with what it had.
    pub fn restart(&mut self) {
        self.server.restart();
        self.wait();
    }

    fn wait(&self) {
        bucket::install_tls();
        let keys = bucket::Credentials::new("key", "secret");
        let bucket = bucket::Bucket::open(&self.server.url().parse().unwrap(), Some(&keys)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        eventually("SeaweedFS", || {
            let put = runtime.block_on(bucket.put("ready", bytes::Bytes::from_static(b"x")));
            put.is_ok().then_some(())
        });
    }
}
