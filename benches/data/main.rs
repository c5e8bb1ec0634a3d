//! Values and tables from end to end: real buckets, hubs and workers, Python, SQLite, DuckDB and PostgreSQL.
//!
//! `cargo bench --bench data` prints medians of several rounds. `BUE_PYTHON` names an interpreter with pandas, polars and
//! pyarrow, `BUE_WEED` the program of SeaweedFS; a line says what was not measured because something is missing.
//! `BUE_BENCH_ROWS` sets the rows of a table (default 200,000), `BUE_BENCH_LARGE_ROWS` those of a large one (10,000,000),
//! `BUE_BENCH_ROUNDS` the rounds (3). Words after `--` choose parts: objects, tables, large.

#[path = "../../tests/fleet/mod.rs"]
mod fleet;
#[allow(dead_code, unused_imports, reason = "a benchmark has one policy and does not run the tests")]
#[path = "../../src/heap.rs"]
mod heap;
mod memory;
mod objects;
#[path = "../../tests/postgres/mod.rs"]
mod postgres;
mod tables;
mod weed;

fn main() {
    // What is put and got from here is so as by a worker.
    heap::set(heap::Policy::UseAgain);
    let named: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let parts = if named.is_empty() { ["objects", "tables", "large"].map(str::to_owned).to_vec() } else { named };
    println!("| what | figure |\n|---|---|");
    for part in parts {
        match part.as_str() {
            "objects" => objects::measure(),
            "tables" => tables::measure(setting("BUE_BENCH_ROWS", 200_000), setting("BUE_BENCH_ROUNDS", 3).max(1)),
            "large" => tables::measure_large(setting("BUE_BENCH_LARGE_ROWS", 10_000_000)),
            other => println!("| `{other}` | is no part of this |"),
        }
    }
}

/// A number from the environment.
fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(default)
}

/// Sorts, and answers with the middle.
fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
