//! Which accounts belong together, from who follows whom among them: label propagation.
//!
//! Everybody begins as a community of their own and again and again takes over that of most of those around them, where
//! somebody whom many are tied to counts for less. It is the same each time: nothing is drawn by lot.

use rustc_hash::FxHashMap;

/// How often everybody looks around. Labels of real networks hardly change after five times.
const ROUNDS: usize = 12;

/// The community of each of `n`, by the number of one of its members, from ties that count both ways.
pub(super) fn communities(n: usize, ties: &[(u16, u16)]) -> Vec<u16> {
    let (starts, ends) = both_ways(n, ties);
    let around = |i: usize| {
        let (from, to) = (starts.get(i).copied().unwrap_or(0), starts.get(i + 1).copied());
        ends.get(from as usize..to.unwrap_or(from) as usize).unwrap_or_default()
    };
    let weight: Vec<f32> = (0..n).map(|i| 1.0 / real(around(i).len().max(1)).sqrt()).collect();
    let mut labels: Vec<u16> = (0..n).map(|i| u16::try_from(i).unwrap_or(u16::MAX)).collect();
    // Those with few ties first: who is tied to everybody should find communities when they look around.
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|i| (around(*i).len(), *i));
    let mut votes: FxHashMap<u16, f32> = FxHashMap::default();
    for _ in 0..ROUNDS {
        let mut changed = 0;
        for &i in &order {
            votes.clear();
            for &other in around(i) {
                let (other, label) = (usize::from(other), labels.get(usize::from(other)));
                let label = label.copied().unwrap_or_default();
                *votes.entry(label).or_default() += weight.get(other).copied().unwrap_or_default();
            }
            let Some(label) = labels.get_mut(i) else { continue };
            // Its own where another is no better; of others that are equal the one of the smallest number.
            let own = votes.get(label).copied().unwrap_or_default() + f32::EPSILON;
            let best = votes.iter().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0)));
            if let Some((best, _)) = best.filter(|(_, votes)| **votes > own) {
                changed += usize::from(*label != *best);
                *label = *best;
            }
        }
        if changed * 1000 <= n {
            break;
        }
    }
    labels
}

/// Whom each is tied to, one after the other, and where each one's begin.
fn both_ways(n: usize, ties: &[(u16, u16)]) -> (Vec<u32>, Vec<u16>) {
    let mut starts = vec![0_u32; n + 1];
    let each = || ties.iter().flat_map(|&(a, b)| [(a, b), (b, a)]).filter(|(a, b)| a != b);
    for (a, _) in each() {
        if let Some(count) = starts.get_mut(usize::from(a) + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    let (mut free, mut ends) = (starts.clone(), vec![0_u16; sum as usize]);
    for (a, b) in each() {
        if let Some(next) = free.get_mut(usize::from(a)) {
            if let Some(end) = ends.get_mut(*next as usize) {
                *end = b;
            }
            *next += 1;
        }
    }
    (starts, ends)
}

#[expect(clippy::cast_precision_loss, reason = "a few ten thousand")]
fn real(n: usize) -> f32 {
    n as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_apart_also_where_all_are_tied_to_one() {
        // Three groups of twenty, each tied to three of its own, and one whom everybody is tied to.
        let mut ties = Vec::new();
        for i in 0..60_u16 {
            let group = i / 20 * 20;
            ties.extend([1, 2, 5].map(|step| (i, group + (i + step) % 20)));
            ties.push((i, 60));
        }
        let found = communities(62, &ties);
        for group in found[..60].chunks(20) {
            assert!(group.iter().all(|label| *label == group[0]), "{found:?}");
        }
        assert!(found[0] != found[20] && found[20] != found[40] && found[0] != found[40]);
        assert_eq!(found[61], 61, "tied to nobody");
        assert_eq!(communities(62, &ties), found);
        assert!(communities(0, &[]).is_empty());
        assert_eq!(communities(2, &[(0, 0), (1, 9)])[0], 0);
    }
}
