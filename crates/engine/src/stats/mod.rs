//! Figures, answers to questions, and the state as checks see it.

mod check;
mod page;
mod query;
