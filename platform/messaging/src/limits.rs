//! How large and how deep messages may be, for those who write and for those who read.

use vostro_events::Undecodable;

/// No event and no body of a message is larger, in bytes: neither as it travels nor as it is read. The relay packs up
/// to 48 KiB into a frame; the broker takes 4 MiB, so that what is refused here is refused with a reason and not by a
/// closed channel.
pub const MESSAGE_BYTES: usize = 1024 * 1024;

/// JSON is nested no deeper, counted from the outermost bracket of the message. Events need six levels, a frame two more.
/// PostgreSQL, and whoever reads the archive, parse by recursion.
pub const JSON_DEPTH: usize = 32;

/// An event cannot be committed because nobody would take it. The transaction it belongs to must not commit either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event of type {event_type} has {bytes} bytes; at most {most} are published")]
pub struct EventTooLarge {
    pub event_type: String,
    pub bytes: usize,
    pub most: usize,
}

impl From<EventTooLarge> for sqlx::Error {
    fn from(error: EventTooLarge) -> Self {
        Self::Encode(Box::new(error))
    }
}

/// # Errors
/// [`Undecodable::TooLarge`].
pub(crate) fn check_size(bytes: usize) -> Result<(), Undecodable> {
    if bytes > MESSAGE_BYTES { Err(Undecodable::TooLarge { bytes, most: MESSAGE_BYTES }) } else { Ok(()) }
}

/// Looks at brackets only, without recursion. Whether it is JSON at all is for the parser to say.
///
/// # Errors
/// [`Undecodable::TooDeep`].
pub(crate) fn check_depth(json: &[u8]) -> Result<(), Undecodable> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > JSON_DEPTH {
                    return Err(Undecodable::TooDeep { most: JSON_DEPTH });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Vec<u8> {
        [vec![b'['; depth], vec![b']'; depth]].concat()
    }

    #[test]
    fn json_is_measured_to_the_level() {
        assert_eq!(check_depth(&nested(JSON_DEPTH)), Ok(()));
        assert_eq!(check_depth(&nested(JSON_DEPTH + 1)), Err(Undecodable::TooDeep { most: JSON_DEPTH }));
        let wide = [b"[".to_vec(), nested(JSON_DEPTH - 1), b",".to_vec(), nested(JSON_DEPTH - 1), b"]".to_vec()];
        assert_eq!(check_depth(&wide.concat()), Ok(()));
    }

    #[test]
    fn brackets_in_texts_do_not_count() {
        let text = format!(r#"{{"a": "{}", "b": "\"{}"}}"#, "[".repeat(100), "{".repeat(100));
        assert_eq!(check_depth(text.as_bytes()), Ok(()));
    }

    #[test]
    fn a_body_may_have_a_mebibyte_and_no_byte_more() {
        assert_eq!(check_size(MESSAGE_BYTES), Ok(()));
        let refusal = check_size(MESSAGE_BYTES + 1).expect_err("too large").to_string();
        assert_eq!(refusal, "the message has 1048577 bytes; at most 1048576 are read");
    }
}
