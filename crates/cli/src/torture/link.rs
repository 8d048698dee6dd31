//! A network of the broker's own, where the system permits one: a namespace behind a pair of
//! interfaces, whose far end can be taken down. Packets then vanish and nobody is told.
//!
//! Made and removed with `ip` of iproute2, which needs the right to administer the network; delays
//! need `tc` and a kernel that has `netem`. Whatever is made carries this process's id in its name,
//! goes when it is dropped, and is removed by a later run if this one had no chance to.

use rustix::process::{Pid, test_kill_process};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What the names of our namespaces begin with; the rest is the process id and a number.
const PREFIX: &str = "trunkline-torture-";
/// What the names of our interfaces begin with.
const INTERFACE: &str = "tlt";
/// Where `ip` keeps namespaces by their names.
const FOLDER: &str = "/run/netns";
/// The networks that are tried: each is two addresses within 198.18.0.0/15, which is set aside for
/// tests of networks.
const NETWORKS: u32 = 1 << 15;
/// How many of them are tried before it is given up.
const TRIES: u32 = 64;
/// The hardware address of the far end. The near end must know it by itself: an address that
/// cannot be asked for while the link is down would tell whoever connects.
const HARDWARE: &str = "02:00:5e:10:00:02";

/// How many links this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    namespace: String,
    near: String,
    far: String,
    /// The address of the far end.
    broker: Ipv4Addr,
    delays: bool,
}

/// Why there is no network of the broker's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NotPermitted(String);

impl fmt::Display for NotPermitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotPermitted {}

impl Link {
    /// Makes a namespace, and a link to it that is up. What runs that ended without removing
    /// theirs have left is removed first.
    ///
    /// # Errors
    /// The system does not permit it, or `ip` is not there.
    pub(super) fn make() -> Result<Self, NotPermitted> {
        sweep(Path::new(FOLDER));
        let (id, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed) % 100);
        let (near_address, broker) = network(id)?;
        let mut link = Self {
            namespace: format!("{PREFIX}{id}-{number}"),
            // A name of an interface has at most 15 bytes, a process id at most 7 digits.
            near: format!("{INTERFACE}{id}n{number}"),
            far: format!("{INTERFACE}{id}f{number}"),
            broker,
            delays: false,
        };
        // From here on what there is of it is removed when it is dropped.
        link.set_up(near_address)?;
        link.delays = link.can_delay();
        Ok(link)
    }

    fn set_up(&self, near_address: Ipv4Addr) -> Result<(), NotPermitted> {
        let Self { namespace, near, far, broker, .. } = self;
        let lines = [
            format!("netns add {namespace}"),
            format!("link add {near} type veth peer name {far} netns {namespace}"),
            format!("-n {namespace} link set {far} address {HARDWARE}"),
            format!("-n {namespace} address add {broker}/30 dev {far}"),
            format!("-n {namespace} link set lo up"),
            format!("-n {namespace} link set {far} up"),
            format!("address add {near_address}/30 dev {near}"),
            format!("link set {near} up"),
            format!("neighbour replace {broker} lladdr {HARDWARE} dev {near} nud permanent"),
        ];
        lines.iter().try_for_each(|line| run("ip", line).map(drop))
    }

    /// Whether the kernel can make a link late.
    fn can_delay(&self) -> bool {
        self.late(Duration::ZERO).is_ok()
    }

    /// Whether delays are made by the link; otherwise somebody else must make them.
    pub(super) fn delays(&self) -> bool {
        self.delays
    }

    /// A port of the broker, as seen from both sides.
    pub(super) fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.broker), port)
    }

    /// Takes the link down: what is sent vanishes.
    ///
    /// # Errors
    /// The system does not let it be.
    pub(super) fn down(&self) -> io::Result<()> {
        self.far_end("down")
    }

    /// Brings it up again.
    ///
    /// # Errors
    /// The system does not let it be.
    pub(super) fn up(&self) -> io::Result<()> {
        self.far_end("up")
    }

    fn far_end(&self, how: &str) -> io::Result<()> {
        let Self { namespace, far, .. } = self;
        let set = run("ip", &format!("-n {namespace} link set {far} {how}"));
        set.map(drop).map_err(io::Error::other)
    }

    /// Lets packets arrive so much later, both ways; zero ends that.
    ///
    /// # Errors
    /// The kernel has no `netem`, or `tc` is not there.
    pub(super) fn late(&self, late: Duration) -> Result<(), NotPermitted> {
        let Self { namespace, near, far, .. } = self;
        let how = format!("root netem delay {}ms", late.as_millis());
        run("tc", &format!("qdisc replace dev {near} {how}"))?;
        run("tc", &format!("-n {namespace} qdisc replace dev {far} {how}"))?;
        Ok(())
    }

    /// What stands before a command line so that it runs inside. The process is the command's own.
    pub(super) fn within(&self) -> Vec<OsString> {
        ["ip", "netns", "exec", &self.namespace].map(OsString::from).into()
    }

    /// Where the namespace can be entered.
    pub(super) fn door(&self) -> io::Result<Door> {
        File::open(Path::new(FOLDER).join(&self.namespace)).map(Door)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        remove(&self.namespace, &self.near);
    }
}

