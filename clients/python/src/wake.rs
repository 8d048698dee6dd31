//! Wakes an event loop from any thread, by a byte in a socket that the loop watches.
//!
//! Writing it takes no lock of the interpreter, so that no thread of the runtime ever waits for
//! Python.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// See the module.
#[derive(Debug)]
pub(crate) struct Wake {
    write: UnixStream,
    read: UnixStream,
}

impl Wake {
    /// # Errors
    /// The process has no file descriptors left.
    pub(crate) fn new() -> io::Result<Self> {
        let (write, read) = UnixStream::pair()?;
        write.set_nonblocking(true)?;
        read.set_nonblocking(true)?;
        Ok(Self { write, read })
    }

    /// What the loop is to watch until it can be read.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    /// Wakes the loop.
    pub(crate) fn wake(&self) {
        // A full socket wakes it as well, and one that nobody reads any longer has nobody to wake.
        let _ = (&self.write).write(&[1]);
    }

    /// The loop is awake.
    pub(crate) fn clear(&self) {
        let mut bytes = [0; 64];
        while let Ok(64) = (&self.read).read(&mut bytes) {}
    }
}
