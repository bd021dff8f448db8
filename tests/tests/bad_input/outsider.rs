//! A mount namespace of its own, with a machine that can lack things and an ordinary user in it.
//!
//! Nothing here touches the machine: /dev/fuse, /etc/passwd and what else is changed are bound
//! over inside the namespace, which is gone with its last process.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::chown,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::{bench::Bench, ran::Ran};

/// An ordinary user, who exists in the namespace only.
const UID: u32 = 47_474;

/// What is bound over in every namespace: a device that everybody may open, as on most machines
/// (and not on those that test), a user, and the command where he can reach it.
const MACHINE: &str = "
    mkdir -m 755 machine
    mknod -m 666 machine/fuse c 10 229
    mount --bind machine/fuse /dev/fuse
    cp /etc/passwd machine/passwd
    echo 'tesfs-outsider:x:47474:47474::/:/bin/sh' >> machine/passwd
    mount --bind machine/passwd /etc/passwd
    touch machine/tesfs
    mount --bind \"$TESFS\" machine/tesfs
";

/// A mount namespace, held open by a process that does nothing else.
pub(crate) struct Outsider<'a> {
    bench: &'a Bench,
    holder: Child,
}

impl<'a> Outsider<'a> {
    /// Makes the namespace and changes the machine in it with the shell commands of `change`.
    pub(crate) fn new(bench: &'a Bench, change: &str) -> Self {
        let script = format!("set -e; umask 022; {MACHINE}\n{change}\necho ready; read end");
        let mut command = Command::new("unshare");
        bench.settle_in(&mut command);
        let mut holder = command
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .env("TESFS", tesfs_tests::Node::binary().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the namespace was not made");
        // The way to what belongs to the user, who is not the owner of the bench.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(bench.at(""), open).unwrap();
        let outsider = Self { bench, holder };
        outsider.own("home");
        outsider
    }

    /// Makes a directory of the user's own.
    pub(crate) fn own(&self, name: &str) -> PathBuf {
        let dir = self.bench.at(name);
        fs::create_dir_all(&dir).unwrap();
        chown(&dir, Some(UID), Some(UID)).unwrap();
        dir
    }

    /// `tesfs` as root, in the namespace.
    pub(crate) fn root(&self, args: &[&str]) -> Ran {
        let mut command = self.enter(&["machine/tesfs"]);
        command.args(args).output().unwrap().into()
    }

    /// `tesfs` as the user, in the namespace, with a data directory of his own.
    pub(crate) fn user(&self, args: &[&str]) -> Ran {
        self.user_with_path("/usr/bin:/bin", args)
    }

    /// As [`Outsider::user`], for programs are looked for in `path` only.
    pub(crate) fn user_with_path(&self, path: &str, args: &[&str]) -> Ran {
        let mut command = self.as_user(&["machine/tesfs"]);
        command.args(args).env("PATH", path);
        command.output().unwrap().into()
    }

    /// Any shell command as the user, in the namespace.
    pub(crate) fn user_shell(&self, script: &str) -> Ran {
        self.as_user(&["sh", "-c", script]).output().unwrap().into()
    }

    fn as_user(&self, words: &[&str]) -> Command {
        let uid = UID.to_string();
        let set = ["/usr/bin/setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups", "--"];
        let mut command = self.enter(&[&set[..], words].concat());
        command
            .env("HOME", self.bench.at("home"))
            .env("TESFS_DATA_DIR", self.bench.at("home/data"));
        command
    }

    fn enter<A: AsRef<OsStr>>(&self, words: &[A]) -> Command {
        let mut command = Command::new("/usr/bin/nsenter");
        self.bench.settle_in(&mut command);
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        // The directory is looked up inside: from outside it shows nothing that is bound there.
        let inside = format!("--wdns={}", self.bench.at("").display());
        command.args([namespace, inside]).arg("--").args(words);
        command
    }
}

impl Drop for Outsider<'_> {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
