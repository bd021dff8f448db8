//! The packed attributes of an inode that most inodes do not have.
//!
//! A record is a run of fields: tag, length, value in little-endian bytes without trailing zeros.
//! A field that this build does not know is kept as it is.

use crate::id::Hlc;

const UID: u8 = 1;
const GID: u8 = 2;
const RDEV: u8 = 3;
const ATIME: u8 = 4;
const MTIME: u8 = 5;
const MTIME_HLC: u8 = 6;

/// A modification time that somebody set, and when: it holds until newer content has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetTime {
    /// The time it was set to, in Unix nanoseconds.
    pub to_ns: i64,
    /// When it was set.
    pub at: Hlc,
}

/// Owner, device number and set times; all zero or absent for most inodes of a system's root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attr {
    /// Owning user, as a number of the device that wrote it.
    pub uid: u32,
    /// Owning group, likewise.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Access time in Unix nanoseconds, once somebody set it.
    pub atime_ns: Option<i64>,
    /// Modification time, once somebody set it.
    pub mtime: Option<SetTime>,
    /// Fields of newer releases, as they were found.
    pub(super) unknown: Vec<u8>,
}

impl Attr {
    /// Reads a record; `None` and truncated fields read as absent.
    pub(crate) fn decode(record: Option<&[u8]>) -> Self {
        let mut attr = Self::default();
        let mut mtime_ns = None;
        let mut mtime_hlc = None;
        let mut rest = record.unwrap_or_default();
        while let [tag, len, tail @ ..] = rest {
            let Some((value, tail)) = tail.split_at_checked(usize::from(*len)) else { break };
            match *tag {
                UID => attr.uid = u32::try_from(unsigned(value)).unwrap_or(0),
                GID => attr.gid = u32::try_from(unsigned(value)).unwrap_or(0),
                RDEV => attr.rdev = unsigned(value),
                ATIME => attr.atime_ns = Some(signed(value)),
                MTIME => mtime_ns = Some(signed(value)),
                MTIME_HLC => mtime_hlc = Some(Hlc(unsigned(value))),
                _ => attr.unknown.extend_from_slice(&rest[..2 + usize::from(*len)]),
            }
            rest = tail;
        }
        attr.mtime = mtime_ns.zip(mtime_hlc).map(|(to_ns, at)| SetTime { to_ns, at });
        attr
    }

    /// Writes the record; `None` where there is nothing to say.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut record = Vec::with_capacity(32);
        let mut put = |tag: u8, value: u64| {
            let bytes = value.to_le_bytes();
            let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            record.push(tag);
            record.push(u8::try_from(len).expect("a u64 has at most 8 bytes"));
            record.extend_from_slice(&bytes[..len]);
        };
        for (tag, value) in [(UID, self.uid.into()), (GID, self.gid.into()), (RDEV, self.rdev)] {
            if value != 0 {
                put(tag, value);
            }
        }
        if let Some(atime_ns) = self.atime_ns {
            put(ATIME, zigzag(atime_ns));
        }
        if let Some(mtime) = self.mtime {
            put(MTIME, zigzag(mtime.to_ns));
            put(MTIME_HLC, mtime.at.0);
        }
        record.extend_from_slice(&self.unknown);
        (!record.is_empty()).then_some(record)
    }
}

fn unsigned(value: &[u8]) -> u64 {
    value.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn signed(value: &[u8]) -> i64 {
    let number = unsigned(value);
    let magnitude = i64::try_from(number >> 1).expect("63 bits fit");
    if number & 1 == 0 { magnitude } else { !magnitude }
}

fn zigzag(number: i64) -> u64 {
    (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_reads_back_as_it_was_written(
            uid: u32, gid: u32, rdev: u64, atime_ns: Option<i64>, mtime: Option<(i64, u32)>,
        ) {
            let mtime = mtime.map(|(to_ns, at)| SetTime { to_ns, at: Hlc(at.into()) });
            let attr = Attr { uid, gid, rdev, atime_ns, mtime, unknown: vec![] };
            prop_assert_eq!(Attr::decode(attr.encode().as_deref()), attr);
        }

        #[test]
        fn any_bytes_can_be_read(record: Vec<u8>) {
            let attr = Attr::decode(Some(&record));
            prop_assert_eq!(Attr::decode(attr.encode().as_deref()), attr);
        }
    }

    #[test]
    fn roots_plain_file_needs_no_record() {
        assert_eq!(Attr::default().encode(), None);
    }

    #[test]
    fn a_field_of_a_newer_release_is_kept() {
        let record = [200, 2, 7, 7, UID, 1, 5];
        let attr = Attr::decode(Some(&record));
        assert_eq!(attr.uid, 5);
        assert_eq!(Attr::decode(attr.encode().as_deref()), attr);
        assert!(attr.encode().unwrap().windows(4).any(|window| window == [200, 2, 7, 7]));
    }
}
