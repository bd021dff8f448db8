//! BLAKE3's tree over 16-KiB groups, kept beside a blob so that any range of it can be verified.

use std::{
    fs::File,
    io::{self, Write},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
};

use bao_tree::{
    BaoTree, BlockSize, ChunkNum, ChunkRanges,
    io::{
        EncodeError,
        outboard::PreOrderOutboard,
        sync::{OutboardMut, encode_ranges_validated},
    },
    iter::BaoChunk,
};
use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root};

use crate::BlobHash;

/// What one leaf of the tree covers.
pub(crate) const GROUP_BYTES: u64 = GROUP_LEN as u64;
/// The same, as a length in memory.
pub(crate) const GROUP_LEN: usize = 16 * 1024;
const BLOCK_SIZE: BlockSize = BlockSize::from_chunk_log(4);
const CHUNKS_PER_GROUP: u64 = 16;
/// How much of a file is read at once while it is hashed: enough to keep the disk's readahead
/// busy, small against the memory of the node.
const READ_BYTES: usize = 1024 * 1024;
/// An outboard up to this size (that of a blob of 2 GiB) is built in memory and written at once;
/// a larger one is written in place, pair by pair.
const IN_MEMORY_MAX: u64 = 8 * 1024 * 1024;

/// The hashes of the first groups of a file, in order: what a front-to-back writer knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaves(Vec<ChainingValue>);

