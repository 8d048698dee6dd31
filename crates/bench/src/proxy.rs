//! A way to the broker that is longer: what goes over it comes out later by a fixed time in either
//! direction, in order and whole.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;
/// Pieces that are under way in one direction, at most: what a distance holds.
const UNDER_WAY: usize = 1024;

/// See the module. Its connections are cut with the value.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    cut: Arc<watch::Sender<bool>>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// A way to the broker on this port of loopback that takes so much longer each way.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn start(to: u16, delay: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let cut = Arc::new(watch::Sender::new(false));
        let cutting = Arc::clone(&cut);
        let listening = tokio::spawn(async move {
            // When it cannot accept any more, whoever connects is told so by the system.
            while let Ok((near, _)) = listener.accept().await {
                let mut cut = cutting.subscribe();
                tokio::spawn(async move {
                    // A connection whose one end goes away is over for the other as well.
                    tokio::select! {
                        ended = carry(near, to, delay) => drop(ended),
                        _ = cut.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Ok(Self { port, cut, listening })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut.send_replace(true);
    }
}

async fn carry(near: TcpStream, to: u16, delay: Duration) -> io::Result<()> {
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
    }
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        ended = one_way(near_in, far_out, delay) => ended,
        ended = one_way(far_in, near_out, delay) => ended,
    }
}

async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
) -> io::Result<()> {
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let reading = async move {
        let mut piece = vec![0; PIECE];
        loop {
            let count = from.read(&mut piece).await?;
            let arrives = Instant::now() + delay;
            // Nobody waits for it any more when the other end is gone.
            if count == 0 || sender.send((arrives, piece[..count].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((arrives, piece)) = under_way.recv().await {
            tokio::time::sleep_until(arrives).await;
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(reading, writing).map(|((), ())| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn everything_comes_whole_and_later_and_its_end_is_that_of_its_connections() {
        let delay = Duration::from_millis(20);
        let proxy = Proxy::start(echo().await, delay).await.unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let begun = Instant::now();
        let (mut from, mut to) = stream.split();
        let mut came = vec![0; sent.len()];
        let (wrote, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut came));
        wrote.unwrap();
        read.unwrap();
        assert!(came == sent);
        assert!(begun.elapsed() >= 2 * delay);
        drop(proxy);
        assert!(!matches!(from.read(&mut came).await, Ok(1..)));
    }
}
