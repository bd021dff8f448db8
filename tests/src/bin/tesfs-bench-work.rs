//! One piece of timed work in a directory; prints its rate. `tests/benches/run` compares rates
//! between file systems, so that only the work itself must be the same.

#![expect(clippy::print_stdout, reason = "prints the rate for the runner")]

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use tesfs_tests::{Random, close};

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;
/// Bytes of a small file.
const SMALL: usize = 1024;

#[derive(Parser)]
#[command(about = "Timed work for tests/benches/run")]
struct Arguments {
    work: Work,
    dir: PathBuf,
    /// Mebibytes of the big file
    #[arg(long, default_value_t = 256)]
    mib: usize,
    /// Small files, or operations on pages
    #[arg(long, default_value_t = 4000)]
    count: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Work {
    /// MiB/s of a sequential write, open to close
    Write,
    /// MiB/s of a sequential read
    Read,
    /// Operations/s of 4K reads at random places
    RandomRead,
    /// Operations/s of 4K writes at random places of an existing file, open to close
    RandomWrite,
    /// MiB/s of a read through a mapping
    MmapRead,
    /// Files/s: create, write 1 KiB, close
    Create,
    /// Files/s: open, read, close
    OpenRead,
    /// Calls/s of stat on names seen before
    Stat,
    /// Entries/s of a listing with a stat of each
    List,
    /// Empty files/s: for counting what a file costs the database
    CreateEmpty,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (units, took) = run(&arguments).context("the work failed")?;
    #[expect(clippy::cast_precision_loss, reason = "a rate is printed to three digits")]
    let rate = units as f64 / took.as_secs_f64();
    println!("{rate:.3}");
    Ok(())
}

/// Does the work and returns how many units it had, and the time they took.
fn run(arguments: &Arguments) -> Result<(usize, Duration)> {
    let big = arguments.dir.join("big");
    match arguments.work {
        Work::Write => write(&big, arguments.mib),
        Work::Read => read(&big),
        Work::RandomRead => random_read(&big, arguments.count),
        Work::RandomWrite => random_write(&big, arguments.count),
        Work::MmapRead => mmap_read(&big),
        Work::Create => create(&arguments.dir, arguments.count, arguments.threads, SMALL),
        Work::CreateEmpty => create(&arguments.dir, arguments.count, arguments.threads, 0),
        Work::OpenRead => open_read(&arguments.dir, arguments.count),
        Work::Stat => stat(&arguments.dir, arguments.count),
        Work::List => list(&arguments.dir),
    }
}

fn write(path: &Path, mib: usize) -> Result<(usize, Duration)> {
    let mut block = vec![0; MIB];
    let mut random = Random::new(1);
    for word in block.chunks_exact_mut(8) {
        word.copy_from_slice(&random.bits().to_le_bytes());
    }
    let began = Instant::now();
    let mut file = File::create(path)?;
    for number in 0..mib {
        block[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block)?;
    }
    close(file)?;
    Ok((mib, began.elapsed()))
}

fn read(path: &Path) -> Result<(usize, Duration)> {
    let mut block = vec![0; MIB];
    let mut bytes = 0;
    let began = Instant::now();
    let mut file = File::open(path)?;
    loop {
        match file.read(&mut block)? {
            0 => break,
            len => bytes += len,
        }
    }
    drop(file);
    let took = began.elapsed();
    ensure!(bytes >= MIB, "the big file is missing its bytes");
    Ok((bytes / MIB, took))
}

fn pages(file: &File) -> Result<u64> {
    let pages = file.metadata()?.len() / u64::try_from(PAGE)?;
    ensure!(pages > 0, "the big file is empty");
    Ok(pages)
}

fn random_read(path: &Path, count: usize) -> Result<(usize, Duration)> {
    let file = File::open(path)?;
    let (pages, mut random, mut page) = (pages(&file)?, Random::new(2), [0; PAGE]);
    let began = Instant::now();
    for _ in 0..count {
        file.read_exact_at(&mut page, random.below(pages) * u64::try_from(PAGE)?)?;
    }
    Ok((count, began.elapsed()))
}

fn random_write(path: &Path, count: usize) -> Result<(usize, Duration)> {
    let pages = pages(&File::open(path)?)?;
    let (mut random, page) = (Random::new(3), [7; PAGE]);
    let began = Instant::now();
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    for _ in 0..count {
        file.write_all_at(&page, random.below(pages) * u64::try_from(PAGE)?)?;
    }
    close(file)?;
    Ok((count, began.elapsed()))
}

#[expect(unsafe_code, reason = "a mapping has no safe interface")]
fn mmap_read(path: &Path) -> Result<(usize, Duration)> {
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
    let file = File::open(path)?;
    let len = usize::try_from(file.metadata()?.len())?;
    let began = Instant::now();
    // SAFETY: a fresh mapping at an address of the kernel's choice, unmapped below and not kept;
    // nobody changes the file while this program reads it.
    let sum = unsafe {
        let start = mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, &file, 0)?;
        let bytes = std::slice::from_raw_parts(start.cast::<u8>(), len);
        let sum = bytes.chunks_exact(8).fold(0_u64, |sum, word| {
            sum.wrapping_add(u64::from_le_bytes(word.try_into().expect("eight bytes")))
        });
        munmap(start, len)?;
        sum
    };
    black_box(sum);
    Ok((len / MIB, began.elapsed()))
}

fn small(dir: &Path, thread: usize, number: usize) -> PathBuf {
    dir.join(format!("small-{thread}/f{number:06}"))
}

fn create(dir: &Path, count: usize, threads: usize, bytes: usize) -> Result<(usize, Duration)> {
    let each = count / threads;
    for thread in 0..threads {
        fs::create_dir_all(dir.join(format!("small-{thread}")))?;
    }
    let content = vec![b'x'; bytes];
    let work = |thread: usize| -> Result<()> {
        for number in 0..each {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            let mut file = options.open(small(dir, thread, number))?;
            if !content.is_empty() {
                file.write_all(&content)?;
            }
            close(file)?;
        }
        Ok(())
    };
    let began = Instant::now();
    thread::scope(|scope| {
        let work = &work;
        let handles: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        handles.into_iter().try_for_each(|handle| handle.join().expect("no panic in the work"))
    })?;
    Ok((each * threads, began.elapsed()))
}

fn open_read(dir: &Path, count: usize) -> Result<(usize, Duration)> {
    let mut content = [0; SMALL];
    let began = Instant::now();
    for number in 0..count {
        File::open(small(dir, 0, number))?.read_exact(&mut content)?;
    }
    Ok((count, began.elapsed()))
}

fn stat(dir: &Path, count: usize) -> Result<(usize, Duration)> {
    const ROUNDS: usize = 10;
    let paths: Vec<PathBuf> = (0..count).map(|number| small(dir, 0, number)).collect();
    for path in &paths {
        fs::symlink_metadata(path)?;
    }
    let began = Instant::now();
    for _ in 0..ROUNDS {
        for path in &paths {
            black_box(fs::symlink_metadata(path)?);
        }
    }
    Ok((count * ROUNDS, began.elapsed()))
}

fn list(dir: &Path) -> Result<(usize, Duration)> {
    let began = Instant::now();
    let mut count = 0;
    for entry in fs::read_dir(dir.join("small-0"))? {
        black_box(entry?.metadata()?);
        count += 1;
    }
    Ok((count, began.elapsed()))
}