/// An open namespace.
#[derive(Debug)]
pub(super) struct Door(File);

impl Door {
    /// Moves the thread that calls this inside, for good.
    ///
    /// # Errors
    /// The system does not let it.
    #[cfg(target_os = "linux")]
    pub(super) fn enter(&self) -> io::Result<()> {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        use std::os::fd::AsFd;
        let kind = Some(LinkNameSpaceType::Network);
        Ok(move_into_link_name_space(self.0.as_fd(), kind)?)
    }

    /// Moves the thread that calls this inside, for good.
    ///
    /// # Errors
    /// There are no namespaces on this system.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn enter(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A network that nobody here uses: the near and the far address.
fn network(id: u32) -> Result<(Ipv4Addr, Ipv4Addr), NotPermitted> {
    for number in (id..).take(TRIES as usize) {
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (number % NETWORKS) * 4;
        let [whole, near, far] = [base, base + 1, base + 2].map(Ipv4Addr::from);
        if run("ip", &format!("-o address show to {whole}/30"))?.is_empty() {
            return Ok((near, far));
        }
    }
    Err(NotPermitted("every network tried within 198.18.0.0/15 is in use".into()))
}

/// Runs a program of iproute2. What it printed, or what it complained of.
fn run(program: &str, line: &str) -> Result<String, NotPermitted> {
    let mut command = Command::new(program);
    command.args(line.split(' ')).stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|error| NotPermitted(format!("'{program}' of iproute2 does not run: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint.lines().next().unwrap_or("no reason given");
    Err(NotPermitted(format!("'{program} {line}' failed: {complaint}")))
}

/// Removes a namespace and its link, whatever there is of them.
fn remove(namespace: &str, near: &str) {
    // The pair goes with either end; a process that is still inside would keep the far one.
    let _ = run("ip", &format!("link delete {near}"));
    let _ = run("ip", &format!("netns delete {namespace}"));
}

/// Removes what processes that are gone have left.
fn sweep(folder: &Path) {
    for (id, number) in leftovers(folder) {
        remove(&format!("{PREFIX}{id}-{number}"), &format!("{INTERFACE}{id}n{number}"));
    }
}

/// The process ids and numbers of namespaces whose process is gone.
fn leftovers(folder: &Path) -> Vec<(u32, u32)> {
    // No folder, no namespaces.
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let ours = |path: PathBuf| -> Option<(u32, u32)> {
        let (id, number) = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
        Some((id.parse().ok()?, number.parse().ok()?))
    };
    let named = entries.filter_map(|entry| ours(entry.ok()?.path()));
    named.filter(|(id, _)| is_gone(*id)).collect()
}

/// Whether no process has an id. One that is somebody else's is there.
fn is_gone(id: u32) -> bool {
    let pid = Pid::from_raw(id.cast_signed());
    pid.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_processes_that_are_gone_have_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let alive = format!("{PREFIX}{}-1", std::process::id());
        // No process id is as large as this one.
        for name in [&alive, "trunkline-torture-4194999-7", "trunkline-torture-x-1", "other-1-1"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(leftovers(folder.path()), [(4_194_999, 7)]);
        assert_eq!(leftovers(&folder.path().join("none")), []);
    }

    /// Only where it is permitted, for the system decides that: a link carries what is sent, loses
    /// it silently while it is down, and leaves nothing behind.
    #[test]
    #[allow(clippy::print_stderr, reason = "says why it shows nothing")]
    fn a_link_carries_loses_silently_while_it_is_down_and_leaves_nothing_behind() {
        use std::io::{Read, Write};
        use std::net::{TcpListener, TcpStream};
        let link = match Link::make() {
            Ok(link) => link,
            Err(why) => {
                eprintln!("not permitted here: {why}");
                return;
            }
        };
        let (door, address) = (link.door().unwrap(), link.address(20_000));
        let inside = std::thread::spawn(move || {
            door.enter().unwrap();
            let listener = TcpListener::bind(address).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all
        });
        let mut stream =
            std::iter::repeat_with(|| TcpStream::connect(address)).find_map(Result::ok).unwrap();
        stream.write_all(b"one ").unwrap();
        link.down().unwrap();
        // Nobody is told: what is sent is taken, and who connects waits.
        stream.write_all(b"two").unwrap();
        let span = Duration::from_millis(100);
        let late = TcpStream::connect_timeout(&address, span).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut, "{late}");
        link.up().unwrap();
        drop(stream);
        assert_eq!(inside.join().unwrap(), b"one two");
        let Link { namespace, near, .. } = &link;
        let (namespace, near) = (namespace.clone(), near.clone());
        drop(link);
        assert!(!Path::new(FOLDER).join(namespace).exists());
        assert!(run("ip", &format!("link show {near}")).is_err());
    }
}
