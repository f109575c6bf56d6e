//! Compiled schemas: one flat table, in which a definition names others by their index.

use super::document::Literal;
use super::format::Format;

/// Index of a definition in [`Defs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DefId(pub(crate) u32);

/// All definitions of the catalog. Refs are resolved: there is no lookup by name when validating.
pub(crate) struct Defs(pub(crate) Vec<Def>);

impl Defs {
    /// The definition, or one that nothing satisfies if the index is not of this table.
    pub(crate) fn get(&self, id: DefId) -> &Def {
        self.0.get(id.0 as usize).unwrap_or(&Def::Never)
    }
}

pub(crate) enum Def {
    Never,
    /// Any object.
    Unknown,
    Boolean,
    Integer(Range),
    String(StringDef),
    /// Length in bytes.
    Bytes(Limits),
    CidLink,
    Blob(BlobDef),
    Array(ArrayDef),
    Object(ObjectDef),
    Union(UnionDef),
    Literal(Literal),
    OneOf(Box<[Literal]>),
}

/// Inclusive bounds of a size.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) min: usize,
    pub(crate) max: usize,
}

impl Limits {
    pub(crate) fn new(min: Option<usize>, max: Option<usize>) -> Self {
        Self { min: min.unwrap_or(0), max: max.unwrap_or(usize::MAX) }
    }
}

/// Inclusive bounds of an integer.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    pub(crate) min: i64,
    pub(crate) max: i64,
}

pub(crate) struct StringDef {
    /// In bytes of UTF-8.
    pub(crate) length: Limits,
    pub(crate) graphemes: Limits,
    pub(crate) format: Option<Format>,
}

pub(crate) struct BlobDef {
    /// MIME types, `type/*` or `*/*`; empty for any.
    pub(crate) accept: Box<[&'static str]>,
    pub(crate) max_size: Option<i64>,
}

pub(crate) struct ArrayDef {
    pub(crate) items: DefId,
    pub(crate) length: Limits,
}

pub(crate) struct ObjectDef {
    pub(crate) type_name: TypeName,
    pub(crate) properties: Box<[Property]>,
}

/// What `$type` of an object has to be.
pub(crate) enum TypeName {
    /// Not a named definition: `$type` means nothing.
    Any,
    /// This or absent.
    Optional(Box<str>),
    /// This: a record.
    Required(Box<str>),
}

pub(crate) struct Property {
    pub(crate) name: &'static str,
    pub(crate) def: DefId,
    pub(crate) required: bool,
    pub(crate) nullable: bool,
}

pub(crate) struct UnionDef {
    /// `$type` and definition.
    pub(crate) variants: Box<[(Box<str>, DefId)]>,
    pub(crate) closed: bool,
}
