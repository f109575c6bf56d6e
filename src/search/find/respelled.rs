//! A query with the words that were meant, where nothing is found since no post has those that were typed.

use crate::search::analysis::{Analyzer, Kind};
use crate::search::eval::Respelling;
use crate::search::index::{IndexError, Seen};
use crate::search::query::{Node, Plain, Test, Words};

/// The same query with other words; none if all of them are words of posts, or near no such word.
pub(super) fn respelled(seen: &Seen, query: &Node<Test>) -> Result<Option<Node<Test>>, IndexError> {
    let mut speller = Speller {
        respelling: Respelling::new(seen),
        analyzer: Analyzer::default(),
        changed: false,
    };
    let query = speller.of(query)?;
    Ok(speller.changed.then_some(query))
}

struct Speller<'a> {
    respelling: Respelling<'a>,
    analyzer: Analyzer,
    changed: bool,
}

impl Speller<'_> {
    fn of(&mut self, query: &Node<Test>) -> Result<Node<Test>, IndexError> {
        Ok(match query {
            Node::And(of) => Node::And(self.all(of)?),
            Node::Or(of) => Node::Or(self.all(of)?),
            // What nobody has need not be excluded.
            Node::Not(_) => query.clone(),
            Node::Leaf(test) => match self.meant(test)? {
                Some(words) => Node::Leaf(Test::Plain(Plain::Word(words))),
                None => query.clone(),
            },
        })
    }

    fn all(&mut self, of: &[Node<Test>]) -> Result<Vec<Node<Test>>, IndexError> {
        of.iter().map(|node| self.of(node)).collect()
    }

    fn meant(&mut self, test: &Test) -> Result<Option<Words>, IndexError> {
        let Test::Plain(Plain::Word(words)) = test else { return Ok(None) };
        let Some((token, word)) = words.tokens.get(0).filter(|_| words.is_exact()) else {
            return Ok(None);
        };
        // Numbers are not misspelled, and handles and versions are not words.
        let letters =
            token.kind == Kind::Word && !word.contains(|c: char| c.is_numeric() || c == '_');
        if !letters {
            return Ok(None);
        }
        let meant = self.respelling.of(word)?;
        let meant = meant.and_then(|word| Words::of_term(&mut self.analyzer, &word));
        self.changed |= meant.is_some();
        Ok(meant)
    }
}
