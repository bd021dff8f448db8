//! Small disks that can be filled to the last byte, and remounted.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::bench::Bench;

/// A tmpfs mounted on the bench; the bench takes it away.
pub(crate) struct Capacity {
    dir: PathBuf,
}

impl Capacity {
    /// Mounts a tmpfs of `mib` MiB at `name`.
    pub(crate) fn tmpfs(bench: &Bench, name: &str, mib: u64) -> Self {
        let dir = bench.at(name);
        fs::create_dir_all(&dir).unwrap();
        let disk = Self { dir };
        let options = format!("size={mib}m,mode=700");
        disk.mount(&["-t", "tmpfs", "-o", &options, "small"]);
        disk
    }

    /// Remounts it with `option`, as `ro`.
    pub(crate) fn remount(&self, option: &str) {
        self.mount(&["-o", &format!("remount,{option}")]);
    }

    /// Takes every byte that is left.
    pub(crate) fn fill(&self) {
        fill(&self.ballast());
    }

    /// Gives them back.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }

    fn mount(&self, args: &[&str]) {
        let status = Command::new("mount").args(args).arg(&self.dir).status().unwrap();
        assert!(status.success(), "mount {args:?}");
    }
}

/// Writes `ballast` until its disk has not one block left.
pub(crate) fn fill(ballast: &Path) {
    let mut file = fs::File::options().create(true).append(true).open(ballast).unwrap();
    for size in [1 << 20, 4096, 1] {
        let zeros = vec![0; size];
        while file.write_all(&zeros).is_ok() {}
    }
    // On a real disk the blocks are only taken now.
    drop(file.sync_all());
}
