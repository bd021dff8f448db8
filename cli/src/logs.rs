//! Logs: to stderr, never to stdout.

use std::io;

use tracing_subscriber::{EnvFilter, fmt};

/// Begins to log: warnings by default, more with `-v`, errors only with `-q`; `RUST_LOG` is
/// stronger than either.
pub(crate) fn begin(verbose: u8, quiet: bool) {
    // fuser warns of what is no trouble: that a folder was unmounted before it could do so.
    let (others, own) = match (quiet, verbose) {
        (true, _) => ("error", "error"),
        (false, 0) => ("warn,fuser=error", "warn"),
        (false, 1) => ("warn,fuser=error", "info"),
        (false, 2) => ("warn", "debug"),
        (false, _) => ("trace", "trace"),
    };
    let mut level = others.to_owned();
    if verbose == 0 {
        // What these warn of is in the command's own words already.
        level.push_str(",tesfs_fs::recovery=error,tesfs_fs::fuse::mount_point=error");
    }
    for own_crate in ["tesfs", "tesfs_fs", "tesfs_blobs", "tesfs_pathtree"] {
        level.push_str(&format!(",{own_crate}={own}"));
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .init();
}
