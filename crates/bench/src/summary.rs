//! Several reports in one table, and reports beside those of an earlier run.

use crate::report::{grouped, span};
use crate::{BenchError, Scenario};
use clap::ValueEnum;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// What of a configuration says where something ran, not what was done.
const ASIDE: [&str; 3] = ["dir", "url", "load_threads"];
/// What says for how long, but in scenarios where it is the work itself.
const BOUNDS: [&str; 2] = ["seconds", "count"];

/// What was counted, as a report has it and as a column is called.
const COUNTS: [(&str, &str); 4] =
    [("sent", "SENT"), ("settled", "SETTLED"), ("dead", "DEAD"), ("expired", "EXPIRED")];

/// Whose processor time there is, in the same way.
const CPU: [(&str, &str); 2] = [("broker", "CPU BROKER"), ("load", "CPU LOAD")];

/// An earlier run, to be compared with.
#[derive(Clone, Debug)]
pub struct Earlier {
    path: PathBuf,
    reports: Vec<Value>,
}

impl Earlier {
    /// Reads what an earlier run printed with `--json`.
    ///
    /// # Errors
    /// [`BenchError::Earlier`] if the file cannot be read or is no such thing.
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        let wrong = |why: String| BenchError::Earlier { path: path.to_path_buf(), why };
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| wrong(format!("it is not what --json prints: {error}")))?;
        let reports = match value {
            Value::Array(reports) => reports,
            report => vec![report],
        };
        if reports.is_empty() || reports.iter().any(|report| report["scenario"].as_str().is_none())
        {
            return Err(wrong("it holds no report of a scenario".to_owned()));
        }
        Ok(Self { path: path.to_path_buf(), reports })
    }

    /// How a report stands to the earlier one of the same work: rows of a table, each a ratio.
    pub fn ratios(&self, report: &Value) -> Vec<(String, String)> {
        let against = |what: &str| format!("{what}, times that in {}", self.path.display());
        let row = |what: &str, value: Option<f64>| {
            let value = value.map_or("unknown".to_owned(), |value| format!("{value:.3}"));
            (against(what), value)
        };
        match self.like(report) {
            Some(earlier) => vec![
                row("rate", ratio(report, earlier, &["rate_per_s"])),
                row("latency p50", ratio(report, earlier, &["latency_us", "p50"])),
                row("latency p99", ratio(report, earlier, &["latency_us", "p99"])),
            ],
            None => vec![(against("rate"), "no run with these options is in it".to_owned())],
        }
    }

    /// The earlier report of the same work.
    fn like(&self, report: &Value) -> Option<&Value> {
        self.reports.iter().find(|earlier| {
            earlier["scenario"] == report["scenario"] && work(earlier) == work(report)
        })
    }
}

/// What of its configuration makes a run another one.
fn work(report: &Value) -> Vec<(&String, &Value)> {
    let scenario =
        report["scenario"].as_str().and_then(|name| Scenario::from_str(name, false).ok());
    let own = scenario.map_or(&[][..], Scenario::work);
    let is_aside =
        |name: &str| ASIDE.contains(&name) || (BOUNDS.contains(&name) && !own.contains(&name));
    let config = report["config"].as_object().into_iter().flatten();
    config.filter(|(name, _)| !is_aside(name)).collect()
}

fn figure(report: &Value, path: &[&str]) -> Option<f64> {
    path.iter().fold(report, |value, key| &value[*key]).as_f64()
}

fn ratio(report: &Value, earlier: &Value, path: &[&str]) -> Option<f64> {
    let (now, then) = (figure(report, path)?, figure(earlier, path)?);
    (then > 0.0).then(|| now / then)
}

