//! Version 0.3 of the standard, which clients speak that say no version.
//!
//! Owns the difference and nothing else: requests are made into those of 1.0 before an operation
//! sees them, and what it answers is told as 0.3 told it. There are two ways to write 0.3: JSON-RPC
//! tells kinds apart by a field `kind`, and HTTP+JSON is the JSON of that version's proto file. A
//! request may come in either, because clients of HTTP+JSON are seen that send the first.

mod answer;
mod card;
mod downstream;
mod request;

pub(crate) use answer::{Form, fault_type, message, pushed, rpc_code, sent, streamed, task};
pub(crate) use card::add_to;
pub(crate) use downstream::told;
pub(crate) use request::{named_config, named_task, push_config, push_config_of, send};
