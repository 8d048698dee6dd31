//! One run made several times: the report of the middle one, and how far the others are from it.

use crate::report::{Figure, Goal, grouped, span};
use crate::{BenchError, BenchReport};
use serde::Serialize;

/// Most rounds of one run.
const MOST: u32 = 25;

/// How the rounds of a run differ.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Rounds {
    /// How many there were.
    pub count: usize,
    /// Their rates; `None` if the counts of one do not agree.
    pub rate_per_s: Option<Spread>,
    /// Their median latencies in microseconds; `None` as for the rates.
    pub p50_us: Option<Spread>,
    /// Their 99th percentiles in microseconds; `None` as for the rates.
    pub p99_us: Option<Spread>,
}

/// What the rounds gave of one figure.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Spread {
    /// The middle one; the mean of the two in the middle if their number is even.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// That of some values; `None` if there is none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), least, most })
    }
}

impl Rounds {
    /// The rounds as rows of a table: what, and how much.
    pub(crate) fn rows(&self) -> Vec<(&'static str, String)> {
        let row = |what, spread: Option<Spread>, shown: fn(f64) -> String| {
            let Spread { median, least, most } = spread?;
            let (median, least, most) = (shown(median), shown(least), shown(most));
            Some((what, format!("median {median}, {least} to {most}")))
        };
        let rate = |value: f64| format!("{} /s", grouped(value.round()));
        let rows = [
            Some(("rounds, of which this is the middle one", self.count.to_string())),
            row("rate of the rounds", self.rate_per_s, rate),
            row("p50 of the rounds", self.p50_us, span),
            row("p99 of the rounds", self.p99_us, span),
        ];
        rows.into_iter().flatten().collect()
    }
}

/// How many rounds, if so many can be meant.
///
/// # Errors
/// [`BenchError::Range`] otherwise.
pub(crate) fn check(rounds: u32) -> Result<u32, BenchError> {
    if (1..=MOST).contains(&rounds) {
        return Ok(rounds);
    }
    let (value, least, most) = (rounds.to_string(), "1".to_owned(), MOST.to_string());
    Err(BenchError::Range { option: "rounds", value, least, most })
}

/// The report of one run that was made so many times: that of the round with the middle rate, but for
/// its figures, which are the medians of those of all rounds with the least and the most. It has
/// passed if the counts of every round agree and each goal is met: by the median of its values, or by
/// the worst where it tells of something that may never happen. `None` of no report.
pub(crate) fn combine(mut reports: Vec<BenchReport>) -> Option<BenchReport> {
    if reports.len() < 2 {
        return reports.pop();
    }
    let whole = |value: fn(&BenchReport) -> Option<f64>| {
        Spread::of(reports.iter().map(value).collect::<Option<Vec<f64>>>()?)
    };
    let rounds = Rounds {
        count: reports.len(),
        rate_per_s: whole(|report| report.rate_per_s),
        p50_us: whole(|report| report.latency_us.map(|latency| latency.p50)),
        p99_us: whole(|report| report.latency_us.map(|latency| latency.p99)),
    };
    let figures = figures(&reports);
    let goals: Vec<Goal> = (0..reports[0].goals.len()).map(|at| goal(&reports, at)).collect();
    let told = (1..).zip(&reports).flat_map(|(round, report)| {
        report.disagreements.iter().map(move |text| format!("round {round}: {text}"))
    });
    let disagreements: Vec<String> = told.collect();
    reports.sort_by(|one, other| {
        let rate = |report: &BenchReport| report.rate_per_s.unwrap_or(f64::MIN);
        rate(one).total_cmp(&rate(other))
    });
    let mut middle = reports.swap_remove((reports.len() - 1) / 2);
    if !disagreements.is_empty() {
        middle.rate_per_s = None;
        middle.latency_us = None;
    }
    middle.pass = disagreements.is_empty();
    middle.disagreements = disagreements;
    middle.rounds = Some(rounds);
    middle.figures = figures;
    Some(middle.with_goals(goals))
}

/// The figures that every round has, each with what it was in all of them.
fn figures(reports: &[BenchReport]) -> Vec<Figure> {
    let of = |report: &BenchReport, what: &str| {
        report.figures.iter().find(|figure| figure.what == what).map(|figure| figure.value)
    };
    let figures = reports[0].figures.iter().filter_map(|Figure { what, .. }| {
        let values: Option<Vec<f64>> = reports.iter().map(|report| of(report, what)).collect();
        let spread = Spread::of(values?)?;
        Some(Figure { rounds: Some(spread), ..Figure::new(what, spread.median) })
    });
    figures.collect()
}

