//! The demo and the benchmarks, small but whole.

use crate::harness::{Broker, Finished, run, trunkline};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn the_demo_loses_nothing_when_it_kills_a_worker() {
    let input = tempfile::tempdir().unwrap();
    for (name, text) in [("a.txt", "one two three\n"), ("b.md", "four five\n"), ("c.txt", "six\n")]
    {
        std::fs::write(input.path().join(name), text).unwrap();
    }
    std::fs::write(input.path().join("binary"), [0_u8, 1, 2]).unwrap();
    let shown = run(["demo", "--input", input.path().to_str().unwrap(), "--json"]).json();
    assert_eq!(shown["agree"], true);
    assert_eq!(shown["files"], 3);
    assert!(shown["killed"]["attempts"].as_u64().unwrap() >= 2, "{shown}");
    assert!(shown["redeliveries"].as_u64().unwrap() >= 1, "{shown}");
}

#[test]
fn a_benchmark_over_the_network_prints_what_scripts_rely_on() {
    for scenario in ["oneway", "request", "fanout", "fanout-sessions", "mix", "durable"] {
        let report = run(["bench", scenario, "--seconds", "0.2", "--json"]).json();
        for key in [
            "scenario",
            "sent",
            "settled",
            "dead",
            "expired",
            "seconds",
            "rate_per_s",
            "latency_us",
            "cpu_s",
            "peak_rss_bytes",
            "config",
        ] {
            assert!(!report[key].is_null(), "{scenario} has no {key}: {report}");
        }
        for key in ["p50", "p95", "p99", "p999", "max"] {
            assert!(report["latency_us"][key].as_f64().unwrap() > 0.0, "{scenario}: {key}");
        }
        assert!(report["cpu_s"]["broker"].is_number() && report["cpu_s"]["load"].is_number());
        assert_eq!(report["sent"], report["settled"], "{scenario}");
        assert_eq!(report["pass"], true, "{scenario}");
    }
}

