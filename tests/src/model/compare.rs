//! Comparing the whole tree, and what every open handle shows, with the model.

use std::path::Path;

use super::{
    driver::{Driver, Seen},
    inode::{Id, What},
    run::{Mismatch, Run, Same, differ},
    tree::ROOT,
};

impl<D: Driver> Run<'_, D> {
    pub(super) fn compare_handles(&mut self) -> Same {
        let numbers: Vec<usize> = self.handles.keys().copied().collect();
        for number in numbers {
            let want = self.model.handle_bytes(number);
            let handle = &self.handles[&number];
            let got = self.driver.read(handle);
            if got.as_ref() != Ok(&want) {
                let got = got.map(|got| describe(&got));
                return differ(format!("handle {number} reads {got:?}, not {}", describe(&want)));
            }
            let id = self.model.opened[&number].inode;
            match self.driver.stat_handle(handle) {
                Ok(seen) => {
                    let shown = (seen.size, seen.nlink, self.numbers.get(&seen.ino));
                    let links = self.model.places.links(id) as u64;
                    if shown != (want.len() as u64, links, Some(&id)) {
                        return differ(format!("handle {number} shows {seen:?}, links {links}"));
                    }
                }
                Err(errno) => return differ(format!("handle {number} has no stat: {errno}")),
            }
        }
        Ok(())
    }

    pub(super) fn compare_tree(&mut self) -> Same {
        self.compare_inode(Path::new(""), ROOT)?;
        for directory in self.model.directories() {
            let path = self.model.places.path(directory);
            let want = self.model.places.list(directory);
            let got = self.driver.list(&path);
            let names: Vec<Vec<u8>> = want.iter().map(|(name, _)| (*name).into()).collect();
            if got.as_ref() != Ok(&names) {
                return differ(format!("{path:?} lists {got:?}, not {want:?}"));
            }
            for (name, id) in want {
                let path = path.join(name);
                self.compare_inode(&path, id)
                    .map_err(|err| Mismatch(format!("{}: {err}", path.display())))?;
            }
        }
        Ok(())
    }

    fn compare_inode(&mut self, path: &Path, id: Id) -> Same {
        if self.model.inodes[id].file().is_some() {
            self.compare_content(path, id)?;
        }
        let links = self.model.links(id) as u64;
        let inode = &self.model.inodes[id];
        let seen = match self.driver.stat(path) {
            Ok(seen) => seen,
            Err(errno) => return differ(format!("stat says {errno}")),
        };
        let number = *self.numbers.entry(seen.ino).or_insert(id);
        let known = self.numbers.iter().find(|(_, known)| **known == id).map(|(ino, _)| *ino);
        if number != id || known != Some(seen.ino) {
            return differ(format!("inode {} instead of {known:?}", seen.ino));
        }
        let (kind, size) = match &inode.what {
            What::Directory => (libc::S_IFDIR, seen.size),
            What::Symlink(target) => (libc::S_IFLNK, target.len() as u64),
            What::Fifo => (libc::S_IFIFO, 0),
            What::File(file) => (libc::S_IFREG, file.bytes().len() as u64),
        };
        let want = Seen {
            ino: seen.ino,
            mode: kind | inode.mode,
            nlink: links,
            uid: inode.uid,
            gid: inode.gid,
            size,
            atime_ns: inode.atime_ns.unwrap_or(seen.atime_ns),
            mtime_ns: inode.mtime_ns.unwrap_or(seen.mtime_ns),
        };
        if seen != want {
            return differ(format!("stat shows {seen:?}, not {want:?}"));
        }
        if let What::Symlink(target) = &inode.what {
            let got = self.driver.read_link(path);
            if got.as_ref() != Ok(target) {
                return differ(format!("the link leads to {got:?}"));
            }
        }
        if let What::Directory | What::File(_) = &inode.what {
            let got = self.driver.xattrs(path);
            if got.as_ref() != Ok(&inode.xattrs) {
                return differ(format!("attributes {got:?}, not {:?}", inode.xattrs));
            }
        }
        Ok(())
    }

    /// Compares what a fresh reader sees.
    fn compare_content(&mut self, path: &Path, id: Id) -> Same {
        let named = self.model.is_named(id);
        let read = self.driver.open_read(path, false).and_then(|handle| {
            let bytes = self.driver.read(&handle)?;
            self.driver.release(handle)?;
            Ok(bytes)
        });
        let file = self.model.file(id);
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(errno) => return differ(format!("reading says {errno}")),
        };
        let fits =
            if file.is_recovering() { file.recovers(&bytes) } else { file.shows(&bytes, named) };
        if fits {
            return Ok(());
        }
        let want = describe(&file.published().bytes);
        differ(format!("reads {}, not {want}", describe(&bytes)))
    }
}

/// Says what bytes look like: runs of zeros and of patterns, with where each pattern began.
fn describe(bytes: &[u8]) -> String {
    let mut runs: Vec<(usize, Option<usize>)> = vec![];
    for (at, byte) in bytes.iter().enumerate() {
        let phase = byte.checked_sub(1).map(|byte| (usize::from(byte) + 251 - at % 251) % 251);
        if runs.last().is_none_or(|(_, last)| *last != phase) {
            runs.push((at, phase));
        }
    }
    let shown: Vec<String> = runs
        .iter()
        .take(8)
        .map(|(at, phase)| match phase {
            Some(phase) => format!("pattern {phase} from {at}"),
            None => format!("zeros from {at}"),
        })
        .collect();
    format!("{} bytes ({})", bytes.len(), shown.join(", "))
}
