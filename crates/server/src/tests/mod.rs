//! The server over real sockets, in front of a broker that does what a test tells it.

mod bench;
mod calls;
mod connect;
mod framed;
mod http;
mod operators;
pub(crate) mod scripted;
mod shutdown;
mod welcomes;
