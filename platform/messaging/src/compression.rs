//! Zstandard for the bodies of frames. The events of a frame repeat each other's field names, times and ids: a frame shrinks
//! to a fifth, and with it what the broker writes to disk for each of its queues.

use std::cell::RefCell;

use vostro_events::Undecodable;
use zstd::bulk::{Compressor, Decompressor};

use crate::limits;

/// The content encoding's registered name (RFC 8878, section 7.2).
pub(crate) const ZSTD: &str = "zstd";
/// The fastest of the regular levels; higher ones cost more processor time than the bytes are worth.
const LEVEL: i32 = 1;

thread_local! {
    // Setting up a context costs more than packing a frame with it.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

pub(crate) fn compress(plain: &[u8]) -> Vec<u8> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = slot.get_or_insert_with(|| Compressor::new(LEVEL).expect("level 1 exists"));
        compressor.compress(plain).expect("the buffer is as large as the worst case needs")
    })
}

/// # Errors
/// [`Undecodable::Malformed`] when the bytes are not one whole frame that says how large its content is, and
/// [`Undecodable::TooLarge`] when that is more than anybody sends: a small message must not fill the memory.
pub(crate) fn expand(packed: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let size = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten();
    let size = size.and_then(|size| usize::try_from(size).ok()).ok_or_else(|| no_frame("its size is missing"))?;
    limits::check_size(size)?;
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = slot.get_or_insert_with(|| Decompressor::new().expect("a context without a dictionary"));
        decompressor.decompress(packed, size).map_err(no_frame)
    })
}

fn no_frame(reason: impl std::fmt::Display) -> Undecodable {
    Undecodable::Malformed(format!("the body is no complete Zstandard frame: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MESSAGE_BYTES;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_compressed_expands_to_itself(plain in prop::collection::vec(any::<u8>(), 0..5_000)) {
            prop_assert_eq!(expand(&compress(&plain)), Ok(plain));
        }

        #[test]
        fn anything_else_is_refused_and_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(expand(&bytes).is_err());
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_expands() {
        let bomb = compress(&vec![0; MESSAGE_BYTES + 1]);
        assert!(bomb.len() < 4096, "{}", bomb.len());
        assert_eq!(expand(&bomb), Err(Undecodable::TooLarge { bytes: MESSAGE_BYTES + 1, most: MESSAGE_BYTES }));
        assert_eq!(expand(&compress(&vec![0; MESSAGE_BYTES])).map(|plain| plain.len()), Ok(MESSAGE_BYTES));
    }
}
