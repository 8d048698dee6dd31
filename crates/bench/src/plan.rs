//! The runs that one command asks for: one for each combination of the numbers that its options
//! list.

use crate::BenchError;
use crate::cli::BenchArgs;
use std::path::PathBuf;
use trunkline_client::Transport;

/// Most runs of one command.
const MOST: usize = 100;

/// What is asked of one run; `None` is whatever the scenario does when nothing is said.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) in_flight: Option<u32>,
    pub(crate) payload: Option<usize>,
    pub(crate) seconds: Option<f64>,
    pub(crate) count: Option<u64>,
    pub(crate) agents: Option<u32>,
    pub(crate) topics: Option<u32>,
    pub(crate) workers: Option<u32>,
    pub(crate) batch: Option<u32>,
    pub(crate) senders: Option<u32>,
    pub(crate) rate: Option<u32>,
    pub(crate) delay: Option<u32>,
    pub(crate) tuned: bool,
    pub(crate) transport: Option<Transport>,
    pub(crate) url: Option<String>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) set: Vec<String>,
}

/// The runs of a command, in the order of the lists, the first list outermost.
///
/// # Errors
/// There are too many.
pub(crate) fn runs(args: &BenchArgs) -> Result<Vec<Wanted>, BenchError> {
    let BenchArgs {
        scenario,
        in_flight,
        payload,
        seconds,
        count,
        agents,
        topics,
        workers,
        batch,
        senders,
        rate,
        delay,
        tuned,
        // Whoever runs them does so several times.
        rounds: _,
        transport,
        url,
        dir,
        set,
        // Whoever runs them tells it.
        commit: _,
    } = args;
    let or_usual = |given: &[u32], usual: &[u32]| match given {
        [] => usual.to_vec(),
        given => given.to_vec(),
    };
    let first = Wanted {
        seconds: *seconds,
        count: *count,
        senders: *senders,
        tuned: *tuned,
        url: url.clone(),
        dir: dir.clone(),
        set: set.clone(),
        ..Wanted::default()
    };
    let runs = vec![first];
    let runs = each(runs, payload, |run, payload| Wanted { payload: Some(payload), ..run });
    let runs = each(runs, agents, |run, agents| Wanted { agents: Some(agents), ..run });
    let runs = each(runs, topics, |run, topics| Wanted { topics: Some(topics), ..run });
    let runs = each(runs, workers, |run, workers| Wanted { workers: Some(workers), ..run });
    let windows = or_usual(in_flight, scenario.usual_windows());
    let runs = each(runs, &windows, |run, most| Wanted { in_flight: Some(most), ..run });
    let runs = each(runs, batch, |run, batch| Wanted { batch: Some(batch), ..run });
    let rates = or_usual(rate, scenario.usual_rates());
    let runs = each(runs, &rates, |run, rate| Wanted { rate: Some(rate), ..run });
    let delays = or_usual(delay, scenario.usual_delays());
    let runs = each(runs, &delays, |run, delay| Wanted { delay: Some(delay), ..run });
    let runs = each(runs, transport, |run, transport| Wanted { transport: Some(transport), ..run });
    match runs.len() {
        many if many > MOST => Err(BenchError::Runs { many, most: MOST }),
        _ => Ok(runs),
    }
}

/// Each run with each value; as it was, if there is none.
fn each<T: Copy>(
    runs: Vec<Wanted>,
    values: &[T],
    with: impl Fn(Wanted, T) -> Wanted,
) -> Vec<Wanted> {
    if values.is_empty() {
        return runs;
    }
    let one = |run: Wanted| values.iter().map(move |value| (run.clone(), *value));
    runs.into_iter().flat_map(one).map(|(run, value)| with(run, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;

    #[test]
    fn every_combination_is_a_run_and_what_is_not_listed_stays_as_it_is() {
        let args = BenchArgs {
            batch: vec![1, 10],
            workers: vec![1, 3, 5],
            payload: vec![64],
            transport: vec![Transport::Grpc],
            ..BenchArgs::new(Scenario::Oneway)
        };
        let runs = runs(&args).unwrap();
        let seen: Vec<_> = runs.iter().map(|run| (run.workers, run.batch)).collect();
        let expected = [1, 3, 5]
            .into_iter()
            .flat_map(|workers| [1, 10].into_iter().map(move |batch| (Some(workers), Some(batch))));
        assert_eq!(seen, expected.collect::<Vec<_>>());
        assert!(runs.iter().all(|run| run.payload == Some(64) && run.rate.is_none()));
        assert!(runs.iter().all(|run| run.transport == Some(Transport::Grpc)));
    }

    #[test]
    fn latency_has_rates_of_its_own_unless_others_are_named() {
        let rates = |rate: Vec<u32>| {
            let args = BenchArgs { rate, ..BenchArgs::new(Scenario::Latency) };
            runs(&args).unwrap().iter().filter_map(|run| run.rate).collect::<Vec<_>>()
        };
        assert_eq!(rates(Vec::new()), [100, 1_000, 10_000, 100_000]);
        assert_eq!(rates(vec![7]), [7]);
    }

    #[test]
    fn more_runs_than_somebody_can_mean_are_refused() {
        let args = BenchArgs {
            batch: (1..12).collect(),
            workers: (1..12).collect(),
            ..BenchArgs::new(Scenario::Oneway)
        };
        let error = runs(&args).unwrap_err().to_string();
        assert_eq!(error, "the lists make 121 runs, the most is 100; name fewer numbers");
    }
}
