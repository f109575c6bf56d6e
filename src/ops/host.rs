//! What the machine says about this process: memory, open files.

/// Memory of this process in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// The most so far.
    pub peak: u64,
    /// What the budget is for.
    pub shares: Vec<MemoryShare>,
}

/// A share of the memory budget.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MemoryShare {
    /// Its name.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: u64,
    /// What it holds now; nothing for what is counted and not weighed.
    pub held: Option<u64>,
}

/// Resident memory now, and at its most: reads `/proc/self/status`; zeros where there is none.
#[must_use]
pub fn memory() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        text.lines()
            .find_map(|line| {
                line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
            })
            .map_or(0, |kib| kib * 1024)
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Files of this process: sockets, tables, everything with a descriptor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct OpenFiles {
    /// Open now.
    pub open: u64,
    /// How many may be; none if nothing limits them.
    pub most: Option<u64>,
}

impl OpenFiles {
    /// As of now.
    #[must_use]
    pub fn now() -> Self {
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
        Self { open, most: file_limit() }
    }
}

/// How many files this process may have open; none if nothing limits them.
#[must_use]
pub fn file_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_has_files() {
        let files = OpenFiles::now();
        assert!(files.open > 2 && files.most.is_none_or(|most| most > files.open), "{files:?}");
    }

    #[test]
    fn a_running_process_uses_memory() {
        let (resident, peak) = memory();
        assert!(resident > 0 && peak >= resident / 2, "{resident} {peak}");
    }
}
