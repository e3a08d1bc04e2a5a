//! Reading `text/event-stream` (WHATWG HTML, 9.2.6) from chunks that may be cut anywhere.

use super::http::CallError;

/// The longest event that is taken, in bytes.
const EVENT_LIMIT: usize = 1024 * 1024;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// The `event` field, or empty.
    pub(super) name: String,
    /// The `data` fields, joined by line breaks.
    pub(super) data: String,
}

/// Collects chunks into events. An event that was not ended by a blank line is dropped at the end.
#[derive(Default)]
pub(super) struct EventReader {
    buffer: Vec<u8>,
    /// Where the first line that was not taken yet begins.
    start: usize,
    /// How much of `buffer` was searched for the end of a line already.
    searched: usize,
    name: String,
    data: Option<String>,
    size: usize,
}

impl EventReader {
    pub(super) fn push(&mut self, chunk: &[u8]) {
        // Taken lines go once per chunk, not once per line.
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// The next complete event.
    pub(super) fn next_event(&mut self) -> Result<Option<Event>, CallError> {
        while let Some(line) = self.next_line() {
            self.size += line.len();
            if self.size > EVENT_LIMIT {
                return Err(CallError::TooLarge(EVENT_LIMIT));
            }
            let line = String::from_utf8_lossy(&line);
            if line.is_empty() {
                self.size = 0;
                let name = std::mem::take(&mut self.name);
                if let Some(data) = self.data.take() {
                    return Ok(Some(Event { name, data }));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => match &mut self.data {
                    None => self.data = Some(value.to_owned()),
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                },
                "event" => value.clone_into(&mut self.name),
                _ => {}
            }
        }
        if self.buffer.len() - self.start > EVENT_LIMIT {
            Err(CallError::TooLarge(EVENT_LIMIT))
        } else {
            Ok(None)
        }
    }

    /// A line without its end (`\n`, `\r\n` or `\r`).
    fn next_line(&mut self) -> Option<Vec<u8>> {
        let found = self.buffer[self.searched..].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let Some(end) = found.map(|found| self.searched + found) else {
            self.searched = self.buffer.len();
            return None;
        };
        let length = match (self.buffer[end], self.buffer.get(end + 1)) {
            (b'\r', Some(b'\n')) => 2,
            // The chunk ends in `\r`: only the next one tells whether `\n` belongs to it.
            (b'\r', None) => {
                self.searched = end;
                return None;
            }
            _ => 1,
        };
        let line = self.buffer[self.start..end].to_vec();
        self.start = end + length;
        self.searched = self.start;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(chunks: &[&[u8]]) -> Vec<Event> {
        let mut reader = EventReader::default();
        let mut found = vec![];
        for chunk in chunks {
            reader.push(chunk);
            while let Some(event) = reader.next_event().unwrap() {
                found.push(event);
            }
        }
        found
    }

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.into() }
    }

    #[test]
    fn reads_names_data_comments_and_every_line_end() {
        let text = b": hello\nevent: a\ndata: 1\n\ndata:2\r\ndata: 3\r\n\r\nid: 7\n\ndata\n\ndata: cut";
        assert_eq!(events(&[text]), [event("a", "1"), event("", "2\n3"), event("", "")]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut reader = EventReader::default();
        reader.push(b"data: ");
        let mut refused = false;
        for _ in 0..40 {
            reader.push(&vec![b'x'; 64 * 1024]);
            refused |= reader.next_event().is_err();
        }
        assert!(refused);
    }

    proptest! {
        #[test]
        fn where_chunks_are_cut_does_not_matter(cuts in proptest::collection::vec(0_usize..60, 0..8)) {
            let text = "event: x\r\ndata: one\r\n\r\ndata: two\ndata: tw\u{f6}\n\n: c\n\ndata: 3\n\n".as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut chunks = vec![];
            let mut from = 0;
            for cut in cuts {
                chunks.push(&text[from..cut]);
                from = cut;
            }
            chunks.push(&text[from..]);
            prop_assert_eq!(events(&chunks), events(&[text]));
        }
    }
}
