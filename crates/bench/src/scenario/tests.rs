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
    check(&run(short(Scenario::Inproc)).await.unwrap());
    let many = BenchArgs { agents: Some(10), senders: Some(3), ..short(Scenario::Inproc) };
    check(&run(many).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_process_requests_are_answered_one_or_many_at_a_time() {
    check(&run(short(Scenario::InprocRequest)).await.unwrap());
    let many = BenchArgs { in_flight: Some(16), ..short(Scenario::InprocRequest) };
    check(&run(many).await.unwrap());
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_an_error_that_names_it() {
    let url = Some("http://127.0.0.1:1".to_owned());
    let args = BenchArgs { url, ..short(Scenario::Oneway) };
    let error = run(args).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1"), "{error}");
}
