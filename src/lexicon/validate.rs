//! Checks a value against a compiled schema, strictly: blob constraints count, legacy blobs are refused.
//!
//! # Invariants
//! Recursion follows the data and is bounded by [`MAX_DEPTH`]; nothing is allocated unless the value is invalid.

use unicode_segmentation::UnicodeSegmentation as _;

use super::document::Literal;
use super::invalid::{Checked, Problem, Segment, alternatives, quote, show};
use super::node::{Kind, MAX_SAFE_INTEGER, Node};
use super::schema::{BlobDef, Def, DefId, Defs, Limits, ObjectDef, StringDef, TypeName, UnionDef};

/// Levels of maps and lists; the decoders before this allow no more.
const MAX_DEPTH: u8 = 128;

pub(crate) fn validate<N: Node>(defs: &Defs, id: DefId, node: &N) -> Checked {
    Validator { defs }.check(id, node, MAX_DEPTH)
}

struct Validator<'a> {
    defs: &'a Defs,
}

impl Validator<'_> {
    fn check<N: Node>(&self, id: DefId, node: &N, depth: u8) -> Checked {
        match (self.defs.get(id), node.kind()) {
            (Def::String(def), Kind::Str(text)) => check_string(def, text),
            (Def::Object(def), Kind::Map) => self.check_object(def, node, deeper(depth)?),
            (Def::Union(def), Kind::Map) => self.check_union(def, node, depth),
            (Def::Array(def), Kind::List(items)) => {
                check_size("array", def.length, items.len())?;
                let depth = deeper(depth)?;
                for (index, item) in items.iter().enumerate() {
                    self.check(def.items, item, depth)
                        .map_err(|problem| problem.inside(Segment::Index(index)))?;
                }
                Ok(())
            }
            (Def::Integer(range), Kind::Int(value)) if value > range.max => {
                Problem::too_big("integer", range.max, value)
            }
            (Def::Integer(range), Kind::Int(value)) if value < range.min => {
                Problem::too_small("integer", range.min, value)
            }
            (Def::Integer(_), Kind::Int(_)) => Ok(()),
            (Def::Bytes(limits), Kind::Bytes(length)) => check_size("bytes", *limits, length),
            (Def::Blob(def), Kind::Map) => check_blob(def, node),
            (Def::Boolean, Kind::Bool(_)) | (Def::CidLink, Kind::Link { .. }) => Ok(()),
            (Def::Unknown, Kind::Map) => check_data_model(node, depth),
            (Def::Literal(literal), kind) => match is_literal(literal, &kind) {
                true => Ok(()),
                false => Problem::not_one_of(&[*literal], Some(node)),
            },
            (Def::OneOf(literals), kind) => match literals.iter().any(|l| is_literal(l, &kind)) {
                true => Ok(()),
                false => Problem::not_one_of(literals, Some(node)),
            },
            (def, _) => Problem::expected(expectation(def), Some(node)),
        }
    }

    fn check_object<N: Node>(&self, def: &ObjectDef, node: &N, depth: u8) -> Checked {
        if let TypeName::Optional(name) = &def.type_name
            && let Some(found) = node.get("$type")
        {
            check_type_name(name, Some(found))?;
        }
        for property in &def.properties {
            match node.get(property.name) {
                None if property.required => return Problem::missing(property.name),
                None => {}
                Some(value) if property.nullable && matches!(value.kind(), Kind::Null) => {}
                Some(value) => self
                    .check(property.def, value, depth)
                    .map_err(|problem| problem.inside(Segment::Key(property.name.to_owned())))?,
            }
        }
        match &def.type_name {
            TypeName::Required(name) => check_type_name(name, node.get("$type")),
            TypeName::Any | TypeName::Optional(_) => Ok(()),
        }
    }

    fn check_union<N: Node>(&self, def: &UnionDef, node: &N, depth: u8) -> Checked {
        let in_type = |problem: Box<Problem>| problem.inside(Segment::Key("$type".to_owned()));
        let Some(type_node) = node.get("$type") else {
            return Problem::expected(TYPED, Some(node));
        };
        let Kind::Str(name) = type_node.kind() else {
            return Problem::expected("string", Some(type_node)).map_err(in_type);
        };
        match def.variants.iter().find(|(variant, _)| **variant == *name) {
            Some((_, id)) => self.check(*id, node, depth),
            None if def.closed => {
                let names: Vec<String> = def.variants.iter().map(|(name, _)| quote(name)).collect();
                let reason = format!("Expected {} (got {})", alternatives(&names), quote(name));
                Err(in_type(Problem::new(reason)))
            }
            None => Ok(()),
        }
    }
}

const TYPED: &str = "an object which includes the \"$type\" property";

