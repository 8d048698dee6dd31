//! What the machine and its processes are: CPU time, peak memory, model, cores, kernel.
//!
//! Read from `/proc`; where there is none a figure is `None` rather than a guess.

use serde::Serialize;
use std::fs;

/// What a figure was measured on.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Machine {
    /// The model of the processor.
    pub(crate) cpu: Option<String>,
    /// How many cores this process may use.
    pub(crate) cores: Option<usize>,
    /// Memory in bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// The kernel and its release.
    pub(crate) kernel: String,
    /// Load average of the last minute when the benchmark ended: above the number of its own
    /// busy threads, others were at work too.
    pub(crate) load_average: Option<f64>,
}

impl Machine {
    /// This machine.
    pub(crate) fn this() -> Self {
        let line = |path: &str, key: &str| {
            let text = fs::read_to_string(path).ok()?;
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let system = rustix::system::uname();
        let release = system.release().to_string_lossy().into_owned();
        Self {
            cpu: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            memory_bytes: line("/proc/meminfo", "MemTotal").as_deref().and_then(kibibytes),
            kernel: format!("{} {release}", system.sysname().to_string_lossy()),
            load_average: fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }
}

/// A process whose use of the machine is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

impl Process {
    /// The process with this id.
    pub(crate) fn new(id: u32) -> Self {
        Self(id)
    }

    /// This process.
    pub(crate) fn this() -> Self {
        Self(std::process::id())
    }

    /// CPU time in seconds that all its threads have used, in user and system mode.
    pub(crate) fn cpu_seconds(self) -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        ticks(&text).map(|ticks| {
            #[allow(clippy::cast_precision_loss, reason = "ticks are far below 2^52")]
            let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
            seconds
        })
    }

    /// The memory in bytes that it has resident.
    pub(crate) fn rss_bytes(self) -> Option<u64> {
        self.status("VmRSS:")
    }

    /// The most memory in bytes that it ever had resident.
    pub(crate) fn peak_rss_bytes(self) -> Option<u64> {
        self.status("VmHWM:")
    }

    /// How many files, sockets and other descriptors it has open.
    pub(crate) fn descriptors(self) -> Option<u64> {
        fs::read_dir(format!("/proc/{}/fd", self.0)).ok().map(|open| open.count() as u64)
    }

    fn status(self, row: &str) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(row))?;
        kibibytes(line)
    }
}

/// User and system ticks of a line of `/proc/PID/stat`. The name in it may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kibibytes(text: &str) -> Option<u64> {
    let number: u64 = text.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticks_are_found_whatever_the_process_is_called() {
        let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 300 50 7 8 20 0 2 0 100 200";
        assert_eq!(ticks(stat), Some(350));
        assert_eq!(ticks("42"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_a_kernel() {
        assert!(Process::this().peak_rss_bytes().unwrap() > 1 << 20);
        assert!(Process::this().cpu_seconds().is_some());
        assert!(Process::this().rss_bytes().unwrap() > 1 << 20);
        let _open = fs::File::open("/proc/self/status").unwrap();
        assert!(Process::this().descriptors().unwrap() > 3);
        assert!(Machine::this().kernel.starts_with("Linux "));
    }
}
