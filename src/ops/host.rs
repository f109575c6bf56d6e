//! What the machine says about this process: memory.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_uses_memory() {
        let (resident, peak) = memory();
        assert!(resident > 0 && peak >= resident / 2, "{resident} {peak}");
    }
}
