//! Reports as rows of a Markdown table.

use serde_json::Value;

/// The head of a table.
pub(super) const HEAD: &str = "\
| command | options | rate | p50 · p99 | CPU for each, broker + load | memory | besides |
|---|---|---|---|---|---|---|
";

/// Scenarios whose messages are due at times set beforehand: of these every percentile says something
/// of its own, where those of a full window mostly tell how long the queue is.
const OPEN: [&str; 7] = ["latency", "held", "delay", "failure", "soak", "chatter", "stalled"];

/// What of a configuration says nothing of the work.
const ASIDE: [&str; 4] = ["dir", "load_threads", "seconds", "count"];

/// The rows of a command.
pub(super) fn rows(command: &str, reports: &[Value]) -> String {
    if reports.is_empty() {
        return format!("| `{command}` | | no figure | | | | |\n");
    }
    let row = |(number, report): (usize, &Value)| {
        let command = if number == 0 { format!("`{command}`") } else { String::new() };
        let cells = [
            command,
            options(report, reports),
            rate(report),
            latency(report),
            processor(report),
            memory(report),
            besides(report),
        ];
        format!("| {} |\n", cells.join(" | "))
    };
    reports.iter().enumerate().map(row).collect()
}

/// The machine that they are of, and how busy it was.
pub(super) fn machine(reports: &[Value]) -> String {
    let told = reports.iter().find(|report| report["machine"].is_object());
    let Some(first) = told else { return String::new() };
    let machine = &first["machine"];
    let word = |name: &str| machine[name].as_str().unwrap_or("unknown").to_owned();
    let loads = reports.iter().filter_map(|report| report["machine"]["load_average"].as_f64());
    let most = loads.fold(0.0, f64::max);
    let cores = machine["cores"].as_u64().unwrap_or(0);
    let of = |name: &str| first[name].as_str().unwrap_or("unknown");
    format!(
        "{}, {cores} cores, {}; version {}, commit {}; load average at most {most}.\n",
        word("cpu"),
        word("kernel"),
        of("version"),
        of("commit")
    )
}

