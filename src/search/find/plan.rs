//! What the indexes are asked for a query: all that it may find.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::schema::{ActorId, PostId, Rows, relations};
use crate::search::analysis::Term;
use crate::search::eval::{Plan, Span};
use crate::search::index::{NumberField, TextField};
use crate::search::query::resolve::Target;
use crate::search::query::{Node, Plain, Test, Words};
use crate::store::{Snapshot, StoreError};

/// Quotes of a record, replies, posts of a thread: the newest of them.
const MOST_RELATED: usize = 10_000;

/// A plan, and whether what it wants is what the query finds: only then may what it does not want be asked for, and
/// records need not be looked at.
pub(super) struct Planned {
    /// What is asked.
    pub plan: Plan,
    /// Nothing more than the query finds.
    pub exact: bool,
}

/// The plan of a query, and when what it finds is of.
pub(super) fn plan(s: &Snapshot, query: &Node<Test>) -> Result<(Planned, Span), StoreError> {
    let parts = match query {
        Node::And(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut span = Span::default();
    let mut rest = Vec::new();
    for part in parts {
        match part {
            Node::Leaf(Test::Plain(Plain::Since(ms))) => span.since = span.since.max(*ms),
            Node::Leaf(Test::Plain(Plain::Until(ms))) => span.until = span.until.min(*ms),
            part => rest.push(of(s, part)?),
        }
    }
    Ok((every(rest), span))
}

fn of(s: &Snapshot, query: &Node<Test>) -> Result<Planned, StoreError> {
    Ok(match query {
        Node::And(parts) => every(all(s, parts)?),
        Node::Or(parts) => {
            let parts = all(s, parts)?;
            let exact = parts.iter().all(|part| part.exact);
            Planned { plan: Plan::Or(parts.into_iter().map(|part| part.plan).collect()), exact }
        }
        Node::Not(inner) => match of(s, inner)? {
            Planned { plan, exact: true } => Planned { plan: plan.negated(), exact: true },
            // Some of what it wants is not what is excluded.
            Planned { exact: false, .. } => Planned { plan: Plan::All, exact: false },
        },
        Node::Leaf(test) => Planned { plan: leaf(s, test)?, exact: is_exact(test) },
    })
}

fn all(s: &Snapshot, parts: &[Node<Test>]) -> Result<Vec<Planned>, StoreError> {
    parts.iter().map(|part| of(s, part)).collect()
}

fn every(parts: Vec<Planned>) -> Planned {
    let exact = parts.iter().all(|part| part.exact);
    Planned { plan: Plan::And(parts.into_iter().map(|part| part.plan).collect()), exact }
}

/// Times are columns, which a plan does not ask; two pages may have one hash.
fn is_exact(test: &Test) -> bool {
    let is_column = matches!(test, Test::Plain(Plain::Since(_) | Plain::Until(_) | Plain::Url(_)));
    !is_column && test.is_exact()
}

fn leaf(s: &Snapshot, test: &Test) -> Result<Plan, StoreError> {
    let term = |field, term: &str| Plan::Term(field, term.to_owned());
    Ok(match test {
        Test::Plain(Plain::Word(words)) => {
            let tag = (!words.tag.is_empty()).then(|| term(TextField::Tag, &words.tag));
            said(words, tag)
        }
        Test::Plain(Plain::Phrase(words)) => said(words, None),
        Test::Plain(Plain::Alt(words)) => all_in(TextField::More, words),
        Test::Plain(Plain::Tag(tag)) => term(TextField::Tag, tag),
        Test::Plain(Plain::Domain(host)) => term(TextField::Domain, host),
        Test::Plain(Plain::Url(form)) => Plan::Number(NumberField::Url, form.hash()),
        Test::Plain(Plain::Lang(tag)) => term(TextField::Lang, tag),
        Test::Plain(Plain::Flag(flag)) => term(TextField::Flag, flag.term()),
        // Verified on the record, where they are not of the whole query.
        Test::Plain(Plain::Since(_) | Plain::Until(_)) => Plan::All,
        Test::From(actor) => authors([*actor]),
        Test::FromAny(actors) => Plan::Authors(Arc::clone(actors)),
        Test::Mention(known) => Plan::Number(NumberField::Mention, u64::from(known.actor.0)),
        Test::Posts(posts) => Plan::Posts(Arc::clone(posts)),
        Test::Embeds(target) => match s.target(&target.uri)? {
            Some(record) => posts(relations::newest_quotes(s, record, MOST_RELATED)?),
            None => Plan::Nothing,
        },
        Test::Parent(target) => {
            related(target, |post| relations::newest_replies(s, post, MOST_RELATED))?
        }
        Test::Thread(target) => related(target, |post| {
            let mut thread = relations::in_thread(s, post, MOST_RELATED)?;
            thread.insert(post);
            Ok(thread)
        })?,
    })
}

fn related(
    target: &Target,
    read: impl FnOnce(PostId) -> Result<FxHashSet<PostId>, StoreError>,
) -> Result<Plan, StoreError> {
    match target.post {
        Some(post) => read(post).map(posts),
        None => Ok(Plan::Nothing),
    }
}

fn posts(posts: FxHashSet<PostId>) -> Plan {
    Plan::Posts(Arc::new(posts))
}

fn authors(actors: impl IntoIterator<Item = ActorId>) -> Plan {
    Plan::Authors(Arc::new(actors.into_iter().collect()))
}

/// All terms in the body, or all in what else is searched, or it is a tag.
fn said(words: &Words, tag: Option<Plan>) -> Plan {
    let fields = [TextField::Text, TextField::More].map(|field| all_in(field, words));
    Plan::Or(fields.into_iter().chain(tag).collect())
}

fn all_in(field: TextField, words: &Words) -> Plan {
    let mut plans = Vec::new();
    words.terms(&mut |term| {
        plans.push(match term {
            Term::Exact(term) => Plan::Term(field, term.to_owned()),
            Term::Prefix(begin) => Plan::Prefix(field, begin.to_owned()),
        });
    });
    Plan::And(plans)
}
