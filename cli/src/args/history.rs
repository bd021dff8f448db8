//! What can be typed about history as a whole.

use clap::Subcommand;

use crate::size;

#[derive(Debug, Subcommand)]
pub(crate) enum HistoryCommand {
    /// Delete earlier versions whose time is over, by the bucket's setting `history`
    #[command(after_help = "\
A running node does this by itself once a day. What is current, what a branch or snapshot shows, and
what is younger than 30 days is never deleted. Bytes that no version needs any more leave the disk 7
days later, by `tesfs gc`.

Examples:
  tesfs history prune --dry-run         what would go from the bucket whose folder you stand in
  tesfs history prune photos
  tesfs history prune photos --to-free 2G --dry-run")]
    Prune {
        /// [default: the one whose folder you stand in, else the only one]
        #[arg(value_name = "BUCKET")]
        bucket: Option<String>,
        /// Delete more than the setting says, oldest first, until so many bytes are free
        #[arg(long, value_name = "SIZE", value_parser = size::parse)]
        to_free: Option<u64>,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
}
