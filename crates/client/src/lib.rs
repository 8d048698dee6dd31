//! The Rust client over gRPC: reconnect, resume, batching.
