//! Whether people find what they look for: queries in twelve languages over real indexes of a real store, each with the
//! posts that it should find and how good they are, among posts that differ only in what must tell them apart.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test: a panic is its failure"
)]

mod judged;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use aerie::search::query::Sort;
use judged::{Judged, Query};
use world::World;

/// What search has to reach.
const MRR: f64 = 0.97;
const NDCG: f64 = 0.97;
const RECALL: f64 = 1.0;
const FALSE_HITS: f64 = 0.1;
/// Places of a list that count for the order, and for what is found at all.
const ORDERED: usize = 10;
const FOUND: usize = 25;
/// A search for parts of texts is far below that: otherwise nothing would be told apart here.
const NAIVE: f64 = 0.7;

/// How good a list of posts is.
#[derive(Default, Clone, Copy)]
struct Score {
    queries: f64,
    reciprocal: f64,
    ndcg: f64,
    recall: f64,
    false_hits: f64,
}

impl Score {
    /// Of the best first, and of all that are found in any order.
    fn of(query: &Query, best: &[usize], all: &[usize]) -> Self {
        let grade = |post: &usize| {
            query.grades.iter().find(|(known, _)| known == post).map_or(0, |(_, grade)| *grade)
        };
        let false_hits = |posts: &[usize]| posts.iter().filter(|post| grade(post) == 0).count();
        let false_hits = false_hits(best).max(false_hits(all)) as f64;
        let Some(top) = query.grades.iter().map(|(_, grade)| *grade).max() else {
            // It finds nothing, so there is no order either.
            return Self { queries: 1.0, reciprocal: 1.0, ndcg: 1.0, recall: 1.0, false_hits };
        };
        let first = best.iter().position(|post| grade(post) == top);
        let gain = |grades: Vec<u32>| -> f64 {
            let of = |(at, grade): (usize, u32)| {
                (2_f64.powi(grade as i32) - 1.0) / (at as f64 + 2.0).log2()
            };
            grades.into_iter().take(ORDERED).enumerate().map(of).sum()
        };
        let mut ideal: Vec<u32> = query.grades.iter().map(|(_, grade)| *grade).collect();
        ideal.sort_unstable_by_key(|grade| std::cmp::Reverse(*grade));
        let share = |posts: &[usize]| {
            let found = posts.iter().take(FOUND).filter(|post| grade(post) > 0).count();
            found as f64 / query.grades.len() as f64
        };
        Self {
            queries: 1.0,
            reciprocal: first.map_or(0.0, |at| 1.0 / (at as f64 + 1.0)),
            ndcg: gain(best.iter().map(grade).collect()) / gain(ideal),
            recall: share(best).min(share(all)),
            false_hits,
        }
    }

    fn add(&mut self, other: Self) {
        self.queries += other.queries;
        self.reciprocal += other.reciprocal;
        self.ndcg += other.ndcg;
        self.recall += other.recall;
        self.false_hits += other.false_hits;
    }

    fn mean(self) -> Self {
        let of = |sum: f64| sum / self.queries.max(1.0);
        Self {
            queries: self.queries,
            reciprocal: of(self.reciprocal),
            ndcg: of(self.ndcg),
            recall: of(self.recall),
            false_hits: of(self.false_hits),
        }
    }

    fn is_perfect(&self) -> bool {
        self.ndcg > 0.999 && self.recall >= 1.0 && self.false_hits == 0.0
    }
}

/// The means by language, then of all.
fn table(by_language: &BTreeMap<&str, Score>, all: Score) -> String {
    let mut out = "      queries    MRR  nDCG  recall  false hits\n".to_owned();
    for (language, score) in by_language.iter().chain([(&"all", &all)]) {
        let mean = score.mean();
        let Score { queries, reciprocal, ndcg, recall, false_hits } = mean;
        writeln!(
            out,
            "{language:>5} {queries:7} {reciprocal:6.3} {ndcg:5.3} {recall:7.3} {false_hits:11.3}"
        )
        .unwrap();
    }
    out
}

/// Posts that have all words of a text as parts of their own, the newest first.
fn naive(judged: &Judged, text: &str) -> Vec<usize> {
    let text = text.to_lowercase();
    let words: Vec<_> = text.split(['"', '“', '”', ' ']).filter(|w| !w.is_empty()).collect();
    let has = |place: &usize| {
        let visible = judged.posts[*place].visible();
        words.iter().all(|word| visible.contains(word))
    };
    (0..judged.posts.len()).rev().filter(has).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_for_is_found_the_best_first_and_nothing_else() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/relevance/judged.txt");
    let judged = judged::read(&fs::read_to_string(file).unwrap());
    let world = World::new(&judged.posts).await;
    let mut by_language: BTreeMap<&str, Score> = BTreeMap::new();
    let (mut all, mut parts, mut told) = (Score::default(), Score::default(), String::new());
    for query in &judged.queries {
        let best = world.search(&query.text, Sort::Top);
        let newest = world.search(&query.text, Sort::Latest);
        let score = Score::of(query, &best, &newest);
        if !score.is_perfect() {
            let name = |post: &usize| {
                let post = &judged.posts[*post];
                format!("{}: {}", post.name, post.text)
            };
            let list = |posts: &[usize]| posts.iter().map(name).collect::<Vec<_>>().join(" | ");
            let Query { language, text, .. } = query;
            writeln!(told, "{language}  {text}\n    best: {}", list(&best)).unwrap();
            if newest.len() != best.len() {
                writeln!(told, "    newest: {}", list(&newest)).unwrap();
            }
        }
        by_language.entry(&query.language).or_default().add(score);
        all.add(score);
        let naive = naive(&judged, &query.text);
        parts.add(Score::of(query, &naive, &naive));
    }
    let table = table(&by_language, all);
    let mean = all.mean();
    println!("{table}\nnot as judged:\n{told}");
    assert!(judged.queries.len() >= 150 && by_language.len() == 12, "{table}");
    assert!(mean.reciprocal >= MRR, "MRR {} < {MRR}", mean.reciprocal);
    assert!(mean.ndcg >= NDCG, "nDCG {} < {NDCG}", mean.ndcg);
    assert!(mean.recall >= RECALL, "recall {} < {RECALL}", mean.recall);
    assert!(mean.false_hits <= FALSE_HITS, "{} false hits a query", mean.false_hits);
    let naive = parts.mean();
    assert!(naive.reciprocal < NAIVE, "parts of texts do as well: {}", naive.reciprocal);
}