fn expectation(def: &Def) -> &'static str {
    match def {
        Def::Never | Def::Literal(_) | Def::OneOf(_) => "never",
        Def::Unknown | Def::Object(_) => "object",
        Def::Boolean => "boolean",
        Def::Integer(_) => "integer",
        Def::String(_) => "string",
        Def::Bytes(_) => "bytes",
        Def::CidLink => "cid",
        Def::Blob(_) => "blob",
        Def::Array(_) => "array",
        Def::Union(_) => TYPED,
    }
}

fn deeper(depth: u8) -> Result<u8, Box<Problem>> {
    depth.checked_sub(1).ok_or_else(|| Problem::new("Too many levels".to_owned()))
}

fn check_type_name<N: Node>(expected: &str, found: Option<&N>) -> Checked {
    if matches!(found.map(Node::kind), Some(Kind::Str(name)) if name == expected) {
        return Ok(());
    }
    let reason = format!("Expected {} (got {})", quote(expected), show(found));
    Err(Problem::new(reason).inside(Segment::Key("$type".to_owned())))
}

pub(crate) fn check_string(def: &StringDef, text: &str) -> Checked {
    check_size("string", def.length, text.len())?;
    check_graphemes(def.graphemes, text)?;
    match def.format {
        Some(format) if !format.accepts(text) => {
            Err(Problem::new(format!("Invalid {} (got {})", format.label(), quote(text))))
        }
        _ => Ok(()),
    }
}

/// A grapheme is at least one character of at least one byte, so those usually decide: finding graphemes is slow.
fn check_graphemes(limits: Limits, text: &str) -> Checked {
    if limits.min == 0 && (text.len() <= limits.max || text.chars().count() <= limits.max) {
        return Ok(());
    }
    // Without line breaks (CR LF is one grapheme) ASCII has as many graphemes as bytes.
    let simple = text.is_ascii() && !text.contains('\r');
    let count = if simple { text.len() } else { text.graphemes(true).count() };
    check_size("grapheme", limits, count)
}

pub(crate) fn check_size(what: &str, limits: Limits, size: usize) -> Checked {
    if size > limits.max {
        Problem::too_big(what, limits.max, size)
    } else if size < limits.min {
        Problem::too_small(what, limits.min, size)
    } else {
        Ok(())
    }
}

fn check_blob<N: Node>(def: &BlobDef, node: &N) -> Checked {
    let Some((mime, size)) = typed_blob(node) else {
        return Problem::expected("blob", Some(node));
    };
    if !def.accept.is_empty() && !def.accept.iter().any(|accepted| mime_matches(accepted, mime)) {
        let accepted: Vec<String> = def.accept.iter().map(|mime| quote(mime)).collect();
        let reason = format!("Expected {} (got {})", alternatives(&accepted), quote(mime));
        return Err(Problem::new(reason).inside(Segment::Key("mimeType".to_owned())));
    }
    match def.max_size {
        Some(max) if size > max => Problem::too_big("blob", max, size),
        _ => Ok(()),
    }
}

/// MIME type and size of a blob in the current form, which has exactly four members.
fn typed_blob<N: Node>(node: &N) -> Option<(&str, i64)> {
    let Kind::Str("blob") = node.get("$type")?.kind() else { return None };
    let Kind::Link { blob: true } = node.get("ref")?.kind() else { return None };
    let Kind::Str(mime) = node.get("mimeType")?.kind() else { return None };
    let Kind::Int(size @ 0..=MAX_SAFE_INTEGER) = node.get("size")?.kind() else { return None };
    (mime.contains('/') && node.entries().nth(4).is_none()).then_some((mime, size))
}

fn mime_matches(accepted: &str, mime: &str) -> bool {
    accepted == "*/*"
        || accepted == mime
        || accepted.strip_suffix('*').is_some_and(|p| p.ends_with('/') && mime.starts_with(p))
}

fn is_literal<N: Node>(literal: &Literal, kind: &Kind<'_, N>) -> bool {
    match (literal, kind) {
        (Literal::Bool(expected), Kind::Bool(value)) => expected == value,
        (Literal::Int(expected), Kind::Int(value)) => expected == value,
        (Literal::Str(expected), Kind::Str(value)) => expected == value,
        _ => false,
    }
}

/// Whatever is inside an unknown object, it has no numbers that the data model lacks.
fn check_data_model<N: Node>(node: &N, depth: u8) -> Checked {
    match node.kind() {
        Kind::Float(_) => Problem::expected("integer", Some(node)),
        Kind::List(items) => {
            let depth = deeper(depth)?;
            items.iter().enumerate().try_for_each(|(index, item)| {
                check_data_model(item, depth)
                    .map_err(|problem| problem.inside(Segment::Index(index)))
            })
        }
        Kind::Map => {
            let depth = deeper(depth)?;
            node.entries().try_for_each(|(key, value)| {
                check_data_model(value, depth)
                    .map_err(|problem| problem.inside(Segment::Key(key.to_owned())))
            })
        }
        _ => Ok(()),
    }
}
