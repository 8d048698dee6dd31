//! What can be said on the command line.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Options of `trunkline demo`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  trunkline demo --input docs
  trunkline demo --python --input docs")]
pub(crate) struct DemoArgs {
    /// The folder whose text files are worked on
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) input: PathBuf,
    /// Most files to work on
    #[arg(long, value_name = "N", default_value_t = 400,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) files: u32,
    /// Leave the broker and the agents running
    #[arg(long)]
    pub(super) keep: bool,
    /// Run the examples in Python instead, which need the package trunkline
    #[arg(long, conflicts_with_all = ["keep", "files"])]
    pub(super) python: bool,
    /// Be one of the demo's agents; the demo starts itself with this
    #[arg(long, hide = true, value_enum, requires = "broker")]
    pub(super) role: Option<Role>,
    /// The broker of such an agent
    #[arg(long, hide = true)]
    pub(super) broker: Option<String>,
    /// The number of such an agent among its like
    #[arg(long, hide = true, default_value_t = 1)]
    pub(super) number: u32,
}

/// What an agent of the demo does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Role {
    /// Counts the words of a text.
    CountWords,
    /// Finds what a text leaves to be done.
    FindTodo,
    /// Asks the other two about a file and says what they said.
    Summary,
}

impl Role {
    /// The role's word, which is also the skill and the start of the agent's id.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::CountWords => "count-words",
            Self::FindTodo => "find-todo",
            Self::Summary => "summary",
        }
    }
}
