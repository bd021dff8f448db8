//! Logs: to stderr, never to stdout.

use std::io;

use tracing_subscriber::{EnvFilter, fmt};

/// Begins to log: warnings by default, more with `-v`, errors only with `-q`; `RUST_LOG` is
/// stronger than either.
pub(crate) fn begin(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "warn,tesfs=info,tesfs_fs=info,tesfs_blobs=info,tesfs_pathtree=info",
        (false, 2) => "warn,tesfs=debug,tesfs_fs=debug,tesfs_blobs=debug,tesfs_pathtree=debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .init();
}
