//! A deliberate defect, for proving that the kill test finds one: the row of a version is
//! committed before the bytes it names are in their file. Only built on request.

use std::{thread, time::Duration};

use tesfs_blobs::Draft;

use crate::error::FsError;

/// How long the file lacks its bytes: long enough for a kill to fall into it.
const WINDOW: Duration = Duration::from_millis(20);

/// Takes the bytes out of a draft's file and leaves zeros.
pub(super) fn withhold(draft: &mut Draft) -> Result<Vec<u8>, FsError> {
    let size = draft.size()?;
    let mut bytes = vec![0; usize::try_from(size).expect("the kill test writes small files")];
    let mut filled = 0;
    while filled < bytes.len() {
        match draft.read_at(filled as u64, &mut bytes[filled..])? {
            0 => break,
            more => filled += more,
        }
    }
    draft.set_len(0)?;
    draft.set_len(size)?;
    Ok(bytes)
}

/// Writes them back, too late.
pub(super) fn write_back(draft: &mut Draft, bytes: &[u8]) -> Result<(), FsError> {
    thread::sleep(WINDOW);
    let mut written = 0;
    while written < bytes.len() {
        written += draft.write_at(written as u64, &bytes[written..])?;
    }
    Ok(())
}
