//! The demo and the benchmarks, small but whole.

use crate::harness::run;

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
    for scenario in ["oneway", "request", "durable"] {
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
