//! The `aerie` binary: see [`aerie::cli`].

#[global_allocator]
static ALLOC: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    aerie::cli::main()
}
