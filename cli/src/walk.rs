//! Visits every file at or below a place in a bucket.

use tesfs_fs::{Attributes, FileKind, FsError, Vfs};
use tesfs_pathtree::{BlobNumber, Ino, Name, tree};

use crate::{
    error::CliError,
    node::Node,
    place::{Place, join},
    progress::Progress,
};

/// A file on the way.
pub(crate) struct Visited {
    /// From the bucket's root.
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
    /// Where its bytes are; `None` where it is empty or has no version yet.
    pub(crate) blob: Option<BlobNumber>,
}

/// Visits the files at and below `place`, directory by directory.
///
/// # Errors
///
/// Those of `visit`, a failed read of the tree, or an interrupt.
pub(crate) fn visit_files(
    node: &Node,
    vfs: &Vfs,
    place: &Place,
    progress: &Progress,
    mut visit: impl FnMut(&Visited) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let view = node.view(&place.shown)?;
    let top = place.require(vfs)?;
    let mut left: Vec<(Vec<Name>, Ino)> = Vec::new();
    let mut look = |names: Vec<Name>, found: &Attributes, left: &mut Vec<(Vec<Name>, Ino)>| {
        match found.kind {
            FileKind::Directory => left.push((names, found.ino)),
            FileKind::File => {
                let inode = node.db().read(|conn| tree::inode(conn, &view, found.ino))?;
                // Gone since the listing: nothing to look at.
                let Some(inode) = inode else { return Ok(()) };
                let path = join(&names);
                visit(&Visited { path, size_bytes: inode.size, blob: inode.blob })?;
            }
            _ => {}
        }
        Ok::<(), CliError>(())
    };
    look(place.names.clone(), &top, &mut left)?;
    while let Some((names, directory)) = left.pop() {
        progress.go_on()?;
        let listed = vfs.list_with_attributes(directory).map_err(|err| unreadable(&names, err))?;
        for (entry, found) in listed {
            let mut below = names.clone();
            below.push(entry.name);
            look(below, &found, &mut left)?;
        }
    }
    Ok(())
}

fn unreadable(names: &[Name], source: FsError) -> CliError {
    CliError::tree("reading", join(names), source)
}
