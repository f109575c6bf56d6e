//! From names to what they stand for here: accounts, the viewer, what the viewer liked.
//!
//! Who resolves has the store; this only says what is asked of it. A name that nobody has matches nothing.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::ast::{Account, Leaf, Node, Plain, RecordRef, Shelf};
use super::operators;
use crate::schema::{ActorId, PostId};
use crate::syntax::Did;

/// An account that is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its number.
    pub actor: ActorId,
    /// Its DID.
    pub did: Did,
}

/// Accounts, whoever looks, and what that account set apart.
pub trait World {
    /// What may go wrong.
    type Error;

    /// The account of a handle or a DID, if it is known.
    fn account(&mut self, name: &str) -> Result<Option<Known>, Self::Error>;

    /// Who looks.
    fn viewer(&self) -> Option<Known>;

    /// Whom they follow.
    fn following(&mut self, viewer: ActorId) -> Result<Arc<FxHashSet<ActorId>>, Self::Error>;

    /// What they liked.
    fn likes(&mut self, viewer: ActorId) -> Result<Arc<FxHashSet<PostId>>, Self::Error>;

    /// What they bookmarked.
    fn bookmarks(&mut self, viewer: ActorId) -> Result<Arc<FxHashSet<PostId>>, Self::Error>;

    /// The post that a record is, if it is one and known.
    fn post(&mut self, author: ActorId, record: &RecordRef) -> Result<Option<PostId>, Self::Error>;
}

/// One condition, with what it names found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// One that the record by itself decides.
    Plain(Plain),
    /// Written by this account.
    From(ActorId),
    /// Written by one of these.
    FromAny(Arc<FxHashSet<ActorId>>),
    /// Mentions this account.
    Mention(Known),
    /// One of these posts.
    Posts(Arc<FxHashSet<PostId>>),
    /// Embeds the record of this address.
    Embeds(Target),
    /// Replies directly to it.
    Parent(Target),
    /// Is it, or in its thread.
    Thread(Target),
}

/// A record that others are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its address, by DID.
    pub uri: String,
    /// If it is a post.
    pub post: Option<PostId>,
}

impl Test {
    /// Whether an index that has terms and numbers of it decides as the record does. Where it does not, a document that
    /// the index finds may be none, so its "not" may be one.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        match self {
            Self::Plain(Plain::Word(words) | Plain::Phrase(words)) => words.is_exact(),
            Self::Plain(Plain::Alt(_)) | Self::Embeds(_) | Self::Parent(_) | Self::Thread(_) => {
                false
            }
            Self::Plain(_)
            | Self::From(_)
            | Self::FromAny(_)
            | Self::Mention(_)
            | Self::Posts(_) => true,
        }
    }
}

/// The tree with all names found.
pub fn resolve<W: World>(query: &Node<Leaf>, world: &mut W) -> Result<Node<Test>, W::Error> {
    query.try_map(&mut |leaf| resolve_leaf(leaf, world))
}

fn resolve_leaf<W: World>(leaf: &Leaf, world: &mut W) -> Result<Node<Test>, W::Error> {
    Ok(match leaf {
        Leaf::Plain(Plain::Url(form)) => {
            let page = Node::Leaf(Test::Plain(Plain::Url(form.clone())));
            match operators::post_at(form) {
                None => page,
                Some(post) => Node::Or(vec![page, about(&post, world, Test::Embeds)?]),
            }
        }
        Leaf::Plain(plain) => Node::Leaf(Test::Plain(plain.clone())),
        Leaf::From(Account::Following) => match world.viewer() {
            None => Node::nothing(),
            Some(viewer) => Node::Leaf(Test::FromAny(world.following(viewer.actor)?)),
        },
        Leaf::From(name) => test(account(name, world)?, |known| Test::From(known.actor)),
        Leaf::Mention(name) => test(account(name, world)?, Test::Mention),
        Leaf::Embeds(record) => about(record, world, Test::Embeds)?,
        Leaf::Parent(record) => about(record, world, Test::Parent)?,
        Leaf::Thread(record) => about(record, world, Test::Thread)?,
        Leaf::In(shelf) => match world.viewer() {
            None => Node::nothing(),
            Some(viewer) => on_shelf(*shelf, viewer, world)?,
        },
    })
}

fn test(known: Option<Known>, test: impl Fn(Known) -> Test) -> Node<Test> {
    known.map_or_else(Node::nothing, |known| Node::Leaf(test(known)))
}

fn account<W: World>(name: &Account, world: &mut W) -> Result<Option<Known>, W::Error> {
    match name {
        Account::Me => Ok(world.viewer()),
        Account::Following => Ok(None),
        Account::Handle(name) | Account::Did(name) => world.account(name),
    }
}

fn about<W: World>(
    record: &RecordRef,
    world: &mut W,
    to: impl Fn(Target) -> Test,
) -> Result<Node<Test>, W::Error> {
    let Some(owner) = account(&record.account, world)? else { return Ok(Node::nothing()) };
    let post = world.post(owner.actor, record)?;
    Ok(Node::Leaf(to(Target { uri: record.uri(&owner.did), post })))
}

fn on_shelf<W: World>(shelf: Shelf, viewer: Known, world: &mut W) -> Result<Node<Test>, W::Error> {
    let actor = viewer.actor;
    Ok(match shelf {
        Shelf::Likes => Node::Leaf(Test::Posts(world.likes(actor)?)),
        Shelf::Bookmarks => Node::Leaf(Test::Posts(world.bookmarks(actor)?)),
        Shelf::Library => Node::Or(vec![
            Node::Leaf(Test::From(actor)),
            Node::Leaf(Test::Mention(viewer)),
            Node::Leaf(Test::Posts(world.likes(actor)?)),
            Node::Leaf(Test::Posts(world.bookmarks(actor)?)),
        ]),
    })
}
