//! `serve`: a broker on one port.
//!
//! The port is bound before the store is recovered, so that probes have an answer meanwhile.

use super::serve_reload::Reload;
use super::signals::{Signals, interrupted};
use crate::config::{Override, Settings};
use crate::descriptors;
use crate::error::CliError;
use crate::exit::Exit;
use crate::memory::{give_back, give_back_at_rest};
use crate::output::Output;
use crate::output::units::{exact_span, parse_span};
use crate::torture::room::Room;
use clap::Args;
use serde_json::json;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trunkline_broker::{Broker, BrokerConfig, BrokerState, OpenError, Store};
use trunkline_log::{Directory, DropUnsynced, Storage};
use trunkline_server::{Server, ServerConfig};

/// What `serve` takes.
#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(after_help = "\
Examples:
  trunkline serve
  trunkline serve --listen 127.0.0.1:0 --port-file port --data ./data
  trunkline serve --config trunkline.toml

The data directory is $XDG_DATA_HOME/trunkline, or ~/.local/share/trunkline, when none is given.
Ctrl-C or SIGTERM ends it in order; a second one at once. SIGHUP has it read its configuration
again. All settings, and which of them can change while it runs: `trunkline config show`.")]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7420].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Keep accepted work in this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    data: Option<PathBuf>,
    /// Take settings from this file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep everything in memory: a restart loses it.
    #[arg(long)]
    ephemeral: bool,
    /// Allow listening beyond loopback although callers are not authenticated.
    #[arg(long)]
    insecure: bool,
    /// After a signal, wait at most this long for held work to end [default: 10s].
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    drain_timeout: Option<Duration>,
    /// Write the address that was bound to this file.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// Hold unflushed bytes in memory, so that SIGKILL loses them as a power cut would.
    #[arg(long, hide = true, conflicts_with_all = ["ephemeral", "never_flush"])]
    unflushed_lost: bool,
    /// The same, and never flush: a broker that breaks its promise, to show that it is noticed.
    #[arg(long, hide = true, conflicts_with = "ephemeral")]
    never_flush: bool,
    /// Let the files of the log take no more bytes in all than are written in this file, which may
    /// change at any time: a disk that runs full and has room again.
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "ephemeral")]
    room: Option<PathBuf>,
}

impl ServeArgs {
    /// What the flags say, as settings.
    fn overrides(&self) -> Vec<Override> {
        let mut overrides = Vec::new();
        let mut set = |key, flag, value: String| overrides.push(Override { key, flag, value });
        if let Some(listen) = self.listen {
            set("server.listen", "--listen", listen.to_string());
        }
        if let Some(data) = &self.data {
            set("broker.data", "--data", data.to_string_lossy().into_owned());
            // A directory that is asked for now is wanted more than what a file says.
            set("broker.ephemeral", "--data", "false".into());
        }
        if self.ephemeral {
            set("broker.ephemeral", "--ephemeral", "true".into());
        }
        if self.insecure {
            set("server.insecure", "--insecure", "true".into());
        }
        if let Some(span) = self.drain_timeout {
            set("server.drain_grace", "--drain-timeout", exact_span(span));
        }
        overrides
    }
}

/// Runs the command.
pub(crate) async fn run(args: ServeArgs, output: &Output) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let flags = args.overrides();
    let settings = Settings::load(args.config.as_deref(), &flags)?.settings;
    let mut reload = Reload::new(args.config.clone(), flags, settings.clone())?;
    descriptors::raise_for(settings.server.max_connections);
    let drain_grace = settings.server.drain_grace;
    let payload_bytes = settings.broker.engine.limits.payload_bytes;
    let bound = Server::bind(ServerConfig { payload_bytes, ..settings.server.clone() })
        .map_err(|error| CliError::with_remedy(Exit::CannotServe, error))?;
    let address = bound.local_addr();
    if let Some(path) = &args.port_file {
        write_address(path, address)?;
    }
    let shutdown = CancellationToken::new();
    let handle = bound.handle();
    let mut serving = tokio::spawn(bound.serve(shutdown.clone()));
    let data = settings.data()?;
    let opening = open(&settings, data.clone(), &args);
    let broker = tokio::select! {
        broker = opening => broker?,
        // Nothing was promised to anybody yet.
        () = signals.next() => return Ok(()),
    };
    let mut state = broker.watch_state();
    handle.set_broker(broker.clone());
    // Ends with the runtime.
    tokio::spawn(give_back_at_rest());
    announce(address, data.as_deref(), output)?;
    loop {
        let failed = state.wait_for(|state| matches!(state, BrokerState::Failed(_)));
        tokio::select! {
            failed = failed => return match failed.map(|state| state.clone()) {
                Ok(BrokerState::Failed(reason)) => Err(store_failed(&reason, data.as_deref())),
                _ => Err(CliError::new(Exit::General, "the broker ended by itself")),
            },
            ended = &mut serving => return Err(ended_by_itself(ended.err())),
            () = signals.next() => break,
            () = reload.wanted() => reload.apply(&broker, output),
        }
    }
    // The server lets its own go when it has drained; this one would keep it alive.
    drop(broker);
    let span = exact_span(drain_grace);
    output.note(format_args!("draining, at most {span}; a second signal ends it at once"));
    shutdown.cancel();
    drained(serving, &mut signals).await?;
    output.note("stopped");
    Ok(())
}

