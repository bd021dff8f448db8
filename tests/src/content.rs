//! Bytes that say where they come from.
//!
//! A file is a row of 8-byte words. Each word written names the file, the write and its own
//! place in the file, so that a reader can tell a mixture from a version, and which one.

/// Spreads the fields over the word, so that a zeroed or shifted block is not mistaken for one.
const MASK: u64 = 0x5EED_C0DE_A11C_E5ED;
const WORD: u64 = 8;

/// Where eight bytes come from: file (16 bits), write (24 bits), place in words (24 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    pub file: u64,
    pub write: u64,
    pub place: u64,
}

impl Word {
    fn encode(self) -> [u8; 8] {
        let fields =
            (self.file & 0xFFFF) << 48 | (self.write & 0xFF_FFFF) << 24 | self.place & 0xFF_FFFF;
        (fields ^ MASK).to_le_bytes()
    }

    /// Reads a word back.
    #[must_use]
    pub fn decode(bytes: [u8; 8]) -> Self {
        let fields = u64::from_le_bytes(bytes) ^ MASK;
        Self { file: fields >> 48, write: fields >> 24 & 0xFF_FFFF, place: fields & 0xFF_FFFF }
    }
}

/// Makes the `len` bytes that write number `write` of `file` puts at `offset`.
#[must_use]
pub fn fill(file: u64, write: u64, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    let mut place = offset / WORD;
    let skip = usize::try_from(offset % WORD).expect("below 8");
    while bytes.len() < len + skip {
        bytes.extend_from_slice(&Word { file, write, place }.encode());
        place += 1;
    }
    bytes.drain(..skip);
    bytes.truncate(len);
    bytes
}

/// Says of the bytes around `offset` what they claim to be.
#[must_use]
pub fn describe(bytes: &[u8], offset: usize) -> String {
    let start = offset / 8 * 8;
    match bytes.get(start..start + 8).and_then(|word| <[u8; 8]>::try_from(word).ok()) {
        None => format!("nothing (size {})", bytes.len()),
        Some([0, 0, 0, 0, 0, 0, 0, 0]) => "zeroes".to_owned(),
        Some(word) => {
            let Word { file, write, place } = Word::decode(word);
            format!("file {file} write {write} place {}", place * WORD)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reads_back_what_was_written() {
        let bytes = fill(7, 99, 0, 64);
        let word = Word::decode(bytes[16..24].try_into().unwrap());
        assert_eq!(word, Word { file: 7, write: 99, place: 2 });
    }

    #[test]
    fn an_unaligned_write_is_a_slice_of_the_aligned_one() {
        let whole = fill(1, 2, 0, 100);
        assert_eq!(fill(1, 2, 13, 40), whole[13..53]);
    }
}
