use std::fmt;
use std::fmt::Write as _;

/// Where the data of an event is that was too large to travel (CloudEvents extension `dataref`, with digest and size): with
/// the module that published the event, under its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataRef {
    pub sha256: [u8; 32],
    /// Bytes of the data.
    pub size: u64,
}

impl DataRef {
    const SCHEME: &'static str = "urn:vostro:claim:";
    const ALGORITHM: &'static str = "sha-256:";

    /// The digest in 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        self.sha256.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The digest written so.
    pub fn digest_of(hex: &str) -> Option<[u8; 32]> {
        let mut digest = [0; 32];
        if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(digest)
    }

    /// The attributes `dataref`, `datadigest` and `datasize`.
    pub(crate) fn attributes(&self, module: &str) -> [String; 3] {
        let hex = self.hex();
        [format!("{}{module}:{hex}", Self::SCHEME), format!("{}{hex}", Self::ALGORITHM), self.size.to_string()]
    }

    /// Reads the attributes; `None` when they contradict each other or name another module.
    pub(crate) fn read(module: &str, dataref: &str, digest: &str, size: &str) -> Option<Self> {
        let (of, hex) = dataref.strip_prefix(Self::SCHEME)?.split_once(':')?;
        let agreed = of == module && digest.strip_prefix(Self::ALGORITHM)? == hex;
        agreed.then_some(Self { sha256: Self::digest_of(hex)?, size: size.parse().ok()? })
    }
}

impl fmt::Display for DataRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} ({} bytes)", Self::ALGORITHM, self.hex(), self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_it_was_written_and_only_as_the_owners() {
        let reference = DataRef { sha256: std::array::from_fn(|nth| u8::try_from(nth * 7).expect("small")), size: 99 };
        let [dataref, digest, size] = reference.attributes("account");
        assert_eq!(DataRef::read("account", &dataref, &digest, &size), Some(reference));
        assert_eq!(DataRef::read("auth", &dataref, &digest, &size), None);
        assert_eq!(DataRef::read("account", &dataref, &digest.replace("00", "01"), &size), None);
        assert_eq!(DataRef::read("account", &dataref, &digest, "-1"), None);
        assert_eq!(DataRef::read("account", "https://example.org", &digest, &size), None);
        assert_eq!(DataRef::digest_of(&"é".repeat(32)), None);
    }
}