/// A goal over all rounds: the median of its values, or the worst where no round may miss it;
/// unknown if that of one is.
fn goal(reports: &[BenchReport], at: usize) -> Goal {
    let goals = reports.iter().filter_map(|report| report.goals.get(at));
    let values: Option<Vec<f64>> = goals.map(|goal| goal.value).collect();
    let whole = values.filter(|values| values.len() == reports.len());
    let spread = whole.and_then(Spread::of);
    let Goal { what, limit, in_every_round, .. } = &reports[0].goals[at];
    let value = spread.map(|spread| if *in_every_round { spread.most } else { spread.median });
    Goal { in_every_round: *in_every_round, ..Goal::below(what, value, *limit) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{CpuSeconds, LatencyMicros, Measures};
    use crate::stage::Stage;
    use crate::{Config, Scenario, plan::Wanted};

    fn report(rate: Option<f64>, goal: f64) -> BenchReport {
        let config = Config::new(Scenario::Inproc, &Wanted::default()).unwrap();
        let stage = Stage::new(Scenario::Inproc, config);
        let measures = Measures { rate: "settled", latency: "sent until handled" };
        let latency = LatencyMicros::single(1_000);
        let span = std::time::Duration::from_secs(1);
        let mut report = stage.report_elsewhere(stage.ledger.counts(), span, latency, measures);
        report.cpu_s = CpuSeconds { broker: None, load: None };
        report.rate_per_s = rate;
        if rate.is_none() {
            report.pass = false;
            report.disagreements = vec!["sent 2, settled 1".to_owned()];
        }
        report.with_goals(vec![Goal::below("cost", rate.map(|_| goal), 10.0)])
    }

    #[tokio::test]
    async fn the_middle_round_is_told_with_the_spread_of_all_and_goals_by_their_median() {
        let rounds =
            vec![report(Some(30.0), 9.0), report(Some(10.0), 99.0), report(Some(20.0), 8.0)];
        let combined = combine(rounds).unwrap();
        assert_eq!(combined.rate_per_s, Some(20.0));
        let spread = Spread { median: 20.0, least: 10.0, most: 30.0 };
        let told = combined.rounds.unwrap();
        assert_eq!((told.count, told.rate_per_s), (3, Some(spread)));
        assert_eq!(told.p50_us.map(|it| it.median), Some(1.0));
        assert_eq!(combined.goals, [Goal::below("cost", Some(9.0), 10.0)]);
        assert!(combined.passed());
        let rows = combined.rows();
        assert!(rows.iter().any(|row| row.1 == "median 20 /s, 10 /s to 30 /s"), "{rows:?}");
        // What is not met in the middle is not met.
        let rounds = vec![report(Some(1.0), 99.0), report(Some(2.0), 98.0)];
        assert!(!combine(rounds).unwrap().passed());
    }

    #[tokio::test]
    async fn what_may_never_happen_is_missed_where_one_round_missed_it() {
        let never = |value| {
            let goal = Goal::below("it happened", Some(value), 1.0).in_every_round();
            report(Some(1.0), 1.0).with_goals(vec![goal])
        };
        let combined = combine(vec![never(0.0), never(1.0), never(0.0)]).unwrap();
        assert_eq!((combined.goals[0].value, combined.passed()), (Some(1.0), false));
        assert!(combine(vec![never(0.0), never(0.0)]).unwrap().passed());
    }

    #[tokio::test]
    async fn figures_are_the_medians_of_all_rounds_with_their_spread() {
        let seen = |rate, values: &[(&str, f64)]| {
            let mut report = report(Some(rate), 1.0);
            report.figures =
                values.iter().map(|(what, value)| Figure::new(*what, *value)).collect();
            report
        };
        let rounds = vec![
            seen(2.0, &[("ratio", 0.5), ("once", 1.0)]),
            seen(1.0, &[("ratio", 0.9)]),
            seen(3.0, &[("ratio", 0.8), ("once", 1.0)]),
        ];
        let combined = combine(rounds).unwrap();
        assert_eq!(combined.rate_per_s, Some(2.0));
        let spread = Spread { median: 0.8, least: 0.5, most: 0.9 };
        // What one round does not tell is known of none.
        let ratio = Figure { rounds: Some(spread), ..Figure::new("ratio", 0.8) };
        assert_eq!(combined.figures, [ratio]);
        let rows = combined.rows();
        assert!(rows.iter().any(|row| row.1 == "median 0.800, 0.500 to 0.900"), "{rows:?}");
    }

    #[tokio::test]
    async fn a_round_whose_counts_do_not_agree_leaves_no_figure() {
        let rounds = vec![report(Some(30.0), 1.0), report(None, 1.0), report(Some(20.0), 1.0)];
        let combined = combine(rounds).unwrap();
        assert!(!combined.passed());
        assert_eq!((combined.rate_per_s, combined.latency_us), (None, None));
        assert_eq!(combined.disagreements, ["round 2: sent 2, settled 1"]);
        assert_eq!(combined.rounds.unwrap().rate_per_s, None);
        assert_eq!(combined.goals[0].value, None);
    }

    #[tokio::test]
    async fn one_round_is_what_it_is_and_too_many_are_refused() {
        let one = combine(vec![report(Some(5.0), 1.0)]).unwrap();
        assert!(one.rounds.is_none() && one.passed());
        assert_eq!(check(26).unwrap_err().to_string(), "--rounds is 26, the range is 1 to 25");
        assert!(check(0).is_err() && check(25).is_ok());
    }

    #[test]
    fn an_even_number_of_values_has_the_mean_of_its_middle_ones() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
