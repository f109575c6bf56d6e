//! Documents to compiled schemas: names are resolved here, once.
//!
//! Nothing here panics on a bad document: what cannot be compiled is left out or accepts nothing, and is reported
//! as a problem. The embedded documents have none (a test holds that).

use rustc_hash::FxHashMap;

use super::document::{Document, Literal, RawBody, RawDef};
use super::format::Format;
use super::method::{Body, MethodKind, MethodParts};
use super::params::{ParamKind, ParamSchema};
use super::schema::{
    ArrayDef, BlobDef, Def, DefId, Defs, Limits, ObjectDef, Property, Range, StringDef, TypeName,
    UnionDef,
};

/// Index of no definition.
const NOWHERE: DefId = DefId(u32::MAX);

/// What a set of documents defines.
pub(crate) struct Compiled {
    pub(crate) defs: Defs,
    /// NSID, key constraint, definition.
    pub(crate) records: Vec<(&'static str, &'static str, DefId)>,
    pub(crate) methods: Vec<MethodParts>,
    pub(crate) problems: Vec<String>,
}

pub(crate) fn compile(files: &[&'static str]) -> Compiled {
    let mut compiler = Compiler::default();
    let mut documents = Vec::with_capacity(files.len());
    for text in files {
        match serde_json::from_str::<Document<'static>>(text) {
            Ok(document) => documents.push(document),
            Err(error) => {
                compiler.problem(format!("unreadable document: {error}: {}", excerpt(text)))
            }
        }
    }
    for document in &documents {
        compiler.reserve_names(document);
    }
    for document in &documents {
        compiler.document(document);
    }
    Compiled {
        defs: Defs(compiler.defs),
        records: compiler.records,
        methods: compiler.methods,
        problems: compiler.problems,
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

#[derive(Default)]
struct Compiler {
    names: FxHashMap<String, DefId>,
    defs: Vec<Def>,
    records: Vec<(&'static str, &'static str, DefId)>,
    methods: Vec<MethodParts>,
    problems: Vec<String>,
    /// The definition at work, for problems.
    current: String,
}

fn full_name(id: &str, name: &str) -> String {
    if name == "main" { id.to_owned() } else { format!("{id}#{name}") }
}

fn is_method(kind: &str) -> bool {
    matches!(kind, "query" | "procedure" | "subscription")
}

impl Compiler {
    fn problem(&mut self, what: String) {
        self.problems.push(format!("{}: {what}", self.current));
    }

    fn push(&mut self, def: Def) -> DefId {
        // Fewer definitions than u32 has numbers: the documents are part of the binary.
        let id = DefId(u32::try_from(self.defs.len()).unwrap_or(u32::MAX));
        self.defs.push(def);
        id
    }

    /// Definitions refer to each other in circles, so every name has its place before any is compiled.
    fn reserve_names(&mut self, document: &Document<'static>) {
        for (name, raw) in &document.defs.0 {
            // A token stands for its own name and has no value to check.
            if !is_method(raw.kind) && raw.kind != "token" {
                let id = self.push(Def::Never);
                self.names.insert(full_name(document.id, name), id);
            }
        }
    }

    fn document(&mut self, document: &Document<'static>) {
        for (name, raw) in &document.defs.0 {
            let name = full_name(document.id, name);
            self.current.clone_from(&name);
            if is_method(raw.kind) {
                self.method(document.id, raw);
                continue;
            }
            let Some(id) = self.names.get(&name).copied() else { continue };
            let def = match (raw.kind, &raw.record) {
                ("record", Some(object)) => {
                    self.records.push((document.id, raw.key.unwrap_or("any"), id));
                    self.object(TypeName::Required(name.into()), object)
                }
                ("object", _) => self.object(TypeName::Optional(name.into()), raw),
                _ => self.def(raw),
            };
            if let Some(slot) = self.defs.get_mut(id.0 as usize) {
                *slot = def;
            }
        }
    }

    /// A schema inside another one.
    fn contained(&mut self, raw: &RawDef<'static>) -> DefId {
        match raw.target {
            Some(target) if raw.kind == "ref" => self.resolve(target),
            _ => {
                let def = self.def(raw);
                self.push(def)
            }
        }
    }

    fn resolve(&mut self, target: &str) -> DefId {
        if let Some(id) = self.names.get(target) {
            return *id;
        }
        self.problem(format!("no definition {target}"));
        NOWHERE
    }

    fn def(&mut self, raw: &RawDef<'static>) -> Def {
        if let Some(literals) = literals(raw) {
            return match literals.as_slice() {
                [only] => Def::Literal(*only),
                _ => Def::OneOf(literals.into()),
            };
        }
        match raw.kind {
            "unknown" => Def::Unknown,
            "boolean" => Def::Boolean,
            "integer" => Def::Integer(range(raw)),
            "string" => Def::String(self.string(raw)),
            "bytes" => Def::Bytes(Limits::new(raw.min_length, raw.max_length)),
            "cid-link" => Def::CidLink,
            "blob" => {
                Def::Blob(BlobDef { accept: raw.accept.clone().into(), max_size: raw.max_size })
            }
            "object" => self.object(TypeName::Any, raw),
            "union" => self.union(raw),
            "array" => match &raw.items {
                Some(items) => Def::Array(ArrayDef {
                    items: self.contained(items),
                    length: Limits::new(raw.min_length, raw.max_length),
                }),
                None => self.never("array without items"),
            },
            kind => self.never(&format!("unexpected type {kind}")),
        }
    }

    fn never(&mut self, why: &str) -> Def {
        self.problem(why.to_owned());
        Def::Never
    }

    fn string(&mut self, raw: &RawDef<'static>) -> StringDef {
        let format = raw.format.and_then(|name| {
            let format = Format::from_name(name);
            if format.is_none() {
                self.problem(format!("unknown format {name}"));
            }
            format
        });
        StringDef {
            length: Limits::new(raw.min_length, raw.max_length),
            graphemes: Limits::new(raw.min_graphemes, raw.max_graphemes),
            format,
        }
    }

    fn object(&mut self, type_name: TypeName, raw: &RawDef<'static>) -> Def {
        for name in raw.required.iter().chain(&raw.nullable) {
            if !raw.properties.0.iter().any(|(property, _)| property == name) {
                self.problem(format!("no property {name}"));
            }
        }
        let properties = raw.properties.0.iter().map(|(name, property)| Property {
            name,
            def: self.contained(property),
            required: raw.required.contains(name),
            nullable: raw.nullable.contains(name),
        });
        Def::Object(ObjectDef { type_name, properties: properties.collect() })
    }

    fn union(&mut self, raw: &RawDef<'static>) -> Def {
        let variants = raw.refs.iter().map(|name| (Box::from(*name), self.resolve(name)));
        Def::Union(UnionDef { variants: variants.collect(), closed: raw.closed })
    }

    fn method(&mut self, nsid: &'static str, raw: &RawDef<'static>) {
        let kind = match raw.kind {
            "query" => MethodKind::Query,
            "procedure" => MethodKind::Procedure,
            _ => MethodKind::Subscription,
        };
        let parameters = raw.parameters.as_deref();
        let params = parameters
            .into_iter()
            .flat_map(|params| {
                params.properties.0.iter().map(move |(name, def)| (params, *name, def))
            })
            .map(|(params, name, def)| ParamSchema {
                name,
                kind: self.param(def),
                required: params.required.contains(&name),
                default: def.default,
            })
            .collect();
        let output = raw.output.as_ref().or(raw.message.as_ref());
        let parts = MethodParts {
            nsid,
            kind,
            params,
            input: raw.input.as_ref().map(|body| self.body(body)),
            output: output.map(|body| self.body(body)),
        };
        self.methods.push(parts);
    }

    fn body(&mut self, raw: &RawBody<'static>) -> Body {
        Body {
            encoding: raw.encoding,
            def: raw.schema.as_ref().map(|schema| self.contained(schema)),
        }
    }

    fn param(&mut self, raw: &RawDef<'static>) -> ParamKind {
        if let Some(literals) = literals(raw) {
            return ParamKind::OneOf(literals.into());
        }
        match (raw.kind, &raw.items) {
            ("boolean", _) => ParamKind::Bool,
            ("integer", _) => ParamKind::Int(range(raw)),
            ("array", Some(items)) if items.kind == "string" && literals(items).is_none() => {
                ParamKind::Strs {
                    item: self.string(items),
                    length: Limits::new(raw.min_length, raw.max_length),
                }
            }
            (kind, _) => {
                if kind != "string" {
                    self.problem(format!("unexpected parameter type {kind}"));
                }
                ParamKind::Str(self.string(raw))
            }
        }
    }
}

fn range(raw: &RawDef<'static>) -> Range {
    Range { min: raw.minimum.unwrap_or(i64::MIN), max: raw.maximum.unwrap_or(i64::MAX) }
}

fn literals(raw: &RawDef<'static>) -> Option<Vec<Literal>> {
    match raw.only {
        Some(only) => Some(vec![only]),
        None if raw.one_of.is_empty() => None,
        None => Some(raw.one_of.clone()),
    }
}