#[test]
fn messages_of_a2a_are_measured_behind_the_broker_and_at_any_server() {
    let bench = |arguments: &[&str]| {
        let usual = ["bench", "a2a", "--in-flight", "2", "--seconds", "0.2", "--json"];
        let output = trunkline().args(usual).args(arguments).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let broker = Broker::with(["--ephemeral"]);
    let _echo = broker.agent(["--id", "echo", "--", "cat"]);
    let at = |agent: &str| format!("http://{}/agents/{agent}", broker.address());
    for report in [bench(&[]), bench(&["--url", &at("echo")])] {
        assert_eq!(report["pass"], true, "{report}");
        assert_eq!(report["sent"], report["settled"], "{report}");
        for figure in ["latency_us", "first_event_us"] {
            assert!(report[figure]["p99"].as_f64().unwrap() > 0.0, "{report}");
        }
    }
    // Answers with something else are none.
    let _other = broker.agent(["--id", "other", "--", "echo", "no"]);
    let report = bench(&["--url", &at("other")]);
    assert_eq!((&report["pass"], &report["rate_per_s"]), (&false.into(), &().into()), "{report}");
    let told = report["disagreements"].to_string();
    assert!(told.contains("answers are not what was sent") && told.contains("streams: "), "{told}");
}

/// The reports of a benchmark whose counts agree. Whether its goals are met is the machine's
/// matter, and not asked here.
fn counted(arguments: &[&str]) -> Vec<serde_json::Value> {
    let finished = trunkline().arg("bench").args(arguments).arg("--json").output().unwrap();
    assert!(matches!(finished.status.code(), Some(0 | 15)), "{finished:?}");
    let reports = match serde_json::from_slice(&finished.stdout).unwrap() {
        serde_json::Value::Array(reports) => reports,
        report => vec![report],
    };
    // A mark that is missed is no success.
    let is_met = |goal: &serde_json::Value| goal["met"] == true;
    let goals = reports.iter().filter_map(|report| report["goals"].as_array());
    let all_met = goals.flatten().all(is_met);
    assert_eq!(finished.status.success(), all_met, "{reports:?}");
    for report in &reports {
        assert!(report["disagreements"].is_null(), "{report}");
        assert!(report["rate_per_s"].as_f64().unwrap() > 0.0, "{report}");
        assert!(report["sent"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report["sent"], report["settled"], "{report}");
    }
    reports
}

#[test]
fn an_open_loop_offers_its_rate_and_a_delay_shows_in_every_message() {
    for (report, sent) in
        counted(&["latency", "--rate", "100,400", "--seconds", "0.5"]).iter().zip([50, 200])
    {
        assert_eq!(report["sent"], sent, "{report}");
    }
    assert_eq!(counted(&["held", "--rate", "200", "--seconds", "0.5"])[0]["sent"], 100);
    let delayed = counted(&["delay", "--delay", "5,40", "--rate", "100", "--seconds", "0.3"]);
    for (report, least) in delayed.iter().zip([5e3, 40e3]) {
        assert!(report["latency_us"]["p50"].as_f64().unwrap() >= least, "{report}");
    }
}

#[test]
fn agents_that_are_killed_lose_nothing_and_what_waits_is_weighed() {
    let failure = &counted(&["failure", "--rate", "200", "--seconds", "0.5", "--agents", "4"])[0];
    // There is a time only if the killed had work in their hands and others did it.
    assert!(failure["goals"][0]["value"].as_f64().unwrap() > 0.0, "{failure}");
    let [lost, in_hand, again, unheard] = figures(failure)[..] else { panic!("{failure}") };
    assert_eq!(lost, ("messages lost", 0.0));
    assert!(in_hand.0 == "tasks in hand of the killed" && in_hand.1 > 0.0, "{failure}");
    // The one that was held was not handled before.
    assert!(again.1 < in_hand.1, "{failure}");
    assert_eq!(unheard.0, "settled by the killed without their hearing of it");
    let waiting = &counted(&["waiting", "--count", "3000"])[0];
    for (goal, of) in [(0, "memory"), (1, "disk")] {
        let goal = &waiting["goals"][goal];
        assert!(goal["what"].as_str().unwrap().contains(of), "{waiting}");
        // Nothing smaller than its payload.
        assert!(goal["value"].as_f64().unwrap() > 256.0, "{waiting}");
    }
}

#[test]
fn agents_that_are_to_be_killed_end_with_whoever_started_them() {
    let broker = Broker::with(["--ephemeral"]);
    let url = format!("http://{}", broker.address());
    let crew = ["bench", "crew", "--url", &url, "--transport", "framed", "--run", "1"];
    let mut crew = trunkline()
        .args(crew)
        .args(["--payload", "256", "--agents", "4"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(crew.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "ready");
    drop(crew.stdin.take());
    assert!(crew.wait().unwrap().success());
    assert!(said.next().is_none());
}

/// What a report's goals are, and their limits.
fn goals(report: &serde_json::Value) -> Vec<(&str, f64)> {
    let goals = report["goals"].as_array().unwrap().iter();
    goals.map(|goal| (goal["what"].as_str().unwrap(), goal["limit"].as_f64().unwrap())).collect()
}

#[test]
fn agents_that_do_nothing_are_weighed_by_what_carries_them() {
    let small = ["idle", "--agents", "1", "--seconds", "0.05", "--transport", "framed,grpc"];
    for (report, most) in counted(&small).iter().zip([3072.0, 16_384.0]) {
        let [registered, connected, core] = goals(report)[..] else { panic!("{report}") };
        assert_eq!(registered, ("bytes of a registered agent", 1024.0));
        assert_eq!(connected, ("bytes of a connected agent", most));
        assert_eq!(core, ("thousandths of a core", 5.0));
    }
}

#[test]
fn tasks_at_a_steady_rate_are_counted_and_what_the_broker_takes_is_looked_at() {
    let soak = &counted(&["soak", "--rate", "200", "--seconds", "0.1", "--agents", "1"])[0];
    assert_eq!(soak["sent"], 20, "{soak}");
    let [growth, descriptors] = goals(soak)[..] else { panic!("{soak}") };
    assert_eq!(growth, ("growth of memory in the second half, % an hour", 1.0));
    assert_eq!(descriptors, ("descriptors more than in the first half", 1.0));
    assert!(soak["disk"]["flushes_per_s"].as_f64().unwrap() > 0.0, "{soak}");
}

#[test]
fn tasks_that_come_before_anybody_serves_them_are_all_completed() {
    let burst = &counted(&["burst", "--count", "1"])[0];
    assert_eq!(burst["sent"], 1, "{burst}");
    assert_eq!(goals(burst), [("% of a burst's memory kept after it", 25.0)]);
    let [before, full, most, after] = figures(burst)[..] else { panic!("{burst}") };
    assert!(before.0.ends_with("before the burst") && after.0.ends_with("after it"), "{burst}");
    assert!([before, full, most, after].iter().all(|figure| figure.1 > 0.0), "{burst}");
    assert!(burst["latency_us"]["max"].as_f64().unwrap() > 0.0, "{burst}");
}

/// What a report has seen besides rate and latency.
fn figures(report: &serde_json::Value) -> Vec<(&str, f64)> {
    let figures = report["figures"].as_array().unwrap().iter();
    figures.map(|it| (it["what"].as_str().unwrap(), it["value"].as_f64().unwrap())).collect()
}

#[test]
fn an_agent_that_hangs_spends_its_credit_and_has_an_inbox_that_fills_and_spills() {
    let small = ["stalled", "--agents", "3", "--seconds", "0.05", "--rate", "40"];
    let stalled = &counted(&[&small[..], &["--count", "1000"]].concat())[0];
    // Two events for each agent and what it is sent alone, thirty times over.
    assert_eq!(stalled["sent"], 30 * (2 * 3 + 1000), "{stalled}");
    assert_eq!(
        goals(stalled),
        [("p99 while one hangs to p99 without, median of pairs of turns", 1.1)]
    );
    let [held, waiting, spilled, calm, hanging, least, most] = figures(stalled)[..] else {
        panic!("{stalled}")
    };
    assert!(least.0.ends_with("least of the pairs") && most.0.ends_with("most of the pairs"));
    let ratio = stalled["goals"][0]["value"].as_f64().unwrap();
    assert!(0.0 < least.1 && least.1 <= ratio && ratio <= most.1, "{stalled}");
    assert!(held.0.starts_with("held by the one that hangs") && held.1 >= 1.0, "{stalled}");
    // It may hold what its credit says, and an eighth of the payloads may stay in memory.
    assert!(waiting.0.starts_with("waiting for it") && waiting.1 >= 500.0, "{stalled}");
    assert!(spilled.0.contains("on disk only") && spilled.1 >= 300.0, "{stalled}");
    assert!(calm.1 > 0.0 && hanging.1 > 0.0, "{stalled}");
    // One for which nothing waits has not been slow.
    let few = [&small[..], &["--count", "1", "--json"]].concat();
    let output = trunkline().arg("bench").args(few).output().unwrap();
    assert_eq!(output.status.code(), Some(15), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rate_per_s"], serde_json::Value::Null, "{report}");
    assert!(report["disagreements"].to_string().contains("send it more with --count"), "{report}");
}

#[test]
fn a_deep_queue_is_on_disk_while_it_is_worked_off_and_stands_beside_a_short_one() {
    let deep = &counted(&["deep", "--in-flight", "4000", "--seconds", "0.2"])[0];
    let figures = figures(deep);
    let figure = |what: &str| figures.iter().find(|it| it.0.starts_with(what)).unwrap().1;
    // An eighth of the payloads may stay in memory.
    assert!(figure("payloads on disk only when work began") >= 3000.0, "{deep}");
    assert!(figure("payloads read back") > 0.0, "{deep}");
    assert!(figure("rate from a short queue in memory") > 0.0, "{deep}");
    assert!(figure("rate of deep to short, least") > 0.0, "{deep}");
    assert!(figure("bytes written again by cleaning for each task") >= 0.0, "{deep}");
    let [spilled, cleaned] = goals(deep)[..] else { panic!("{deep}") };
    assert_eq!(spilled, ("no payload was on disk only in some deep turn", 1.0));
    assert_eq!(cleaned, ("no segment was given up in some deep turn", 1.0));
    // How much is given up within a moment is the machine's matter; what is said of it agrees.
    let met = |goal: usize| deep["goals"][goal]["met"].as_bool().unwrap();
    assert_eq!(met(0), figure("payloads on disk only when work began") > 0.0, "{deep}");
    assert_eq!(met(1), figure("segments given up by cleaning") > 0.0, "{deep}");
    // All four turns are accounted for, the two that fill a queue first among them.
    assert!(deep["sent"].as_u64().unwrap() > 2 * 4000, "{deep}");
}

#[test]
fn what_has_many_connections_or_restarts_is_counted_too() {
    let back = &counted(&["reconnect", "--agents", "3"])[0];
    assert_eq!(back["sent"], 3, "{back}");
    let [(what, returns)] = figures(back)[..] else { panic!("{back}") };
    assert!(what.starts_with("returns") && returns >= 3.0, "{back}");
    let [all, each] = goals(back)[..] else { panic!("{back}") };
    assert_eq!(all, ("seconds until all are back", 30.0));
    assert_eq!(each, ("connections made for each agent", 3.0));
    let chatter = &counted(&["chatter", "--agents", "3", "--rate", "200", "--seconds", "0.2"])[0];
    assert_eq!(chatter["sent"], 40, "{chatter}");
    assert_eq!(goals(chatter), [("latency p95 in ms", 10.0)]);
    let up = &counted(&["agents-up", "--agents", "3"])[0];
    assert_eq!(up["sent"], 3, "{up}");
    let limits = [("seconds until all are up", 1.0), ("registration p95 in ms", 10.0)];
    assert_eq!(goals(up), limits);
    let accept = &counted(&["durable-accept", "--count", "30", "--in-flight", "1,4"]);
    for report in accept {
        // A tenth of the count warms up.
        assert_eq!(report["sent"], 27, "{report}");
        assert!(report["disk"]["p50_us"].as_f64().unwrap() > 0.0, "{report}");
    }
    let recovery = &counted(&["recovery", "--count", "2000"])[0];
    assert_eq!(recovery["sent"], 2000, "{recovery}");
    assert!(recovery["latency_us"]["max"].as_f64().unwrap() > 0.0, "{recovery}");
}

#[test]
fn rounds_are_told_by_their_middle_one_and_nothing_is_set_that_nobody_asked_for() {
    let run = ["oneway", "--seconds", "0.1", "--batch", "1,8"];
    let plain = counted(&[&run[..], &["--rounds", "3"]].concat());
    assert_eq!(plain.len(), 2);
    for report in &plain {
        let rate = &report["rounds"]["rate_per_s"];
        assert_eq!(report["rounds"]["count"], 3, "{report}");
        assert_eq!(rate["median"], report["rate_per_s"], "{report}");
        assert!(rate["least"].as_f64() <= rate["most"].as_f64(), "{report}");
        let config = &report["config"];
        let room = (&config["tuned"], &config["prefetch"], &config["outstanding"]);
        assert_eq!(room, (&false.into(), &256.into(), &8192.into()), "{report}");
        assert!(config["workers"].is_null(), "{report}");
    }
    let tuned = &counted(&["oneway", "--seconds", "0.1", "--tuned"])[0];
    let config = &tuned["config"];
    assert_eq!((&config["prefetch"], &config["outstanding"]), (&2048.into(), &65536.into()));
    let told = run_bench_fails(&["oneway", "--rounds", "26"]);
    assert!(told.contains("--rounds is 26, the range is 1 to 25"), "{told}");
    let told = run_bench_fails(&["all", "--rounds", "0"]);
    assert!(told.contains("--rounds is 0, the range is 1 to 25"), "{told}");
    // Large payloads have fewer in flight when nobody says how many, and never without end.
    let large = &counted(&["inproc", "--seconds", "0.1", "--payload", "1048576"])[0];
    assert_eq!(large["config"]["in_flight"], 32, "{large}");
    let told = run_bench_fails(&["inproc", "--payload", "1048576", "--in-flight", "5000"]);
    assert!(told.contains("are 5242880000 bytes at once, the most is 4294967296"), "{told}");
}

#[test]
fn a_run_that_comes_to_nothing_leaves_the_others_their_figures() {
    let broker = Broker::configured("[broker]\ninboxes = 2\n", ["--ephemeral"]);
    let url = format!("http://{}", broker.address());
    let finished = trunkline()
        .args(["bench", "oneway", "--agents", "1,3", "--seconds", "0.1", "--json", "--url", &url])
        .output()
        .unwrap();
    assert_eq!(finished.status.code(), Some(15), "{finished:?}");
    let reports: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert!(reports[0]["rate_per_s"].as_f64().unwrap() > 0.0, "{reports}");
    assert_eq!(reports[0]["config"]["agents"], 1, "{reports}");
    let failed = &reports[1];
    assert_eq!((&failed["config"]["agents"], &failed["pass"]), (&3.into(), &false.into()));
    let why = failed["error"].as_str().unwrap();
    assert!(why.starts_with("cannot start an agent: "), "{reports}");
    assert!(String::from_utf8_lossy(&finished.stderr).contains(why), "{finished:?}");
}

#[test]
fn a_durable_load_comes_back_when_the_disk_is_behind() {
    // Less than one piece of the load is as far behind as the disk may be.
    let finished = trunkline()
        .args(["bench", "durable", "--payload", "65536", "--seconds", "0.3", "--json"])
        .args(["--set", "log.pending_bytes=65536"])
        .output()
        .unwrap();
    assert!(finished.status.success(), "{finished:?}");
    let report: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert_eq!(report["sent"], report["settled"], "{report}");
    assert!(report["rate_per_s"].as_f64().unwrap() > 0.0, "{report}");
    assert!(report["sent_again"].is_u64(), "{report}");
    assert_eq!(report["config"]["set"], serde_json::json!(["log.pending_bytes=65536"]));
}

#[test]
fn a_broker_under_test_has_only_the_settings_that_it_is_started_with() {
    // It would not start with it, nor with what is asked for.
    let bench = |more: &[&str]| {
        let mut command = trunkline();
        command.env("TRUNKLINE_BROKER__LEASE", "1ms");
        command.args(["bench", "oneway", "--seconds", "0.1", "--json"]).args(more);
        command.output().unwrap()
    };
    let finished = bench(&[]);
    assert!(finished.status.success(), "{finished:?}");
    let report: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    let version = run(["--version"]).ok();
    let commit =
        version.trim().split_once(" (").map_or("unknown", |(_, it)| it.trim_end_matches(')'));
    assert_eq!(report["commit"], commit, "{version}");
    let told = String::from_utf8(bench(&["--set", "broker.lease=2ms"]).stderr).unwrap();
    assert!(told.contains("broker.lease is 2ms, the range is "), "{told}");
    let told = run_bench_fails(&["oneway", "--set", "lease=1m"]);
    assert!(told.contains("--set is 'lease=1m', but a setting is written"), "{told}");
}

/// What a benchmark says that is refused for its options.
fn run_bench_fails(arguments: &[&str]) -> String {
    let finished = trunkline().arg("bench").args(arguments).output().unwrap();
    Finished::from(finished).fails(2)
}

#[test]
fn a_benchmark_stands_beside_an_earlier_run_of_the_same_work() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("before.json");
    let path = file.to_str().unwrap();
    let bench = |more: &[&str]| {
        let arguments = ["bench", "oneway", "--seconds", "0.1"];
        let output = trunkline().args(arguments).args(more).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    std::fs::write(&file, bench(&["--batch", "1,8", "--json"])).unwrap();
    let one = bench(&["--batch", "8", "--compare", path]);
    assert!(one.contains(&format!("rate, times that in {path}")), "{one}");
    let other = bench(&["--batch", "9", "--compare", path]);
    assert!(other.contains("no run with these options is in it"), "{other}");
    let several = bench(&["--batch", "1,8", "--compare", path]);
    assert!(several.contains("RATE ×") && several.contains("oneway batch 8"), "{several}");
    for title in ["SENT", "SETTLED", "CPU BROKER", "CPU LOAD", "\nmachine ", "\nversion "] {
        assert!(several.contains(title), "no {title} in {several}");
    }
    let told = run(["bench", "oneway", "--compare", "/nonexistent"]).fails(2);
    assert!(told.contains("cannot compare with '/nonexistent'"), "{told}");
    let told = run(["bench", "all", "--compare", "/nonexistent"]).fails(2);
    assert!(told.contains("cannot compare with '/nonexistent'"), "{told}");
}

#[test]
fn formats_are_compared_on_ones_own_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.json");
    std::fs::write(&file, format!("[{}1]", "{\"order\":1},".repeat(200))).unwrap();
    let path = file.to_str().unwrap();
    let report = run(["bench", "serializers", path, "--json"]).json();
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 16);
    for row in rows {
        assert!(row["bytes"].as_u64().unwrap() > 0, "{row}");
        assert!(row["encode_us"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["decode_us"].as_f64().unwrap() > 0.0, "{row}");
    }
    let plain = rows[0]["bytes"].as_u64().unwrap();
    assert!(rows[1]["bytes"].as_u64().unwrap() < plain / 10, "gzip makes it small");
    std::fs::write(&file, [0xFF, 0xFE, 0xFD]).unwrap();
    let table = run(["bench", "serializers", path]).ok();
    assert!(table.contains("binary") && !table.contains("json"), "{table}");
    for encoding in ["gzip", "zstd", "lz4"] {
        assert!(table.contains(&format!("{encoding} (no smaller)")), "{table}");
    }
    std::fs::write(&file, "").unwrap();
    let empty = run(["bench", "serializers", path]).fails(2);
    assert!(empty.contains("0 bytes, the range is 1 to 8388608"), "{empty}");
}

#[test]
fn an_agent_whose_command_is_not_there_takes_no_work() {
    let told = run(["agent", "--skill", "typo", "--", "no-such-command-anywhere"]).fails(2);
    assert!(told.contains("no-such-command-anywhere"), "{told}");
}
