//! The hub: compiles scripts, keeps the durable queue, serves it over HTTP.
