//! What the indexes are asked for a query: all that it may find.

use std::sync::Arc;

use super::sets::{Relation, Sets};
use crate::search::analysis::Term;
use crate::search::eval::{Plan, Span};
use crate::search::index::{NumberField, TextField};
use crate::search::query::{Author, Person, Place, Query, Text};

/// A plan, and whether what it wants is what the query finds: then records need not be looked at, and what is not it can
/// be asked for.
pub(super) struct Planned {
    /// What is asked.
    pub plan: Plan,
    /// Nothing more than the query finds.
    pub exact: bool,
}

/// The plan of a query, and when what it finds is of.
pub(super) fn plan(query: &Query<Person>, sets: &Sets) -> (Planned, Span) {
    let parts = match query {
        Query::And(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut span = Span::default();
    let mut rest = Vec::new();
    for part in parts {
        match part {
            Query::Since(ms) => span.since = span.since.max(*ms),
            Query::Until(ms) => span.until = span.until.min(*ms),
            part => rest.push(of(part, sets)),
        }
    }
    (every(rest), span)
}

fn of(query: &Query<Person>, sets: &Sets) -> Planned {
    match query {
        Query::All => exact(Plan::All),
        Query::Nothing => exact(Plan::Nothing),
        Query::Text(text) => words(text),
        Query::Tag(tag) => exact(Plan::Term(TextField::Tag, tag.clone())),
        Query::From(authors) => exact(Plan::Authors(Arc::new(from(authors, sets)))),
        Query::Mentions(person) => match person.actor {
            Some(actor) => exact(Plan::Number(NumberField::Mention, u64::from(actor.0))),
            None => exact(Plan::Nothing),
        },
        Query::Domains(hosts) => exact(any_term(TextField::Domain, hosts)),
        Query::Langs(langs) => exact(any_term(TextField::Lang, langs)),
        Query::Links(links) => {
            let mut plans = Vec::new();
            for link in links {
                plans.extend(link.page.as_ref().map(|p| Plan::Number(NumberField::Url, p.hash())));
                let quotes = link.post.as_ref().map(|post| sets.related(Relation::Quotes, post));
                plans.extend(quotes.map(Plan::Posts));
            }
            // Two pages may have one hash.
            Planned { plan: Plan::Or(plans), exact: false }
        }
        // When it is of is asked by the span, and here only if it is one of several possibilities.
        Query::Since(_) | Query::Until(_) => Planned { plan: Plan::All, exact: false },
        Query::Has(flag) => exact(Plan::Term(TextField::Flag, flag.term().to_owned())),
        Query::In(shelf) => {
            exact(Plan::Or(sets.shelf(*shelf).into_iter().map(Plan::Posts).collect()))
        }
        Query::Quotes(record) => exact(Plan::Posts(sets.related(Relation::Quotes, record))),
        Query::Parent(record) => exact(Plan::Posts(sets.related(Relation::Parent, record))),
        Query::Root(record) => exact(Plan::Posts(sets.related(Relation::Root, record))),
        Query::And(parts) => every(parts.iter().map(|part| of(part, sets)).collect()),
        Query::Or(parts) => {
            let planned: Vec<_> = parts.iter().map(|part| of(part, sets)).collect();
            let exact = planned.iter().all(|part| part.exact);
            Planned { plan: Plan::Or(planned.into_iter().map(|part| part.plan).collect()), exact }
        }
        Query::Not(inner) => match of(inner, sets) {
            Planned { plan, exact: true } => exact(plan.negated()),
            // Some of what it wants is not what is excluded.
            Planned { exact: false, .. } => Planned { plan: Plan::All, exact: false },
        },
    }
}

fn exact(plan: Plan) -> Planned {
    Planned { plan, exact: true }
}

fn every(parts: Vec<Planned>) -> Planned {
    let exact = parts.iter().all(|part| part.exact);
    Planned { plan: Plan::And(parts.into_iter().map(|part| part.plan).collect()), exact }
}

fn from(authors: &[Author<Person>], sets: &Sets) -> rustc_hash::FxHashSet<crate::schema::ActorId> {
    let mut out = rustc_hash::FxHashSet::default();
    for author in authors {
        match author {
            Author::One(person) => out.extend(person.actor),
            Author::Following => out.extend(sets.follows().iter().copied()),
        }
    }
    out
}

fn any_term(field: TextField, terms: &[String]) -> Plan {
    Plan::Or(terms.iter().map(|term| Plan::Term(field, term.clone())).collect())
}

/// All terms in the body, or all in what else is searched, or it is a tag.
fn words(text: &Text) -> Planned {
    let all_in = |field| {
        let mut plans = Vec::new();
        text.terms(&mut |term| {
            plans.push(match term {
                Term::Exact(term) => Plan::Term(field, term.to_owned()),
                Term::Prefix(begin) => Plan::Prefix(field, begin.to_owned()),
            });
        });
        Plan::And(plans)
    };
    if text.place() == Place::Alt {
        return Planned { plan: all_in(TextField::More), exact: false };
    }
    let mut plans = vec![all_in(TextField::Text), all_in(TextField::More)];
    plans.extend(text.tag().map(|tag| Plan::Term(TextField::Tag, tag.to_owned())));
    Planned { plan: Plan::Or(plans), exact: text.is_one_term() }
}
