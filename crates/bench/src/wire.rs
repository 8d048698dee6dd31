//! What the wire alone can do: the bound beside which a round trip is read.

use crate::observe::Note;
use crate::report::WireLimit;
use crate::{BenchError, clock};
use hdrhistogram::Histogram;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

/// What is sent to and fro.
const BYTES: usize = 256;
/// How often.
const ROUNDS: u32 = 5_000;

/// Measures a round trip of 256 bytes between two threads over TCP on loopback, one at a time. A
/// request to an agent and its reply are two such round trips: caller and broker, broker and
/// agent. Blocks for less than a second.
///
/// # Errors
/// The system's.
pub(crate) fn measure() -> Result<WireLimit, BenchError> {
    let failed = |error| BenchError::System { what: "cannot measure the wire".to_owned(), error };
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let mut near = TcpStream::connect(address).map_err(failed)?;
    let (mut far, _) = listener.accept().map_err(failed)?;
    for socket in [&near, &far] {
        socket.set_nodelay(true).map_err(failed)?;
    }
    let echo = thread::spawn(move || {
        let mut block = [0; BYTES];
        // Ends when the other side closes.
        while far.read_exact(&mut block).and_then(|()| far.write_all(&block)).is_ok() {}
    });
    let mut spans = Histogram::<u64>::new(3).expect("three digits are allowed");
    let mut block = [0xA5; BYTES];
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        near.write_all(&block).and_then(|()| near.read_exact(&mut block)).map_err(failed)?;
        spans.note(clock::nanos(begun.elapsed()));
    }
    drop(near);
    // It ends with the connection and has nothing to tell.
    let _ = echo.join();
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(WireLimit { round_trip_p50_us: spans.value_at_quantile(0.5) as f64 / 1e3 })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_wire_is_measured() {
        let limit = super::measure().expect("loopback is there");
        assert!(limit.round_trip_p50_us > 0.0);
    }
}
