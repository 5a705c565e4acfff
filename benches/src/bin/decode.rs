//! Decodes the images of a folder as training does, to grey squares. Prints a line of JSON with the seconds of each
//! round. `benches/peers/decode.py` compares it with other decoders.

use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
// Links its allocator, jemalloc, which training uses too.
use tusk_executor as _;
use tusk_pixels::{Channels, decode_square};

#[derive(Parser)]
#[command(about = "Measures the time to decode a folder of images as training does")]
struct Args {
    /// Folder of images, at any depth.
    folder: PathBuf,
    /// Side of the squares in pixels.
    #[arg(long, default_value_t = 224)]
    side: u32,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// File for the pixels: all squares, in the order of the files' paths.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut paths = Vec::new();
    walk(&args.folder, &mut paths)?;
    paths.sort();
    ensure!(!paths.is_empty(), "{} has no files", args.folder.display());
    let images: Vec<Vec<u8>> = paths.iter().map(fs::read).collect::<std::io::Result<_>>()?;
    let before = memory_kib("VmRSS")?;
    let (mut seconds, mut squares) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let started = Instant::now();
        squares = decode_all(&images, args.side, args.threads)?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let squares_kib = squares.iter().map(Vec::len).sum::<usize>() as u64 / 1024;
    let beyond = memory_kib("VmHWM")?.saturating_sub(before + squares_kib) as f64 / 1024.0;
    if let Some(out) = &args.out {
        fs::write(out, squares.concat())?;
    }
    let output = serde_json::json!({ "images": images.len(), "seconds": seconds, "beyond_output_mib": beyond });
    writeln!(stdout(), "{output}")?;
    Ok(())
}

/// Memory of this process: `VmRSS` is the current use, `VmHWM` the peak.
fn memory_kib(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).context("/proc/self/status has no such line")?;
    Ok(line.split_whitespace().nth(1).context("the line has no number")?.parse()?)
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { walk(&path, paths)? } else { paths.push(path) }
    }
    Ok(())
}

fn decode_all(images: &[Vec<u8>], side: u32, threads: usize) -> Result<Vec<Vec<u8>>> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<(usize, Vec<u8>)>> {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(image) = images.get(index) else { return Ok(done) };
            done.push((index, decode_square(image, Channels::Grey, side)?.data));
        }
    };
    let mut all = std::thread::scope(|scope| -> Result<Vec<_>> {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().map_err(|_| anyhow::anyhow!("a thread stopped unexpectedly"))??);
        }
        Ok(all)
    })?;
    all.sort_unstable_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, square)| square).collect())
}
