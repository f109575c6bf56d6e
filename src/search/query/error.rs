//! Why a request cannot be read.

/// Why; the text is for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// `BadQueryString` of the lexicon.
    #[error("{0}")]
    BadQuery(&'static str),
    /// A parameter is not of its format.
    #[error("{0}")]
    Invalid(&'static str),
}
