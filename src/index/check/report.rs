//! What a check found, by kind.

use std::collections::BTreeMap;

use crate::store::Ks;

/// Samples kept of each kind.
const SAMPLES: usize = 10;

/// Differences of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// How many.
    pub count: u64,
    /// The first ten: DIDs, AT-URIs, or the key where there are none.
    pub samples: Vec<String>,
}

/// The result of a check.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Rows read, by keyspace.
    pub rows: Vec<(Ks, u64)>,
    /// Records whose CID was recomputed and edges that were rebuilt.
    pub rebuilt: u64,
    /// Repos whose tree was made of what is held, and compared with the one that their last commit named.
    pub trees: u64,
    /// Differences by kind.
    pub findings: BTreeMap<&'static str, Finding>,
    /// Repairs given to the writer.
    pub repaired: u64,
}

impl Report {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    pub(super) fn found(&mut self, kind: &'static str, sample: String) {
        let finding = self.findings.entry(kind).or_default();
        finding.count += 1;
        if finding.samples.len() < SAMPLES {
            finding.samples.push(sample);
        }
    }
}
