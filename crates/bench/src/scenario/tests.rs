//! Short runs of the scenarios that need no other process.

use crate::cli::{BenchArgs, run};
use crate::{BenchReport, Scenario};

fn short(scenario: Scenario) -> BenchArgs {
    BenchArgs { seconds: Some(0.1), count: Some(20_000), ..BenchArgs::new(scenario) }
}

fn check(report: &BenchReport) {
    assert!(report.passed(), "{:?}", report.disagreements);
    assert!(report.sent > 0);
    assert_eq!(report.sent, report.settled + report.dead + report.expired);
    assert!(report.rate_per_s.is_some_and(|rate| rate > 0.0));
    let json = report.to_json();
    for key in [
        "scenario",
        "sent",
        "settled",
        "dead",
        "expired",
        "seconds",
        "rate_per_s",
        "peak_rss_bytes",
        "config",
    ] {
        assert!(json.get(key).is_some(), "no {key} in {json}");
    }
    for quantile in ["p50", "p95", "p99", "p999", "max"] {
        assert!(json["latency_us"][quantile].is_number(), "no {quantile} in {json}");
    }
    assert!(json["cpu_s"].get("broker").is_some() && json["cpu_s"].get("load").is_some());
    assert!(report.rows().iter().any(|(what, _)| what == "machine"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_process_one_way_settles_all_that_is_sent() {
    check(&run(short(Scenario::Inproc)).await.unwrap().reports[0]);
    let many = BenchArgs { agents: vec![10], senders: Some(3), ..short(Scenario::Inproc) };
    check(&run(many).await.unwrap().reports[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_about_many_topics_go_to_those_who_have_them_by_a_pattern() {
    for batch in [1, 7] {
        let topics = BenchArgs { agents: vec![3], topics: vec![10], ..short(Scenario::Inproc) };
        let args = BenchArgs { batch: vec![batch], ..topics };
        let report = &run(args).await.unwrap().reports[0];
        check(report);
        assert_eq!(report.config.topics, Some(10));
    }
    let args = BenchArgs { agents: vec![3], topics: vec![2], ..short(Scenario::Inproc) };
    let error = run(args).await.unwrap_err().to_string();
    let why = "of each of the 3 of --agents from 1 to 1024; name other numbers of either";
    assert_eq!(error, format!("--topics is 2, the range is 3 to 3072: {why}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_process_requests_are_answered_one_or_many_at_a_time() {
    check(&run(short(Scenario::InprocRequest)).await.unwrap().reports[0]);
    let many = BenchArgs { in_flight: vec![16], ..short(Scenario::InprocRequest) };
    check(&run(many).await.unwrap().reports[0]);
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_an_error_that_names_it() {
    let url = Some("http://127.0.0.1:1".to_owned());
    let args = BenchArgs { url, ..short(Scenario::Oneway) };
    let error = run(args).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_each_number_with_pieces_and_workers_as_they_are_named() {
    let args = BenchArgs { batch: vec![1, 7], workers: vec![1, 3], ..short(Scenario::Inproc) };
    let reports = run(args).await.unwrap().reports;
    reports.iter().for_each(check);
    let config = |report: &BenchReport| {
        let config = &report.config;
        (config.workers.unwrap(), config.batch.unwrap(), config.take.unwrap())
    };
    let configs: Vec<_> = reports.iter().map(config).collect();
    assert_eq!(configs, [(1, 1, 1), (1, 7, 7), (3, 1, 1), (3, 7, 7)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_agents_in_process_settle_all_that_four_senders_send() {
    let reports = run(short(Scenario::InprocAgents)).await.unwrap().reports;
    check(&reports[0]);
    assert_eq!((reports[0].config.agents, reports[0].config.senders), (1_000, Some(4)));
}

#[tokio::test]
async fn a_window_without_room_for_one_copy_each_and_a_piece_beyond_it_are_refused() {
    let args = BenchArgs { in_flight: vec![99], ..short(Scenario::Fanout) };
    let error = run(args).await.unwrap_err().to_string();
    assert_eq!(error, "--in-flight is 99, the range is 100 to 1048576");
    let args = BenchArgs { batch: vec![101], in_flight: vec![100], ..short(Scenario::Inproc) };
    let error = run(args).await.unwrap_err().to_string();
    assert_eq!(error, "--batch is 101, the range is 1 to 100");
    let args = BenchArgs { workers: vec![3], ..short(Scenario::Fanout) };
    let error = run(args).await.unwrap_err().to_string();
    assert!(error.starts_with("--workers does not apply to fanout"), "{error}");
    let args = BenchArgs { delay: vec![3], ..short(Scenario::Oneway) };
    let error = run(args).await.unwrap_err().to_string();
    assert!(error.starts_with("--delay does not apply to oneway"), "{error}");
}
