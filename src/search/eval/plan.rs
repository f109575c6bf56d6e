//! What is asked of the indexes: terms and sets, joined by and, or and not.
//!
//! A plan knows no query language: who makes it has already said what a word means. It is a superset of what is asked
//! for, since the indexes know no order of words; whoever takes its candidates verifies each on its record.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashSet;

use crate::schema::{ActorId, PostId};
use crate::search::index::{NumberField, TextField};

/// What a document has to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Anything.
    All,
    /// Nothing is it.
    Nothing,
    /// It has the term.
    Term(TextField, String),
    /// It has a term that begins so.
    Prefix(TextField, String),
    /// It has the number.
    Number(NumberField, u64),
    /// It is of one of these accounts.
    Authors(Arc<FxHashSet<ActorId>>),
    /// It is one of these posts.
    Posts(Arc<FxHashSet<PostId>>),
    /// All of these hold; of none, anything.
    And(Vec<Plan>),
    /// One of these holds; of none, nothing.
    Or(Vec<Plan>),
    /// This does not hold.
    Not(Box<Plan>),
}

impl Plan {
    /// A plan that this is not.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }
}

/// When a document has to be of: from a time on, up to but not at another; milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// From then on.
    pub since: i64,
    /// Before that.
    pub until: i64,
}

impl Default for Span {
    /// Always.
    fn default() -> Self {
        Self { since: i64::MIN, until: i64::MAX }
    }
}

/// All that is asked of an index.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// What a document has to be.
    pub plan: &'a Plan,
    /// And of when.
    pub span: Span,
    /// Accounts of which nothing is shown.
    pub hidden: &'a (dyn Fn(ActorId) -> bool + Sync),
    /// When to stop, finished or not.
    pub deadline: Instant,
}
