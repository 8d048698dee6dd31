//! What came of a row: figures and their ratio, or why there are none.

use std::fmt;

use serde::Serialize;

use crate::row::{Figure, Row};

/// One of the two.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Trunkline,
    Rival,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trunkline => "Trunkline",
            Self::Rival => "the rival",
        })
    }
}

/// What came of a row.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Outcome {
    /// The name of the row.
    pub(crate) row: String,
    /// What was done.
    pub(crate) work: String,
    /// What the figures are.
    pub(crate) figure: Figure,
    #[serde(flatten)]
    pub(crate) result: Verdict,
}

/// Figures, or why there are none.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Both sides came to figures that count.
    Measured(Ratio),
    /// The rival is not to be had.
    Skipped(String),
    /// A side came to nothing.
    Failed(String),
}

/// Medians over all rounds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) trunkline: f64,
    pub(crate) rival: f64,
    /// How many times better Trunkline is: above 1 it is the better one.
    pub(crate) times: f64,
    /// The least and the most that it was in a round.
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
}

impl Outcome {
    fn new(row: Row, result: Verdict) -> Self {
        Self { row: row.name(), work: row.title(), figure: row.figure(), result }
    }

    /// Both came to a figure in every round: Trunkline's and the rival's.
    pub(crate) fn measured(row: Row, rounds: &[(f64, f64)]) -> Self {
        let ratios = rounds.iter().map(|&(ours, theirs)| match row.figure() {
            Figure::PerSecond => ours / theirs,
            Figure::MedianMicros => theirs / ours,
        });
        let ratios = sorted(ratios);
        let ratio = Ratio {
            trunkline: median(&sorted(rounds.iter().map(|round| round.0))),
            rival: median(&sorted(rounds.iter().map(|round| round.1))),
            times: median(&ratios),
            least: ratios.first().copied().unwrap_or(f64::NAN),
            most: ratios.last().copied().unwrap_or(f64::NAN),
            rounds: rounds.len(),
        };
        Self::new(row, Verdict::Measured(ratio))
    }

    /// The rival is not to be had.
    pub(crate) fn skipped(row: Row, why: &str) -> Self {
        Self::new(row, Verdict::Skipped(why.to_owned()))
    }

    /// A side came to nothing.
    pub(crate) fn failed(row: Row, why: &str) -> Self {
        Self::new(row, Verdict::Failed(why.to_owned()))
    }

    /// One line while others are still to come.
    pub(crate) fn in_short(&self) -> String {
        match &self.result {
            Verdict::Measured(Ratio { times, least, most, .. }) => {
                format!("{times:.2} times the rival ({least:.2} to {most:.2})")
            }
            Verdict::Skipped(why) => format!("skipped: {why}"),
            Verdict::Failed(why) => format!("failed: {why}"),
        }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle of sorted values; of two in the middle their mean.
fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted {
        [] => f64::NAN,
        _ if sorted.len() % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Rival, Transport, Work};

    fn ratio(work: Work, rounds: &[(f64, f64)]) -> Ratio {
        let row = Row { work, rival: Rival::Nats, transport: Transport::Framed };
        match Outcome::measured(row, rounds).result {
            Verdict::Measured(ratio) => ratio,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn above_one_is_better_whether_more_or_less_is() {
        let rounds = [(30.0, 10.0), (20.0, 10.0), (10.0, 10.0)];
        let many = ratio(Work::Oneway, &rounds);
        assert_eq!((many.times, many.least, many.most, many.rounds), (2.0, 1.0, 3.0, 3));
        assert_eq!((many.trunkline, many.rival), (20.0, 10.0));
        let one = ratio(Work::Request(1), &[(5.0, 10.0), (10.0, 10.0)]);
        assert_eq!((one.times, one.least, one.most), (1.5, 1.0, 2.0));
    }

    #[test]
    fn the_ratio_is_of_rounds_and_not_of_medians() {
        let rounds = [(1.0, 1.0), (10.0, 2.0), (4.0, 4.0)];
        let once = ratio(Work::Oneway, &rounds);
        assert_eq!((once.times, once.most), (1.0, 5.0));
    }
}
