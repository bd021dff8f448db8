//! The one place that prints: answers to stdout, everything else to stderr.

#![expect(clippy::print_stderr, reason = "this is where tesfs prints")]

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    exit::Exit,
    failure::Failure,
    progress::{Event, Listener, Step},
};

/// A bar appears only when the work takes longer than this.
const BAR_AFTER: Duration = Duration::from_millis(500);

/// An answer as people read it.
pub(crate) trait Show {
    /// The text for stdout, without a line break at its end; empty prints nothing.
    fn show(&self) -> String;

    /// How the command ended.
    fn exit(&self) -> Exit {
        Exit::Success
    }
}

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Output {
    /// Prints the answer of a command.
    pub(crate) fn answer(self, answer: &(impl Show + Serialize)) {
        if self.json {
            // Our answers are plain data: making JSON of them cannot fail.
            self.line(&serde_json::to_string_pretty(answer).unwrap_or_default());
        } else {
            self.line(&answer.show());
        }
    }

    /// Prints a text as it is (a completion script, a manual page).
    pub(crate) fn raw(self, bytes: &[u8]) {
        self.try_raw(bytes);
    }

    /// The same; says whether there is still a reader.
    fn try_raw(self, bytes: &[u8]) -> bool {
        // A closed pipe (`| head`) is the reader's wish, not an error.
        let mut out = io::stdout().lock();
        let written = out.write_all(bytes).and_then(|()| out.flush());
        if let Err(err) = &written {
            tracing::debug!(error = %err, "stdout closed");
        }
        written.is_ok()
    }

    fn line(self, text: &str) {
        if !text.is_empty() {
            self.raw(format!("{text}\n").as_bytes());
        }
    }

    /// Prints a remark for the operator to stderr.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Prints why a command failed, and what to do now, to stderr.
    pub(crate) fn failure(self, failure: &Failure) {
        eprint!("{}", self.failure_text(failure));
    }

    fn failure_text(self, failure: &Failure) -> String {
        if self.json {
            let error = serde_json::json!({ "error": failure });
            return format!("{error:#}\n");
        }
        let mut text = format!("error: {}\n", failure.message);
        if let Some(hint) = &failure.hint {
            for line in hint.lines() {
                text.push_str(&format!("hint: {line}\n"));
            }
        }
        text
    }

    /// A listener that draws a bar on a terminal and prints notes.
    pub(crate) fn listener(self) -> Teller {
        let drawn = !self.quiet && !self.json && io::stderr().is_terminal();
        Teller {
            output: self,
            drawn,
            bar: Mutex::new(None),
            began: std::time::Instant::now(),
            closed: AtomicBool::new(false),
        }
    }
}

/// Shows the progress of one command on stderr.
pub(crate) struct Teller {
    output: Output,
    drawn: bool,
    /// The bar, once there is one.
    bar: Mutex<Option<ProgressBar>>,
    began: std::time::Instant,
    /// Nobody reads stdout any more.
    closed: AtomicBool,
}

impl Teller {
    /// Whether nobody reads stdout any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn draw(&self, step: &Step) {
        if !self.drawn || self.began.elapsed() < BAR_AFTER {
            return;
        }
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bar.get_or_insert_with(|| new_bar(step.bytes_total));
        if step.bytes_total > 0 {
            bar.set_length(step.bytes_total);
        }
        bar.set_position(step.bytes);
        bar.set_prefix(format!("{} {}", step.doing, plural(step.files, "file")));
        bar.set_message(step.current.clone());
    }
}

impl Listener for Teller {
    fn tell(&self, event: Event) -> bool {
        match event {
            Event::Step(step) => self.draw(&step),
            Event::Note(text) => {
                let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
                match bar.as_ref() {
                    Some(bar) => bar.suspend(|| self.output.note(&text)),
                    None => self.output.note(&text),
                }
            }
            Event::Bytes(chunk) => {
                let is_read = self.output.try_raw(&chunk.0);
                self.closed.fetch_or(!is_read, Ordering::Relaxed);
                return is_read;
            }
        }
        true
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let bar = self.bar.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(bytes_total: u64) -> ProgressBar {
    let (bar, template) = if bytes_total > 0 {
        let template = "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}";
        (ProgressBar::new(bytes_total), template)
    } else {
        (ProgressBar::new_spinner(), "{spinner} {prefix} {bytes} {bytes_per_sec} {wide_msg}")
    };
    // The templates are constants, and a test draws both.
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}

/// A table of people's size: a header, and columns of text or (aligned right) numbers.
pub(crate) fn table(header: &[&str], numbers: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|word| word.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if numbers.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Bytes as people say them: `13.4 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A count with its thousands apart: `1,234,567`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `2 files`.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    let end = match count {
        1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    let noun = match noun.strip_suffix('y') {
        Some(stem) if count != 1 => format!("{stem}ies"),
        _ => format!("{noun}{end}"),
    };
    format!("{} {noun}", grouped(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(plural(1, "directory"), "1 directory");
        assert_eq!(plural(2, "directory"), "2 directories");
        assert_eq!(plural(0, "file"), "0 files");
    }

    #[test]
    fn both_bars_can_be_drawn() {
        for total in [0, 10] {
            new_bar(total).finish_and_clear();
        }
        ProgressStyle::with_template("{prefix} [{bar:30}] {wide_msg}").unwrap();
    }

    #[test]
    fn a_failure_is_shown_with_its_hint() {
        let failure = Failure {
            message: "no bucket named fotos".to_owned(),
            hint: Some("did you mean photos?\n`tesfs bucket list` lists them".to_owned()),
            exit: Exit::NotFound,
        };
        let text = Output { json: false, quiet: false }.failure_text(&failure);
        insta::assert_snapshot!(text);
        let json = Output { json: true, quiet: false }.failure_text(&failure);
        insta::assert_snapshot!(json);
    }
}
