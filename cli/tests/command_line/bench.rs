//! A home of its own for each test, and `tesfs` run in it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::time::{ClockId, clock_gettime};

/// A home directory that is removed when the test ends.
pub(crate) struct Bench {
    home: tempfile::TempDir,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn home(&self) -> PathBuf {
        fs::canonicalize(self.home.path()).unwrap()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home().join(".local/share/tesfs")
    }

    /// The command, ready to be run in this home.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tesfs"));
        command
            .args(args)
            .current_dir(self.home())
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("TZ", "UTC")
            .env("COLUMNS", "100")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Ran {
        let output = self.command(args).output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: self.cleaned(&output.stdout),
            err: self.cleaned(&output.stderr),
        }
    }

    /// Runs a command that must succeed, and returns its stdout.
    #[track_caller]
    pub(crate) fn ok<A: AsRef<OsStr>>(&self, args: &[A]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "stdout: {}\nstderr: {}", ran.out, ran.err);
        ran.out
    }

    /// Runs a command that must end with `code`, and returns its stderr.
    #[track_caller]
    pub(crate) fn refused<A: AsRef<OsStr>>(&self, code: i32, args: &[A]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "stdout: {}\nstderr: {}", ran.out, ran.err);
        ran.err
    }

    /// Runs a command with `--json` and returns what it printed.
    #[track_caller]
    pub(crate) fn json<A: AsRef<OsStr>>(&self, args: &[A]) -> serde_json::Value {
        let mut args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
        args.push(OsStr::new("--json"));
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    /// This very moment, as it is said on a command line: what was done before is there as of it,
    /// what is done by later commands is not, for the clock that dates both has moved on.
    pub(crate) fn now(&self) -> String {
        let read = || clock_gettime(ClockId::RealtimeCoarse);
        let now = read();
        while read().tv_nsec / 1_000_000 == now.tv_nsec / 1_000_000 {
            std::thread::yield_now();
        }
        format!("@{}.{:09}", now.tv_sec, now.tv_nsec)
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Takes what differs between runs out of a text.
    fn cleaned(&self, text: &[u8]) -> String {
        let home = self.home();
        String::from_utf8_lossy(text).replace(&home.display().to_string(), "[home]")
    }
}