/// Several reports as a table: its header, and a row for each. What differs between runs of one
/// scenario stands beside its name. With an earlier run there are two more columns.
pub fn summary(
    reports: &[Value],
    earlier: Option<&Earlier>,
) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let mut header = vec!["SCENARIO", "RATE /s", "P50", "P95", "P99", "P99.9"];
    header.extend(COUNTS.map(|(_, title)| title));
    header.extend(CPU.map(|(_, title)| title));
    header.extend(["MEMORY", "RESULT"]);
    if earlier.is_some() {
        header.extend(["RATE ×", "P50 ×"]);
    }
    let row = |report: &Value| {
        let name = report["scenario"].as_str().unwrap_or_default();
        let rate = figure(report, &["rate_per_s"]);
        let mut row = vec![format!("{name}{}", differing(report, reports))];
        row.push(rate.map_or("–".to_owned(), |rate| grouped(rate.round())));
        for quantile in ["p50", "p95", "p99", "p999"] {
            let micros = figure(report, &["latency_us", quantile]);
            row.push(micros.map_or("–".to_owned(), span));
        }
        for (key, _) in COUNTS {
            row.push(figure(report, &[key]).map_or("–".to_owned(), grouped));
        }
        for (key, _) in CPU {
            let seconds = figure(report, &["cpu_s", key]);
            row.push(seconds.map_or("–".to_owned(), |seconds| format!("{seconds:.2} s")));
        }
        let memory = figure(report, &["peak_rss_bytes"]);
        row.push(memory.map_or("–".to_owned(), |bytes| format!("{:.0} MiB", bytes / 1_048_576.0)));
        row.push(if report["pass"] == true { "pass" } else { "FAIL" }.to_owned());
        if let Some(earlier) = earlier {
            for path in [&["rate_per_s"][..], &["latency_us", "p50"]] {
                let times = earlier.like(report).and_then(|then| ratio(report, then, path));
                row.push(times.map_or("–".to_owned(), |times| format!("{times:.3}")));
            }
        }
        row
    };
    (header, reports.iter().map(row).collect())
}

/// What several reports have in common: rows of a table with the machine that they are of, how busy
/// it was, and the version. Reports without figures say nothing of that.
pub fn common(reports: &[Value]) -> Vec<(&'static str, String)> {
    let Some(first) = reports.iter().find(|report| report["machine"].is_object()) else {
        return Vec::new();
    };
    let machine = &first["machine"];
    let mut parts = vec![machine["cpu"].as_str().unwrap_or("unknown processor").to_owned()];
    parts.extend(machine["cores"].as_u64().map(|cores| format!("{cores} cores")));
    parts.extend(machine["memory_bytes"].as_u64().map(|bytes| format!("{} GiB", bytes >> 30)));
    parts.extend(machine["kernel"].as_str().map(str::to_owned));
    let loads = reports.iter().filter_map(|report| figure(report, &["machine", "load_average"]));
    let (least, most) = (loads.clone().reduce(f64::min), loads.reduce(f64::max));
    parts.extend(least.zip(most).map(|(least, most)| {
        let upto = if most > least { format!(" to {most}") } else { String::new() };
        format!("load average {least}{upto}")
    }));
    let version = first["version"].as_str().unwrap_or_default();
    let version = match first["commit"].as_str() {
        Some(commit) => format!("{version}, commit {commit}"),
        // Reports of before have none.
        None => version.to_owned(),
    };
    vec![("machine", parts.join(", ")), ("version", version)]
}

