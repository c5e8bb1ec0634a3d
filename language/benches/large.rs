//! How long a large script takes, and how much memory: `cargo bench -p bue-language`.
//!
//! Prints medians of several runs, and the peak of what was allocated while one ran, for scripts of growing size: both
//! should grow as the script does. The largest has 100,000 lines and 20,000 steps.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bue_language::{Files, compile, format};

/// Counts what is allocated.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Every file is there.
struct Anything;

impl Files for Anything {
    fn has(&self, _: &str) -> bool {
        true
    }

    fn paths(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Runs of which the median is taken.
const RUNS: usize = 7;
/// Sizes, in steps; a step takes five lines.
const STEPS: [usize; 4] = [2_500, 5_000, 10_000, 20_000];

fn main() {
    println!("{:28} {:>8} {:>8} {:>10} {:>12} {:>10}", "", "lines", "MB", "median", "peak memory", "× the file");
    for steps in STEPS {
        let text = script(steps);
        row("compile", &text, || drop(black_box(compile("large.bue", text.as_bytes(), &Anything))));
    }
    let text = script(20_000);
    row("format", &text, || drop(black_box(format(&text))));
    let wrong = text.replace(" | step_", " | stop_");
    row("compile, a wrong name a pipe", &wrong, || drop(black_box(compile("large.bue", wrong.as_bytes(), &Anything))));
    let broken = text.replace("    python", "   python");
    row("compile, every step broken", &broken, || drop(black_box(compile("large.bue", broken.as_bytes(), &Anything))));
}

/// A script of five lines a step: the step, and every so often a pipe, a call or a loop.
fn script(steps: usize) -> String {
    let mut text = String::new();
    for number in 0..steps {
        let _ = write!(
            text,
            "step_{number}:\n    python  # language\n    function_{number}\n    folder/file_{}.py\n",
            number / 10
        );
        let _ = match number % 4 {
            0 => writeln!(text, "pipe_{number} = step_{number} | step_{}", number / 2),
            1 => writeln!(text, "result_{number} = pipe_{}()", number - 1),
            2 => writeln!(text, "for item_{number} in pipe_{}(result_{}):", number - 2, number - 1),
            _ => writeln!(text, "!priority {number}"),
        };
        if number % 4 == 2 {
            let _ = writeln!(text, "    pipe_{}(item_{number}, result_{})", number - 2, number - 1);
        }
    }
    text
}

fn row(name: &str, text: &str, mut run: impl FnMut()) {
    let mut times = Vec::with_capacity(RUNS);
    let mut peak = 0;
    for _ in 0..RUNS {
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        let started = Instant::now();
        run();
        times.push(started.elapsed());
        peak = peak.max(PEAK.load(Relaxed) - before);
    }
    times.sort();
    let median: Duration = times[RUNS / 2];
    let lines = text.lines().count();
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    let times_the_file = peak as f64 / text.len() as f64;
    println!(
        "{name:28} {lines:>8} {:>8.2} {:>7.1} ms {:>9.1} MB {times_the_file:>10.1}",
        megabytes(text.len()),
        median.as_secs_f64() * 1e3,
        megabytes(peak)
    );
}
