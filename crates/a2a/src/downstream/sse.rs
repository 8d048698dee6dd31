//! Reading server-sent events as they come, in pieces of any size.

/// Puts pieces of a stream together to the data of its events. Bounded: an event may have so many
/// bytes and no more.
#[derive(Debug)]
pub struct EventReader {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// Whether the last byte was a carriage return, which may be half of an end of a line.
    after_return: bool,
    most: usize,
}

impl EventReader {
    /// A reader of events of at most `most` bytes each.
    pub fn new(most: usize) -> Self {
        let (line, data) = (Vec::new(), Vec::new());
        Self { line, data, has_data: false, after_return: false, most }
    }

    /// Takes the next piece, and puts the data of the events that it completes into `events`.
    ///
    /// # Errors
    /// An event is over the bound.
    pub fn read(&mut self, piece: &[u8], events: &mut Vec<Vec<u8>>) -> Result<(), String> {
        for &byte in piece {
            let is_second = byte == b'\n' && std::mem::take(&mut self.after_return);
            self.after_return = byte == b'\r';
            match byte {
                b'\n' if is_second => {}
                b'\n' | b'\r' => self.end_line(events),
                other => self.line.push(other),
            }
            if self.line.len() + self.data.len() > self.most {
                return Err(format!("an event has more than {} bytes, the limit", self.most));
            }
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<Vec<u8>>) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            if std::mem::take(&mut self.has_data) {
                events.push(data);
            }
            return;
        }
        let Some(value) = line.strip_prefix(b"data") else { return };
        let value = match value {
            [] => value,
            [b':', b' ', rest @ ..] | [b':', rest @ ..] => rest,
            _ => return,
        };
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = b":\n\nid: 1\ndata: {\"a\":\ndata: 1}\n\nevent: x\r\ndata:two\r\n\r\ndatum: no\n\ndata\n\ndata: cut off\n";
        let expected: [&[u8]; 3] = [b"{\"a\":\n1}", b"two", b""];
        for size in 1..text.len() {
            let mut reader = EventReader::new(1 << 10);
            let mut events = Vec::new();
            for piece in text.chunks(size) {
                reader.read(piece, &mut events).unwrap();
            }
            assert_eq!(events, expected, "pieces of {size}");
        }
    }

    #[test]
    fn an_event_over_the_bound_is_refused() {
        let mut reader = EventReader::new(16);
        let mut events = Vec::new();
        assert!(reader.read(b"data: 0123456789\n", &mut events).is_ok());
        let why = reader.read(b"data: 0123456789", &mut events).unwrap_err();
        assert!(why.contains("more than 16 bytes"), "{why}");
        assert!(events.is_empty());
    }
}