/// The options of a report in which it differs from others of its scenario.
fn differing(report: &Value, all: &[Value]) -> String {
    let others = || all.iter().filter(|other| other["scenario"] == report["scenario"]);
    let differs = |(name, value): &(&String, &Value)| {
        others().any(|other| other["config"][name.as_str()] != **value)
    };
    let parts = work(report).into_iter().filter(differs);
    parts.fold(String::new(), |text, (name, value)| text + &format!(" {name} {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(scenario: &str, batch: u32, rate: f64) -> Value {
        let config = json!({ "batch": batch, "payload": 256, "seconds": rate });
        let latency = json!({ "p50": 10.0, "p95": 20.0, "p99": 30.0, "p999": 40.0 });
        json!({
            "scenario": scenario, "config": config, "rate_per_s": rate,
            "latency_us": latency, "pass": true, "version": "1.2.3",
            "sent": 1_500, "settled": 1_490, "dead": 7, "expired": 3,
            "cpu_s": {"broker": 1.234, "load": null},
            "machine": {
                "cpu": "Abacus", "cores": 2, "memory_bytes": 3_u64 << 30, "kernel": "Linux 6",
                "load_average": rate
            }
        })
    }

    fn earlier(reports: &Value) -> Earlier {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), reports.to_string()).unwrap();
        Earlier::read(file.path()).unwrap()
    }

    #[test]
    fn a_report_is_compared_with_that_of_the_same_work() {
        let then = earlier(&json!([report("oneway", 1, 100.0), report("oneway", 10, 400.0)]));
        let values = |report: &Value| -> Vec<String> {
            then.ratios(report).into_iter().map(|(_, value)| value).collect()
        };
        assert_eq!(values(&report("oneway", 10, 500.0)), ["1.250", "1.000", "1.000"]);
        assert_eq!(values(&report("oneway", 1, 500.0))[0], "5.000");
        let none = ["no run with these options is in it"];
        assert_eq!(values(&report("oneway", 2, 500.0)), none);
        assert_eq!(values(&report("durable", 1, 500.0)), none);
        // One whose counts did not agree has no rate.
        let mut silent = report("oneway", 1, 0.0);
        silent["rate_per_s"] = Value::Null;
        assert_eq!(values(&silent)[0], "unknown");
        let alone = earlier(&report("oneway", 1, 50.0));
        assert_eq!(alone.ratios(&report("oneway", 1, 100.0))[0].1, "2.000");
    }

    #[test]
    fn a_bound_is_no_other_work_and_how_much_there_is_to_do_is() {
        let counted = |scenario: &str, count: u32, seconds: f64| {
            let mut report = report(scenario, 1, 100.0);
            report["config"]["count"] = count.into();
            report["config"]["seconds"] = seconds.into();
            report
        };
        let is_like = |scenario: &str, then: (u32, f64), now: (u32, f64)| {
            let then = earlier(&counted(scenario, then.0, then.1));
            then.ratios(&counted(scenario, now.0, now.1)).len() == 3
        };
        for scenario in ["recovery", "waiting", "burst", "stalled"] {
            assert!(is_like(scenario, (5, 1.0), (5, 1.0)), "{scenario}");
            assert!(!is_like(scenario, (5, 1.0), (6, 1.0)), "{scenario}");
        }
        // What one is sent alone comes evenly within that time.
        assert!(!is_like("stalled", (5, 1.0), (5, 2.0)));
        for scenario in ["durable", "oneway"] {
            assert!(is_like(scenario, (5, 1.0), (6, 2.0)), "{scenario}");
        }
    }

    #[test]
    fn what_is_no_earlier_run_is_named_with_the_reason() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, why) in [
            ("{}", "it holds no report of a scenario"),
            ("[]", "it holds no report of a scenario"),
            ("rate", "it is not what --json prints"),
        ] {
            fs::write(file.path(), text).unwrap();
            let error = Earlier::read(file.path()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let error = Earlier::read(Path::new("/nonexistent/x.json")).unwrap_err().to_string();
        assert!(error.starts_with("cannot compare with '/nonexistent/x.json': "), "{error}");
    }

    #[test]
    fn runs_of_one_scenario_are_told_apart_by_what_differs() {
        let reports =
            [report("oneway", 1, 1234.0), report("oneway", 10, 400.0), report("held", 1, 1.0)];
        let (header, rows) = summary(&reports, None);
        assert_eq!(header.len(), rows[0].len());
        let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(names, ["oneway batch 1", "oneway batch 10", "held"]);
        assert_eq!(rows[0][1..3], ["1,234", "10.0 µs"]);
        let column = |title: &str| header.iter().position(|it| *it == title).unwrap();
        for (title, shown) in [
            ("SENT", "1,500"),
            ("SETTLED", "1,490"),
            ("DEAD", "7"),
            ("EXPIRED", "3"),
            ("CPU BROKER", "1.23 s"),
            ("CPU LOAD", "–"),
            ("MEMORY", "–"),
            ("RESULT", "pass"),
        ] {
            assert_eq!(rows[0][column(title)], shown, "{title}");
        }
        let then = earlier(&report("held", 1, 2.0));
        let (header, rows) = summary(&reports, Some(&then));
        assert_eq!(header.len(), rows[0].len());
        assert_eq!(rows[2][14..], ["0.500", "1.000"]);
        assert_eq!(rows[0][14..], ["–", "–"]);
        // One that came to nothing has a row all the same.
        let nothing = json!({"scenario": "soak", "pass": false, "peak_rss_bytes": 3_250_585});
        let (header, rows) = summary(&[nothing], None);
        assert_eq!(rows[0][12], "3 MiB");
        assert_eq!(header.len(), rows[0].len());
        assert_eq!(rows[0][13], "FAIL");
    }

    #[test]
    fn runs_have_their_machine_in_common_and_say_how_busy_it_was() {
        let nothing = json!({"scenario": "soak", "pass": false});
        assert!(common(std::slice::from_ref(&nothing)).is_empty());
        let reports = [nothing, report("oneway", 1, 0.5), report("held", 1, 2.25)];
        let machine = "Abacus, 2 cores, 3 GiB, Linux 6, load average 0.5 to 2.25";
        let expected = [("machine", machine.to_owned()), ("version", "1.2.3".to_owned())];
        assert_eq!(common(&reports), expected);
        assert!(common(&reports[1..2])[0].1.ends_with(", load average 0.5"));
        let mut built = report("oneway", 1, 0.5);
        built["commit"] = json!("abc123");
        assert_eq!(common(&[built])[1].1, "1.2.3, commit abc123");
    }
}