impl Leaves {
    /// Adds the next group.
    pub(crate) fn push(&mut self, group: &[u8]) {
        self.0.push(leaf(self.len(), group));
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn find(&self, group: u64) -> Option<&ChainingValue> {
        usize::try_from(group).ok().and_then(|group| self.0.get(group))
    }
}

fn leaf(group: u64, bytes: &[u8]) -> ChainingValue {
    blake3::Hasher::new().set_input_offset(group * GROUP_BYTES).update(bytes).finalize_non_root()
}

fn tree(size_bytes: u64) -> BaoTree {
    BaoTree::new(size_bytes, BLOCK_SIZE)
}

/// Returns the size of the outboard of a blob of `size_bytes`.
pub(crate) fn outboard_bytes(size_bytes: u64) -> u64 {
    tree(size_bytes).outboard_size()
}

/// Hashes the first `size_bytes` of a file; groups whose hash is `known` are not read again.
///
/// `advance` hears how many bytes were dealt with and may stop the work with an error.
pub(crate) fn hash_file(
    file: &File,
    size_bytes: u64,
    known: &Leaves,
    advance: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<BlobHash> {
    fold(file, size_bytes, known, Nowhere, advance)
}

/// Hashes like [`hash_file`] and writes the outboard to `target`, an empty file.
pub(crate) fn write_outboard(
    file: &File,
    size_bytes: u64,
    known: &Leaves,
    target: &File,
) -> io::Result<BlobHash> {
    let tree = tree(size_bytes);
    let root = blake3::Hash::from_bytes([0; 32]);
    let ignore = &mut |_| Ok(());
    if tree.outboard_size() > IN_MEMORY_MAX {
        let data = target.try_clone()?;
        return fold(file, size_bytes, known, PreOrderOutboard { root, tree, data }, ignore);
    }
    let mut outboard = PreOrderOutboard { root, tree, data: Vec::new() };
    let hash = fold(file, size_bytes, known, &mut outboard, ignore)?;
    target.write_all_at(&outboard.data, 0)?;
    Ok(hash)
}

/// Hashes like [`hash_file`] and says whether `outboard` has exactly the pairs of the file.
pub(crate) fn hash_and_compare(
    file: &File,
    size_bytes: u64,
    outboard: Option<&File>,
    advance: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<(BlobHash, bool)> {
    let tree = tree(size_bytes);
    let same = match outboard {
        Some(outboard) => outboard.metadata()?.len() == tree.outboard_size(),
        None => false,
    };
    let mut compare = Compare { tree, outboard: outboard.filter(|_| same), same };
    let hash = fold(file, size_bytes, &Leaves::default(), &mut compare, advance)?;
    Ok((hash, compare.same))
}

/// Compares pairs with those of an outboard.
struct Compare<'a> {
    tree: BaoTree,
    outboard: Option<&'a File>,
    same: bool,
}

impl OutboardMut for Compare<'_> {
    fn save(
        &mut self,
        node: bao_tree::TreeNode,
        (left, right): &(blake3::Hash, blake3::Hash),
    ) -> io::Result<()> {
        if let (Some(outboard), Some(place)) = (self.outboard, self.tree.pre_order_offset(node)) {
            let mut pair = [0; 64];
            outboard.read_exact_at(&mut pair, place * 64)?;
            self.same &= pair[..32] == *left.as_bytes() && pair[32..] == *right.as_bytes();
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Computes the root, and hands every pair of the tree to `pairs`.
fn fold(
    file: &File,
    size_bytes: u64,
    known: &Leaves,
    mut pairs: impl OutboardMut,
    advance: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<BlobHash> {
    let mut groups = Groups { file, size_bytes, buffer: Vec::new(), start: 0 };
    let mut stack: Vec<blake3::Hash> = Vec::new();
    for item in tree(size_bytes).post_order_chunks_iter() {
        match item {
            BaoChunk::Leaf { start_chunk, size, is_root, .. } => {
                let group = start_chunk.0 / CHUNKS_PER_GROUP;
                let hash = match known.find(group) {
                    Some(hash) if !is_root && size as u64 == GROUP_BYTES => {
                        blake3::Hash::from_bytes(*hash)
                    }
                    _ if is_root => blake3::hash(groups.read(0, size)?),
                    _ => blake3::Hash::from_bytes(leaf(
                        group,
                        groups.read(group * GROUP_BYTES, size)?,
                    )),
                };
                stack.push(hash);
                advance(size as u64)?;
            }
            BaoChunk::Parent { node, is_root, .. } => {
                let right = stack.pop().expect("a parent follows both its children");
                let left = stack.pop().expect("a parent follows both its children");
                pairs.save(node, &(left, right))?;
                stack.push(parent(&left, &right, is_root));
            }
        }
    }
    Ok(stack.pop().expect("every tree has a root").into())
}

fn parent(left: &blake3::Hash, right: &blake3::Hash, is_root: bool) -> blake3::Hash {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if is_root {
        blake3::hazmat::merge_subtrees_root(left, right, Mode::Hash)
    } else {
        blake3::Hash::from_bytes(merge_subtrees_non_root(left, right, Mode::Hash))
    }
}

/// Reads a file front to back in large pieces and shows it in small ones.
struct Groups<'a> {
    file: &'a File,
    size_bytes: u64,
    buffer: Vec<u8>,
    /// Where `buffer` begins in the file.
    start: u64,
}

impl Groups<'_> {
    fn read(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let end = self.start + self.buffer.len() as u64;
        if offset < self.start || offset + len as u64 > end {
            let left = usize::try_from(self.size_bytes - offset).unwrap_or(usize::MAX);
            self.buffer.resize(left.min(READ_BYTES).max(len), 0);
            self.file.read_exact_at(&mut self.buffer, offset)?;
            self.start = offset;
        }
        let at = usize::try_from(offset - self.start).expect("inside the buffer");
        Ok(&self.buffer[at..at + len])
    }
}

/// Where the pairs of a tree go when only its root is asked for, and where verified bytes go.
struct Nowhere;

impl OutboardMut for Nowhere {
    fn save(&mut self, _: bao_tree::TreeNode, _: &(blake3::Hash, blake3::Hash)) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a look at some groups of a file found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The bytes are those of the hash.
    Good,
    /// The outboard is right and the bytes are not.
    BytesDamaged,
    /// The outboard is not that of the hash, so nothing is known of the bytes.
    OutboardDamaged,
}

/// Verifies `groups` (group numbers) of a blob against its hash.
///
/// # Errors
///
/// Reading failed; a file that ends too early is damage, not an error.
pub(crate) fn verify_groups(
    hash: BlobHash,
    size_bytes: u64,
    file: &File,
    outboard: &File,
    groups: Range<u64>,
) -> io::Result<Verdict> {
    let pairs = PreOrderOutboard { root: hash.into(), tree: tree(size_bytes), data: outboard };
    let chunks = ChunkNum(groups.start * CHUNKS_PER_GROUP)..ChunkNum(groups.end * CHUNKS_PER_GROUP);
    match encode_ranges_validated(file, pairs, &ChunkRanges::from(chunks), Nowhere) {
        Ok(()) => Ok(Verdict::Good),
        Err(EncodeError::ParentHashMismatch(_)) => Ok(Verdict::OutboardDamaged),
        Err(EncodeError::LeafHashMismatch(_)) => Ok(Verdict::BytesDamaged),
        Err(EncodeError::Io(err)) if err.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(Verdict::BytesDamaged)
        }
        Err(err) => Err(err.into()),
    }
}

/// Says whether an outboard is there and has the size it should have.
pub(crate) fn outboard_is_whole(path: &Path, size_bytes: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.len() == outboard_bytes(size_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes around every edge of the tree.
    const SIZES: [u64; 14] = [
        0, 1, 1024, 16_383, 16_384, 16_385, 32_768, 32_769, 49_152, 65_536, 100_000, 1_048_576,
        1_048_577, 3_333_333,
    ];

    fn bytes(size: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        blake3::Hasher::new().update(&size.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn file(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn leaves(bytes: &[u8]) -> Leaves {
        let mut leaves = Leaves::default();
        bytes.chunks_exact(16_384).for_each(|group| leaves.push(group));
        leaves
    }

    #[test]
    fn the_hash_is_that_of_blake3_with_and_without_known_leaves() {
        for size in SIZES {
            let bytes = bytes(size);
            let file = file(&bytes);
            let want = BlobHash::of(&bytes);
            for known in [Leaves::default(), leaves(&bytes)] {
                let hash = hash_file(&file, size, &known, &mut |_| Ok(())).unwrap();
                assert_eq!(hash, want, "{size}");
                let outboard = tempfile::tempfile().unwrap();
                assert_eq!(write_outboard(&file, size, &known, &outboard).unwrap(), want);
                assert_eq!(outboard.metadata().unwrap().len(), outboard_bytes(size));
                let groups = 0..size.div_ceil(GROUP_BYTES).max(1);
                let verdict = verify_groups(want, size, &file, &outboard, groups).unwrap();
                assert_eq!(verdict, Verdict::Good, "{size}");
            }
        }
    }

    #[test]
    fn the_outboard_is_the_one_that_bao_tree_makes() {
        use bao_tree::io::outboard::PreOrderMemOutboard;
        for size in SIZES {
            let bytes = bytes(size);
            let outboard = tempfile::tempfile().unwrap();
            write_outboard(&file(&bytes), size, &Leaves::default(), &outboard).unwrap();
            let mut ours = vec![0; usize::try_from(outboard_bytes(size)).unwrap()];
            outboard.read_exact_at(&mut ours, 0).unwrap();
            assert_eq!(ours, PreOrderMemOutboard::create(&bytes, BLOCK_SIZE).data, "{size}");
        }
    }

    #[test]
    fn one_flipped_bit_condemns_its_group_and_no_other() {
        let mut bytes = bytes(100_000);
        let outboard = tempfile::tempfile().unwrap();
        let hash = write_outboard(&file(&bytes), 100_000, &Leaves::default(), &outboard).unwrap();
        bytes[40_000] ^= 1;
        let damaged = file(&bytes);
        let verdict = |groups| verify_groups(hash, 100_000, &damaged, &outboard, groups).unwrap();
        assert_eq!(verdict(2..3), Verdict::BytesDamaged);
        assert_eq!(verdict(0..2), Verdict::Good);
        assert_eq!(verdict(3..7), Verdict::Good);
    }

    #[test]
    fn a_damaged_or_short_outboard_is_told_from_damaged_bytes() {
        let bytes = bytes(100_000);
        let file = file(&bytes);
        let outboard = tempfile::tempfile().unwrap();
        let hash = write_outboard(&file, 100_000, &Leaves::default(), &outboard).unwrap();
        outboard.write_all_at(b"!", 70).unwrap();
        let verdict = || verify_groups(hash, 100_000, &file, &outboard, 0..1).unwrap();
        assert_eq!(verdict(), Verdict::OutboardDamaged);
        outboard.set_len(0).unwrap();
        assert_eq!(verdict(), Verdict::OutboardDamaged);
    }

    #[test]
    fn hashing_stops_when_it_is_told_to() {
        let bytes = bytes(100_000);
        let stop = &mut |_| Err(io::ErrorKind::Interrupted.into());
        assert!(hash_file(&file(&bytes), 100_000, &Leaves::default(), stop).is_err());
    }
}
