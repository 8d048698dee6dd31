//! What the compiler does not check, held by rules over the tree and `cargo metadata`.
//!
//! Each rule is a file with its table of limits and exceptions at the top. A rule only reports;
//! nothing here changes the tree, and nothing has to be compiled first but this crate. Read
//! `check` for the list of rules.

mod check;
mod doubles;
mod edges;
mod finding;
mod guarantees;
mod layers;
mod licences;
mod links;
mod metadata;
mod module_docs;
mod paths;
mod reference;
mod sizes;
mod spdx;
mod tree;
mod words;

pub(crate) use check::report;
