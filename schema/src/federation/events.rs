//! Reading the events of a subscription from another process (`text/event-stream`).

use std::collections::VecDeque;

use reqwest::Response;

use super::http::Failure;

/// Larger events are not read.
const LARGEST: usize = 8 * 1024 * 1024;

/// A stream of events that is being read.
pub(super) struct EventReader {
    response: Response,
    parser: Parser,
}

impl EventReader {
    pub fn of(response: Response) -> Self {
        Self { response, parser: Parser::default() }
    }

    /// The next event's data; `None` when the other side says that it was the last.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            match self.parser.events.pop_front() {
                Some(Event::Next(data)) => return Ok(Some(data)),
                Some(Event::Complete) => return Ok(None),
                None => {}
            }
            match self.response.chunk().await.map_err(Failure::Lost)? {
                Some(chunk) => self.parser.take(&chunk)?,
                // Whoever ends says so; this one was cut off.
                None => return Err(Failure::Unreadable("the events ended without a last word".to_owned())),
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Next(Vec<u8>),
    Complete,
}

/// Cuts what comes into events, however it is divided on its way.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    events: VecDeque<Event>,
}

impl Parser {
    fn take(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.data.len() > LARGEST {
                return Err(Failure::Unreadable("an event is too large".to_owned()));
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.end_of_line(line.trim_ascii_end());
            }
        }
        Ok(())
    }

    fn end_of_line(&mut self, line: &[u8]) {
        if let Some(name) = line.strip_prefix(b"event:") {
            self.name = name.trim_ascii_start().to_vec();
        } else if let Some(data) = line.strip_prefix(b"data:") {
            self.data.extend_from_slice(data.trim_ascii_start());
        } else if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            match &name[..] {
                b"next" => self.events.push_back(Event::Next(data)),
                b"complete" => self.events.push_back(Event::Complete),
                // The empty line after a comment.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_divided() {
        let text =
            b":\n\nevent: next\ndata: {\"a\":1}\n\n:\n\nevent: next\ndata: {\"a\":2}\n\nevent: complete\ndata:\n\n";
        for size in [1, 2, 7, text.len()] {
            let mut parser = Parser::default();
            for chunk in text.chunks(size) {
                parser.take(chunk).expect("small events");
            }
            let next = |text: &str| Event::Next(text.as_bytes().to_vec());
            let expected = [next("{\"a\":1}"), next("{\"a\":2}"), Event::Complete];
            assert_eq!(parser.events, expected, "in parts of {size}");
        }
    }

    #[test]
    fn an_event_without_an_end_is_not_collected_for_ever() {
        let mut parser = Parser::default();
        let endless = vec![b'x'; LARGEST / 2 + 1];
        assert!(parser.take(&endless).is_ok());
        assert!(parser.take(&endless).is_err());
    }
}
