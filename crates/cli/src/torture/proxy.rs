//! A network of our own between the load and the broker: connections pass through this process,
//! which cuts them, delays them or lets nothing through in one direction.
//!
//! It stands before the broker, and inside its network if the broker has one of its own. It needs no rights that a user does not have. It loses no bytes of a connection that lives,
//! as TCP does not: what is held back arrives later and in order, or the connection breaks.

use super::link::Door;
use super::process::free_port;
use crate::error::CliError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The most bytes that are passed on at once.
const CHUNK: usize = 64 << 10;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// To the broker.
    There,
    /// From it.
    Back,
    /// Both of these.
    Both,
}

/// How things stand on the network.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Weather {
    /// What is read is passed on so much later.
    late: Duration,
    /// The ways on which nothing gets through.
    stalled: Option<Way>,
    /// How often every connection was cut.
    cuts: u64,
    /// Whether the last cut was a reset.
    reset: bool,
}

/// The connections through it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Traffic {
    /// Those that there are.
    open: u64,
    /// Those that were cut.
    cut: u64,
}

/// See the module. When it is dropped, every connection through it breaks.
#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    /// What every connection goes by; each follows it by itself.
    weather: watch::Sender<Weather>,
    /// What the connections tell of themselves.
    traffic: Arc<watch::Sender<Traffic>>,
    _serving: DropGuard,
}

impl Proxy {
    /// A way to a broker on the network that everybody uses.
    ///
    /// # Errors
    /// There is no port for it.
    pub(super) async fn start(broker: SocketAddr) -> Result<Self, CliError> {
        let listener = TcpListener::bind(free_port()?).await?;
        let address = listener.local_addr()?;
        let (stop, weather) = (CancellationToken::new(), watch::Sender::new(Weather::default()));
        let traffic = Arc::new(watch::Sender::new(Traffic::default()));
        let serving = serve(listener, broker, weather.subscribe(), Arc::clone(&traffic));
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        Ok(Self { address, weather, traffic, _serving: stop.drop_guard() })
    }

    /// A way to a broker inside a network of its own, at an address there.
    ///
    /// # Errors
    /// The network cannot be entered, or the address cannot be used.
    pub(super) async fn start_inside(
        door: Door,
        broker: SocketAddr,
        address: SocketAddr,
    ) -> Result<Self, CliError> {
        let (stop, weather) = (CancellationToken::new(), watch::Sender::new(Weather::default()));
        let traffic = Arc::new(watch::Sender::new(Traffic::default()));
        let (until, sky, told) = (stop.clone(), weather.subscribe(), Arc::clone(&traffic));
        let (began, begun) = oneshot::channel();
        // A thread of its own, because a thread is in one network, with all that it opens.
        std::thread::Builder::new().name("torture-proxy".into()).spawn(move || {
            let ready = inside(&door, address);
            match ready {
                Ok((runtime, listener)) => {
                    // Who started this waits for it.
                    let _ = began.send(Ok(()));
                    let serving = serve(listener, broker, sky, told);
                    runtime.block_on(until.run_until_cancelled(serving));
                }
                Err(error) => drop(began.send(Err(error))),
            }
        })?;
        begun.await.map_err(io::Error::other)??;
        Ok(Self { address, weather, traffic, _serving: stop.drop_guard() })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection, by a reset or an end, as soon as there is one. Tells whether one
    /// was broken by that: one that ends by itself in the same moment was not.
    pub(super) async fn cut(&self, reset: bool) -> bool {
        let mut traffic = self.traffic.subscribe();
        // The sender is here.
        let Ok(before) = traffic.wait_for(|now| now.open > 0).await.map(|now| *now) else {
            return false;
        };
        self.weather.send_modify(|weather| {
            weather.cuts += 1;
            weather.reset = reset;
        });
        let after = traffic.wait_for(|now| now.cut > before.cut || now.open == 0).await;
        after.is_ok_and(|now| now.cut > before.cut)
    }

    /// Passes everything on so much later from now on.
    pub(super) fn delay(&self, late: Duration) {
        self.weather.send_modify(|weather| weather.late = late);
    }

    /// Lets nothing through on a way, or everything on both.
    pub(super) fn stall(&self, way: Option<Way>) {
        self.weather.send_modify(|weather| weather.stalled = way);
    }
}

impl Weather {
    /// Whether nothing gets through on a way.
    fn stalls(self, way: Way) -> bool {
        self.stalled.is_some_and(|stalled| stalled == way || stalled == Way::Both)
    }
}

/// What serves inside a network, in the thread that calls this.
fn inside(door: &Door, address: SocketAddr) -> io::Result<(Runtime, TcpListener)> {
    door.enter()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(address))?;
    Ok((runtime, listener))
}

