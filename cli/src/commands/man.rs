//! Manual pages and completions, made from the command tree.

use std::{fs, path::Path};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{args::Cli, error::CliError, exit::Exit};

/// The completion script of one shell.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tesfs", &mut script);
    script
}

/// The main manual page, in roff.
pub(crate) fn main_page() -> Result<Vec<u8>, CliError> {
    let mut page = Vec::new();
    Man::new(Cli::command())
        .render(&mut page)
        .and_then(|()| exit_section(&mut page))
        .map_err(|source| CliError::Start { doing: "writing the manual page", source })?;
    Ok(page)
}

/// Writes every manual page into `dir` and says how many there are.
pub(crate) fn write_all(dir: &Path) -> Result<usize, CliError> {
    let failed =
        |source| CliError::File { doing: "writing manual pages", path: dir.into(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    fs::write(dir.join("tesfs.1"), main_page()?).map_err(failed)?;
    let mut pages = 1;
    let mut root = Cli::command();
    root.build();
    let mut left: Vec<(String, Command)> =
        root.get_subcommands().map(|command| ("tesfs".to_owned(), command.clone())).collect();
    while let Some((above, command)) = left.pop() {
        if command.is_hide_set() || command.get_name() == "help" {
            continue;
        }
        let name = format!("{above}-{}", command.get_name());
        left.extend(command.get_subcommands().map(|below| (name.clone(), below.clone())));
        let mut page = Vec::new();
        // clap wants a name that lives for ever; there are two dozen of them.
        let title: &'static str = name.clone().leak();
        Man::new(command.name(title)).render(&mut page).map_err(failed)?;
        fs::write(dir.join(format!("{name}.1")), page).map_err(failed)?;
        pages += 1;
    }
    Ok(pages)
}

fn exit_section(page: &mut Vec<u8>) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(page, ".SH \"EXIT STATUS\"")?;
    for exit in Exit::ALL {
        writeln!(page, ".TP\n\\fB{}\\fR\n{}", exit.code(), exit.meaning())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_page_lists_every_exit_code() {
        let page = String::from_utf8(main_page().unwrap()).unwrap();
        for exit in Exit::ALL {
            assert!(page.contains(exit.meaning()), "{exit:?}");
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let pages = write_all(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), pages);
        for name in ["tesfs.1", "tesfs-mount.1", "tesfs-bucket-create.1"] {
            assert!(dir.path().join(name).is_file(), "{name}");
        }
    }

    #[test]
    fn every_shell_gets_a_script() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert!(String::from_utf8(completions(shell)).unwrap().contains("umount"));
        }
    }
}
