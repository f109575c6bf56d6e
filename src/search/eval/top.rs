//! Candidates for the best posts: within one tier of interactions the newer is the better one, so the newest of each tier
//! are enough, and of all posts the newest, which nobody has had time to like.

use super::newest::{Candidate, Newest, Next};
use super::plan::{Ask, Plan};
use crate::schema::PostId;
use crate::search::index::{IndexError, NumberField, Seen};

/// Tiers that there can be: of two to the power of them are interactions.
const TIERS: std::ops::RangeInclusive<u64> = 2..=40;

/// The newest so many of each tier, the highest first, then of all posts; each once.
pub fn top(seen: &Seen, ask: &Ask<'_>, each: usize) -> Result<Vec<Candidate>, IndexError> {
    let mut found = Vec::new();
    for tier in TIERS.rev() {
        let field = seen.records.number(NumberField::Tier);
        if !seen.top.has_number(field, tier)? {
            continue;
        }
        let plan = Plan::And(vec![Plan::Number(NumberField::Tier, tier), ask.plan.clone()]);
        let of_tier = Ask { plan: &plan, ..*ask };
        take(&mut Newest::new(&seen.top, &seen.records, of_tier, None), each, &mut found)?;
    }
    take(&mut Newest::new(&seen.posts, &seen.records, *ask, None), each, &mut found)?;
    let mut once = rustc_hash::FxHashSet::<PostId>::default();
    found.retain(|candidate| once.insert(candidate.at.post));
    Ok(found)
}

fn take(
    newest: &mut Newest<'_>,
    each: usize,
    found: &mut Vec<Candidate>,
) -> Result<(), IndexError> {
    for _ in 0..each {
        match newest.advance()? {
            Next::Found(candidate) => found.push(candidate),
            Next::End | Next::Late(_) => break,
        }
    }
    Ok(())
}