async fn serve(
    listener: TcpListener,
    broker: SocketAddr,
    weather: watch::Receiver<Weather>,
    traffic: Arc<watch::Sender<Traffic>>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // One that went away before it was accepted is no concern of the others.
                if let Ok((near, _)) = accepted {
                    let traffic = Arc::clone(&traffic);
                    connections.spawn(connection(near, broker, weather.clone(), traffic));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Passes bytes on both ways until either side breaks or the connection is cut. A broker that is
/// away ends it at once.
async fn connection(
    mut near: TcpStream,
    broker: SocketAddr,
    mut weather: watch::Receiver<Weather>,
    traffic: Arc<watch::Sender<Traffic>>,
) {
    let cuts = weather.borrow_and_update().cuts;
    let Ok(mut far) = TcpStream::connect(broker).await else { return };
    for stream in [&near, &far] {
        if stream.set_nodelay(true).is_err() {
            return;
        }
    }
    traffic.send_modify(|traffic| traffic.open += 1);
    let cut = {
        let ((near_read, near_write), (far_read, far_write)) = (near.split(), far.split());
        let there = pass(Way::There, near_read, far_write, weather.clone());
        let back = pass(Way::Back, far_read, near_write, weather.clone());
        tokio::select! {
            // An end is passed on, and the other way goes on until it ends too; an error ends both.
            _ = async { tokio::try_join!(there, back) } => None,
            now = weather.wait_for(|weather| weather.cuts > cuts) => now.ok().map(|now| now.reset),
        }
    };
    if cut == Some(true) {
        for stream in [&near, &far] {
            // If it cannot be reset, an end will do.
            let _ = stream.set_zero_linger();
        }
    }
    drop((near, far));
    traffic.send_modify(|traffic| {
        traffic.open -= 1;
        traffic.cut += u64::from(cut.is_some());
    });
}

/// Passes bytes on one way until there are no more.
async fn pass(
    way: Way,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK];
    loop {
        let read = from.read(&mut bytes).await?;
        // The sender goes with the whole run.
        let now = weather.wait_for(|weather| !weather.stalls(way)).await;
        let late = now.map(|weather| weather.late).unwrap_or_default();
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker that says everything back, and a client of it through a proxy.
    async fn pair() -> (Proxy, TcpStream) {
        let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = broker.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = broker.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let proxy = Proxy::start(address).await.unwrap();
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        (proxy, client)
    }

    async fn echo(client: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        client.write_all(text).await?;
        let mut back = vec![0; text.len()];
        client.read_exact(&mut back).await?;
        Ok(back)
    }

    #[tokio::test]
    async fn bytes_pass_and_an_end_is_passed_on() {
        let (_proxy, mut client) = pair().await;
        assert_eq!(echo(&mut client, b"one").await.unwrap(), b"one");
        client.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_cut_breaks_every_connection_and_new_ones_pass() {
        for reset in [false, true] {
            let (proxy, mut client) = pair().await;
            assert_eq!(echo(&mut client, b"one").await.unwrap(), b"one");
            assert!(proxy.cut(reset).await);
            let end = client.read(&mut [0; 1]).await;
            assert_eq!(end.is_err(), reset, "{end:?}");
            let mut client = TcpStream::connect(proxy.address()).await.unwrap();
            assert_eq!(echo(&mut client, b"two").await.unwrap(), b"two");
        }
    }

    #[tokio::test]
    async fn nothing_is_cut_before_there_is_a_connection() {
        let (proxy, mut client) = pair().await;
        assert_eq!(echo(&mut client, b"one").await.unwrap(), b"one");
        client.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        proxy.traffic.subscribe().wait_for(|now| now.open == 0).await.unwrap();
        assert_eq!(*proxy.traffic.borrow(), Traffic { open: 0, cut: 0 });
        let mut cut = std::pin::pin!(proxy.cut(false));
        tokio::select! {
            biased;
            was = &mut cut => panic!("nothing is there to be cut: {was}"),
            () = std::future::ready(()) => {}
        }
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(cut.await);
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        proxy.traffic.subscribe().wait_for(|now| now.open == 0).await.unwrap();
        assert_eq!(*proxy.traffic.borrow(), Traffic { open: 0, cut: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_stalled_or_late_arrives_afterwards_and_whole() {
        let (proxy, mut client) = pair().await;
        for way in [Way::There, Way::Back, Way::Both] {
            proxy.stall(Some(way));
            let held = tokio::time::timeout(Duration::from_secs(5), echo(&mut client, b"held"));
            assert!(held.await.is_err(), "{way:?}");
            proxy.stall(None);
            let mut back = [0; 4];
            client.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"held");
        }
        proxy.delay(Duration::from_secs(3));
        let begun = tokio::time::Instant::now();
        assert_eq!(echo(&mut client, b"late").await.unwrap(), b"late");
        assert!(begun.elapsed() >= Duration::from_secs(6));
    }
}