async fn drained(serving: JoinHandle<()>, signals: &mut Signals) -> Result<(), CliError> {
    tokio::select! {
        ended = serving => match ended {
            Ok(()) => Ok(()),
            Err(error) => Err(ended_by_itself(Some(error))),
        },
        () = signals.next() => Err(interrupted()),
    }
}

async fn open(
    settings: &Settings,
    data: Option<PathBuf>,
    args: &ServeArgs,
) -> Result<Broker, CliError> {
    let store = match data {
        None => Store::Memory,
        Some(path) if args.unflushed_lost || args.never_flush || args.room.is_some() => {
            let disk = Directory::open(path).map_err(|error| cannot_open(&error.into()))?;
            let mut disk: Arc<dyn Storage> = Arc::new(disk);
            if let Some(room) = &args.room {
                disk = Arc::new(Room::new(disk, room.clone()));
            }
            if args.never_flush {
                disk = Arc::new(DropUnsynced::ignoring_sync(disk));
            } else if args.unflushed_lost {
                disk = Arc::new(DropUnsynced::new(disk));
            }
            Store::Custom(disk)
        }
        Some(path) => Store::Directory(path),
    };
    let config = BrokerConfig { store, at_rest: give_back, ..settings.broker.clone() };
    Broker::open(config).await.map_err(|error| cannot_open(&error))
}

/// A store that is somebody else's is no failure of it; a damaged one is.
fn cannot_open(error: &OpenError) -> CliError {
    use trunkline_log::OpenError as Log;
    let exit = match error {
        OpenError::Log(
            Log::Locked { .. } | Log::NewerFormat { .. } | Log::UnknownFormat { .. },
        )
        | OpenError::Start(_) => Exit::CannotServe,
        OpenError::Log(Log::Config { .. }) | OpenError::Setting(_) => Exit::Usage,
        OpenError::Log(
            Log::Corrupt { .. } | Log::Refused { .. } | Log::Full { .. } | Log::Io { .. },
        )
        | OpenError::Index(_)
        | OpenError::FirstWrite(_) => Exit::StoreFailed,
    };
    let message = error.to_string();
    match message.split_once(": ") {
        // The log's messages name the remedy after a colon, where there is one.
        Some((what, remedy)) if exit == Exit::CannotServe => CliError::new(exit, what).hint(remedy),
        _ => CliError::new(exit, message),
    }
}

fn store_failed(reason: &str, data: Option<&Path>) -> CliError {
    let place = data.map_or_else(String::new, |path| format!(" in {}", path.display()));
    CliError::new(Exit::StoreFailed, format_args!("the log{place} failed: {reason}")).hint(
        "what was accepted is safe; mend the disk and start the broker again on the same directory",
    )
}

fn ended_by_itself(error: Option<tokio::task::JoinError>) -> CliError {
    let why = error.map_or_else(|| "for no known reason".into(), |error| error.to_string());
    CliError::new(Exit::General, format_args!("the server ended by itself: {why}"))
}

/// Says where it listens and how to reach it. Whoever started it waits for this line.
fn announce(address: SocketAddr, data: Option<&Path>, output: &Output) -> Result<(), CliError> {
    let url = url(address);
    let said = if output.is_json() {
        output.value(&json!({
            "listen": address.to_string(),
            "url": url,
            "data": data.map(|path| path.to_string_lossy()),
            "pid": process::id(),
        }))
    } else {
        let place = data.map_or_else(|| "memory".into(), |path| path.display().to_string());
        output.line(format_args!(
            "trunkline listens on {address}, keeps its data in {place}; connect with --url {url}"
        ))
    };
    match said {
        // A broker whose starter no longer reads goes on.
        Err(error) if error.exit == Exit::BrokenPipe => Ok(()),
        said => said,
    }
}

/// How a client on this machine reaches it.
fn url(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(host, address.port()))
}

/// Writes the address in one piece, so that no reader sees half of it.
fn write_address(path: &Path, address: SocketAddr) -> Result<(), CliError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        writeln!(file, "{address}")?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| {
        let message = format!("cannot write the address to {}: {error}", path.display());
        CliError::new(Exit::CannotServe, message)
    })
}
