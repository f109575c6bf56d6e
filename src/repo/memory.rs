//! What decoded values take in memory: a byte of theirs may become a thousand.
//!
//! A map is a tree of nodes that have room for eleven entries each, of which a map of one entry takes a whole one: 1.3 kB for
//! what may be three bytes of a record. Texts are what they are, and an item of a list is an [`Ipld`], whatever it holds.
//! Sizes are those that an allocator has: it rounds up.
//!
//! # Invariants
//! - What is counted is no less than what is taken (the fuzz targets compare it with the allocator).

use ipld_core::ipld::Ipld;

/// The most that a value takes. A record of a megabyte of small maps, such as a document of thousands of blocks, takes about
/// ten times its bytes. Nobody writes what takes more but to fill our memory: that would be up to a gigabyte.
pub const MAX_MEMORY: usize = 16 << 20;

/// Entries of a node, as the standard library has them; all nodes but the root have at least `LEAST` of them.
const ENTRIES: usize = 11;
const LEAST: usize = 5;
/// A node: its entries, and where it is in its parent.
const LEAF: usize = ENTRIES * (size_of::<String>() + size_of::<Ipld>()) + 16;
/// One with nodes below.
const INNER: usize = LEAF + (ENTRIES + 1) * size_of::<usize>();

/// What the allocator takes for so many bytes: sixteenths to 128, and then four sizes until twice as many.
const fn rounded(bytes: usize) -> usize {
    // A power of two, so no division is needed: this is done for every text.
    let step = if bytes <= 128 { 16 } else { bytes.next_power_of_two() / 8 };
    (bytes + (step - 1)) & !(step - 1)
}

/// The contents of a text or of bytes.
pub(crate) fn bytes(len: usize) -> usize {
    rounded(len)
}

/// The items of a list, without what they point to.
pub(crate) fn list(len: usize) -> usize {
    rounded(len.saturating_mul(size_of::<Ipld>()))
}

/// The nodes of a map, without what they point to.
pub(crate) fn map(len: usize) -> usize {
    match len {
        0 => 0,
        1..=ENTRIES => const { rounded(LEAF) },
        _ => (1 + (len - 1) / LEAST).saturating_mul(const { rounded(INNER) }),
    }
}

/// What may be taken still.
#[derive(Debug)]
pub(crate) struct Room {
    left: usize,
    most: usize,
}

impl Room {
    pub(crate) fn new(most: usize) -> Self {
        Self { left: most, most }
    }

    /// `None` if so much is not there.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        Some(())
    }

    pub(crate) fn taken(&self) -> usize {
        self.most - self.left
    }
}