/// The options in which a report differs from the others of its command.
fn options(report: &Value, all: &[Value]) -> String {
    let config = report["config"].as_object().into_iter().flatten();
    let differs = |name: &str, value: &Value| all.iter().any(|it| it["config"][name] != *value);
    let parts =
        config.filter(|(name, value)| !ASIDE.contains(&name.as_str()) && differs(name, value));
    let parts: Vec<String> =
        parts.map(|(name, value)| format!("{name} {}", plain(value))).collect();
    parts.join(", ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn rate(report: &Value) -> String {
    let Some(rate) = report["rate_per_s"].as_f64() else {
        let why = report["error"].as_str().map(str::to_owned);
        return format!(
            "no figure: {}",
            why.unwrap_or_else(|| report["disagreements"].to_string())
        );
    };
    let spread = &report["rounds"]["rate_per_s"];
    match (spread["median"].as_f64(), spread["least"].as_f64(), spread["most"].as_f64()) {
        (Some(median), Some(least), Some(most)) => {
            format!("{}/s ({}–{})", grouped(median), grouped(least), grouped(most))
        }
        _ => format!("{}/s", grouped(rate)),
    }
}

fn latency(report: &Value) -> String {
    let own = |name: &str| report["latency_us"][name].as_f64();
    let median = |name: &str| report["rounds"][name]["median"].as_f64();
    match (median("p50_us").or_else(|| own("p50")), median("p99_us").or_else(|| own("p99"))) {
        (Some(p50), Some(p99)) => format!("{} · {}", span(p50), span(p99)),
        _ => "–".to_owned(),
    }
}

/// Processor time for each of what the rate counts; of those that do something once it says nothing.
fn processor(report: &Value) -> String {
    let done = report["rate_per_s"].as_f64().zip(report["seconds"].as_f64());
    let each = |who: &str| {
        let (rate, seconds) = done?;
        let micros = report["cpu_s"][who].as_f64()? / (rate * seconds) * 1e6;
        micros.is_finite().then(|| format!("{micros:.1}"))
    };
    match (each("broker"), each("load")) {
        (Some(broker), Some(load)) => format!("{broker} + {load} µs"),
        (None, Some(both)) => format!("{both} µs"),
        _ => "–".to_owned(),
    }
}

fn memory(report: &Value) -> String {
    let bytes = report["peak_rss_bytes"].as_u64();
    bytes.map_or("–".to_owned(), |bytes| format!("{} MiB", bytes >> 20))
}

/// What else a report has: goals, figures, limits of the machine.
fn besides(report: &Value) -> String {
    let list = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let mut parts: Vec<String> = further(report).into_iter().collect();
    for goal in list("goals") {
        let value = goal["value"].as_f64().map_or("unknown".to_owned(), |it| format!("{it:.3}"));
        let verdict = if goal["met"] == true { "met" } else { "**missed**" };
        parts.push(format!("{}: {value} < {} {verdict}", plain(&goal["what"]), goal["limit"]));
    }
    for figure in list("figures") {
        let value = figure["value"].as_f64().unwrap_or(0.0);
        let number = |value: f64| match value.fract() {
            0.0 => grouped(value),
            _ => format!("{value:.3}"),
        };
        let rounds = &figure["rounds"];
        let spread = match (rounds["least"].as_f64(), rounds["most"].as_f64()) {
            (Some(least), Some(most)) => format!(" ({}–{})", number(least), number(most)),
            _ => String::new(),
        };
        parts.push(format!("{}: {}{spread}", plain(&figure["what"]), number(value)));
    }
    if let Some(refusals) = report["sent_again"].as_f64().filter(|refusals| *refusals > 0.0) {
        parts.push(format!("refused until later, and sent again: {}", grouped(refusals)));
    }
    if let Some(p50) = report["disk"]["p50_us"].as_f64() {
        parts.push(format!("disk alone p50 {}", span(p50)));
    }
    if let Some(p50) = report["wire"]["round_trip_p50_us"].as_f64() {
        parts.push(format!("wire alone p50 {}", span(p50)));
    }
    parts.join("; ")
}

/// The percentiles of an open loop that have no column.
fn further(report: &Value) -> Option<String> {
    let is_open = OPEN.iter().any(|name| report["scenario"] == *name);
    let at = |name: &str| report["latency_us"][name].as_f64().filter(|_| is_open);
    Some(format!("p95 {}, p99.9 {}", span(at("p95")?), span(at("p999")?)))
}

fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn span(micros: f64) -> String {
    match micros {
        micros if micros < 1e3 => format!("{micros:.1} µs"),
        micros if micros < 1e6 => format!("{:.2} ms", micros / 1e3),
        micros => format!("{:.2} s", micros / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(in_flight: u32) -> Value {
        json!({
            "config": { "in_flight": in_flight, "payload": 256, "seconds": f64::from(in_flight) },
            "rate_per_s": 1_000_000.0, "seconds": 2.0,
            "latency_us": { "p50": 10.0, "p99": 2500.0 },
            "cpu_s": { "broker": 2.0, "load": 3.0 },
            "peak_rss_bytes": 3_u64 << 20,
            "machine": { "cpu": "Abacus", "cores": 2, "kernel": "Linux 6", "load_average": 0.5 },
            "version": "1.2.3", "commit": "abc123"
        })
    }

    #[test]
    fn a_report_is_a_row_that_says_in_what_it_differs() {
        let mut second = report(64);
        second["rounds"] = json!({
            "count": 3,
            "rate_per_s": { "median": 2000.0, "least": 1000.0, "most": 3000.0 },
            "p50_us": { "median": 11.0 }, "p99_us": { "median": 12.0 }
        });
        second["goals"] = json!([{ "what": "cost", "limit": 3.0, "value": 4.0, "met": false }]);
        let spread = json!({ "median": 0.5, "least": 0.25, "most": 1.0 });
        second["figures"] = json!([
            { "what": "spilled", "value": 1500.0 },
            { "what": "ratio", "value": 0.5, "rounds": spread },
        ]);
        second["sent_again"] = json!(1200);
        let text = rows("trunkline bench x", &[report(1), second]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "| `trunkline bench x` | in_flight 1 | 1,000,000/s | 10.0 µs · 2.50 ms | \
             1.0 + 1.5 µs | 3 MiB |  |"
        );
        assert!(
            lines[1].starts_with("|  | in_flight 64 | 2,000/s (1,000–3,000) | 11.0 µs · 12.0 µs")
        );
        assert!(
            lines[1].ends_with(
                "cost: 4.000 < 3.0 **missed**; spilled: 1,500; ratio: 0.500 (0.250–1); \
                 refused until later, and sent again: 1,200 |"
            ),
            "{}",
            lines[1]
        );
        let columns = |line: &str| line.matches(" |").count();
        assert_eq!(columns(lines[0]), columns(HEAD.lines().next().unwrap()));
    }

    #[test]
    fn an_open_loop_has_all_its_percentiles() {
        let mut open = report(1);
        open["latency_us"] = json!({ "p50": 10.0, "p95": 20.0, "p99": 2500.0, "p999": 9000.0 });
        for (scenario, is_told) in [("latency", true), ("stalled", true), ("oneway", false)] {
            open["scenario"] = json!(scenario);
            let text = rows("trunkline bench x", &[open.clone()]);
            assert!(text.contains("| 10.0 µs · 2.50 ms |"), "{text}");
            assert_eq!(text.contains("| p95 20.0 µs, p99.9 9.00 ms |"), is_told, "{text}");
        }
    }

    #[test]
    fn what_came_to_nothing_has_a_row_that_says_so() {
        assert!(rows("trunkline bench x", &[]).contains("no figure"));
        let silent = json!({ "rate_per_s": null, "disagreements": ["sent 2, settled 1"] });
        let text = rows("trunkline bench x", &[silent]);
        assert!(text.contains("no figure: [\"sent 2, settled 1\"]"), "{text}");
        // One of several that came to nothing is told apart from those that did not.
        let failed = json!({ "config": { "in_flight": 7 }, "pass": false, "error": "it is gone" });
        let text = rows("trunkline bench x", &[report(1), failed]);
        assert!(text.lines().nth(1).unwrap().contains("in_flight 7 | no figure: it is gone |"));
    }

    #[test]
    fn the_machine_is_told_with_the_most_that_it_was_loaded() {
        let mut busy = report(1);
        busy["machine"]["load_average"] = json!(2.5);
        let text = machine(&[report(1), busy]);
        assert_eq!(
            text,
            "Abacus, 2 cores, Linux 6; version 1.2.3, commit abc123; load average at most 2.5.\n"
        );
    }
}
