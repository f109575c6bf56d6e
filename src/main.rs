//! The `aerie` binary: see [`aerie::cli`].

#[global_allocator]
static ALLOC: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Where the allocator gets huge pages, clearing two megabytes whenever caches grow by a little is a third of what cold
    // reads cost, and a fifth more memory. Nothing depends on it.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    aerie::cli::main()
}
