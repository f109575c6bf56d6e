//! Who sees what: relations, lists, blocks, takedowns and labels over a real store.

use serde_json::json;

use super::testing::{Fixture, NOW, seen_by};
use super::*;
use crate::schema::rows::{EdgeKind, RecordRow, order_item_key};
use crate::schema::{Edit, Rows};
use crate::store::Ks;

const CURATE: &str = "app.bsky.graph.defs#curatelist";

fn relation(f: &Fixture, viewer: ActorId, other: ActorId) -> (HydrationState, ProfileViewer) {
    f.hydrate(&seen_by(Some(viewer)), |h| {
        let mut state = h.state();
        h.profiles(&mut state, &[other]).unwrap();
        let relation = state.profile_viewers[&other].clone();
        (state, relation)
    })
}

#[test]
fn direct_relations() {
    let f = Fixture::new();
    let (alice, bob, carol) = (f.account("alice"), f.account("bob"), f.account("carol"));
    f.follow(alice, bob);
    f.follow(bob, alice);
    f.block(carol, alice);
    f.mute(alice, carol);
    let (state, bobs) = relation(&f, alice, bob);
    assert!(bobs.following.unwrap().starts_with("at://did:plc:alice/app.bsky.graph.follow/"));
    assert!(bobs.followed_by.unwrap().starts_with("at://did:plc:bob/app.bsky.graph.follow/"));
    assert!(!state.viewer_block_exists(bob));
    let (state, carols) = relation(&f, alice, carol);
    assert!(carols.blocked_by.is_some() && carols.blocking.is_none() && carols.muted);
    assert!(state.viewer_block_exists(carol) && state.viewer_mute_exists(carol));
    assert_eq!(relation(&f, alice, alice).1, ProfileViewer::default());
}

#[test]
fn lists_count_while_they_are_live_moderation_lists() {
    let f = Fixture::new();
    let (alice, owner, bad) = (f.account("alice"), f.account("owner"), f.account("bad"));
    let curated = f.list(owner, "3kcurated", CURATE, &[bad]);
    let modlist = f.list(owner, "3kmod", graph::MODLIST, &[bad, alice]);
    for (list, rkey) in [(curated, "lb1"), (modlist, "lb2")] {
        let uri = f.snapshot().uri(list).unwrap();
        let block = json!({ "$type": "app.bsky.graph.listblock", "subject": uri });
        f.record(alice, "app.bsky.graph.listblock", rkey, block.clone());
        f.record(bad, "app.bsky.graph.listblock", rkey, block);
    }
    f.mute_list(alice, modlist);
    let (state, bads) = relation(&f, alice, bad);
    assert_eq!(bads.blocking_by_list, Some(modlist));
    assert_eq!(bads.blocked_by_list, Some(modlist));
    assert_eq!(bads.muted_by_list, Some(modlist));
    assert!(state.record(modlist).is_some() && state.list_viewers[&modlist].muted);
    f.hydrate(&seen_by(None), |h| {
        let mut state = h.state();
        h.blocks(&mut state, [(bad, alice), (bad, owner)]).unwrap();
        assert!(state.blocked(alice, bad) && !state.blocked(owner, bad));
    });
    f.take_down(Target::Actor(owner));
    let (state, bads) = relation(&f, alice, bad);
    assert_eq!(bads, ProfileViewer::default());
    assert!(!state.viewer_block_exists(bad));
}

#[test]
fn who_is_not_hosted_is_not_there() {
    let f = Fixture::new();
    let (alice, bob, labeler) = (f.account("alice"), f.account("bob"), f.account("labeler"));
    let anonymous = seen_by(None);
    let shown = |ctx: &HydrateCtx, which| {
        f.hydrate(ctx, |h| {
            let mut state = h.state();
            h.profiles_detailed(&mut state, &[bob], which).unwrap();
            (state.actor(bob).is_some(), state.is_taken_down(bob), state.is_deactivated(bob))
        })
    };
    assert_eq!(shown(&anonymous, ShownAccounts::Hosted), (true, false, false));
    f.update(bob, |row| row.status = AccountStatus::Deactivated);
    assert_eq!(shown(&anonymous, ShownAccounts::Hosted), (false, false, false));
    assert_eq!(shown(&anonymous, ShownAccounts::All), (true, false, true));
    f.update(bob, |row| row.status = AccountStatus::Suspended);
    assert_eq!(shown(&anonymous, ShownAccounts::All), (true, true, false));
    f.update(bob, |row| row.status = AccountStatus::Deleted);
    assert_eq!(shown(&anonymous, ShownAccounts::All), (false, false, false));
    f.update(bob, |row| row.status = AccountStatus::Active);
    f.label(labeler, Target::Actor(bob), "!takedown");
    assert_eq!(shown(&anonymous, ShownAccounts::Hosted), (true, false, false));
    let labels = |redact| HydrateCtx {
        labelers: [(labeler, redact)].into_iter().collect(),
        ..seen_by(Some(alice))
    };
    assert_eq!(shown(&labels(false), ShownAccounts::Hosted), (true, false, false));
    assert_eq!(shown(&labels(true), ShownAccounts::Hosted), (false, true, false));
    assert_eq!(shown(&labels(true), ShownAccounts::All), (true, true, false));
    f.take_down(Target::Actor(bob));
    assert_eq!(shown(&anonymous, ShownAccounts::Hosted), (false, false, false));
    let operator = HydrateCtx { include_takedowns: true, ..seen_by(None) };
    assert_eq!(shown(&operator, ShownAccounts::Hosted), (true, true, false));
}

#[test]
fn a_taken_down_profile_record_leaves_the_account() {
    let f = Fixture::new();
    let bob = f.account("bob");
    let profile = f.hydrate(&seen_by(None), |h| h.actor(bob).unwrap().unwrap());
    f.take_down(Target::Record(profile.profile.as_ref().unwrap().record.id));
    for (include_takedowns, shown) in [(false, false), (true, true)] {
        f.hydrate(&HydrateCtx { include_takedowns, ..seen_by(None) }, |h| {
            let mut state = h.state();
            h.profiles(&mut state, &[bob]).unwrap();
            let actor = state.actor(bob).unwrap();
            assert_eq!(actor.profile.is_some(), shown);
            assert!(actor.created.is_some());
        });
    }
}

#[test]
fn needs_review_is_seen_by_author_and_followers() {
    let f = Fixture::new();
    let (alice, bob, labeler) = (f.account("alice"), f.account("bob"), f.account("labeler"));
    f.label(labeler, Target::Actor(bob), "needs-review");
    f.follow(alice, bob);
    for (viewer, sees) in
        [(None, false), (Some(alice), true), (Some(bob), true), (Some(labeler), false)]
    {
        let ctx =
            HydrateCtx { labelers: [(labeler, true)].into_iter().collect(), ..seen_by(viewer) };
        f.hydrate(&ctx, |h| {
            let mut state = h.state();
            h.profiles(&mut state, &[bob]).unwrap();
            assert_eq!(state.viewer_sees_needs_review(Target::Actor(bob)), sees, "{viewer:?}");
        });
    }
}

#[test]
fn known_followers_by_either_way_of_reading() {
    let f = Fixture::new();
    let (alice, star) = (f.account("alice"), f.account("star"));
    let others: Vec<_> = (0..9).map(|i| f.account(&format!("user{i}"))).collect();
    let known = |viewer| {
        f.hydrate(&seen_by(Some(viewer)), |h| {
            let mut state = h.state();
            h.profiles_detailed(&mut state, &[star], ShownAccounts::Hosted).unwrap();
            state.known_followers.get(&star).map(|k| (k.count, k.sample.len()))
        })
    };
    assert_eq!(known(alice), None);
    for other in &others {
        f.follow(*other, star);
    }
    f.follow(alice, others[0]);
    // One follow against nine followers: point reads.
    assert_eq!(known(alice), Some((1, 1)));
    for other in &others[1..7] {
        f.edge(EdgeKind::Follow, alice, Target::Actor(*other), NOW + i64::from(other.0));
    }
    assert_eq!(known(alice), Some((7, 5)));
    f.hydrate(&seen_by(Some(alice)), |h| {
        assert_eq!(h.all_known_followers(alice, star).unwrap().len(), 7);
    });
}

#[test]
fn an_answer_looks_for_a_bounded_number_of_known_followers() {
    let f = Fixture::new();
    let (alice, star, small) = (f.account("alice"), f.account("star"), f.account("small"));
    let others: Vec<_> = (0..12).map(|i| f.account(&format!("user{i}"))).collect();
    for (n, other) in others.iter().enumerate() {
        f.follow(*other, star);
        f.edge(EdgeKind::Follow, alice, Target::Actor(*other), NOW + n as i64);
    }
    f.follow(others[3], small);
    f.follow(others[11], small);
    // Two lookups for each of five thousand accounts.
    let many = [vec![star; 4_999], vec![small]].concat();
    for (ids, stars, smalls) in [(&[star, small][..], 12, 2), (&many, 2, 2)] {
        f.hydrate(&seen_by(Some(alice)), |h| {
            let mut state = h.state();
            h.known_followers(&mut state, ids).unwrap();
            let known = [star, small].map(|id| state.known_followers[&id].count);
            assert_eq!(known, [stars, smalls]);
            assert_eq!(state.known_followers[&star].sample[..2], others[..2]);
        });
    }
}

#[test]
fn only_so_many_list_blocks_of_an_account_are_looked_at() {
    let f = Fixture::new();
    let (alice, bob, carol) = (f.account("alice"), f.account("bob"), f.account("carol"));
    let list = f.list(bob, "3kaaaaaaaaa2a", graph::MODLIST, &[carol]);
    let uri = f.snapshot().uri(list).unwrap();
    let block = json!({ "$type": "app.bsky.graph.listblock", "subject": uri,
        "createdAt": "2023-03-01T00:00:00.000Z" });
    f.record(alice, "app.bsky.graph.listblock", "3kaaaaaaaaa2a", block);
    let blocked =
        || f.hydrate(&seen_by(None), |h| h.block_set(alice).unwrap().blocked_lists.clone());
    assert_eq!(blocked(), [list]);
    let older = |n: std::ops::Range<u64>| {
        f.write(move |tx| {
            let packed = tx.pack(&crate::repo::dag_cbor::from_json(&json!({ "subject": "x" })))?;
            let row = RecordRow { cid: None, indexed: NOW, sort: NOW, valid: true, packed };
            for n in n {
                let id = RecordId { actor: alice, coll: collections::LISTBLOCK, rkey: Rkey(n) };
                tx.put(Ks::Record, &id.to_bytes(), &row.encode());
            }
            tx.touch(alice);
            Ok(())
        });
    };
    older(1..1_000);
    assert_eq!(blocked(), [list]);
    older(1_000..1_001);
    assert_eq!(blocked(), []);
}

#[test]
fn a_page_of_a_list_passes_over_a_bounded_number_of_items() {
    let f = Fixture::new();
    let (owner, member) = (f.account("owner"), f.account("member"));
    let list = f.list(owner, "3kaaaaaaaaa2a", graph::MODLIST, &[member]);
    // Items for somebody who is on the list by no item that counts.
    f.write(move |tx| {
        for n in 0..4_500 {
            let key = order_item_key(Target::Record(list), NOW + n, Rkey(n.unsigned_abs()));
            tx.put(Ks::Order, &key, &owner.0.to_be_bytes());
        }
        Ok(())
    });
    f.hydrate(&seen_by(None), |h| {
        let (mut pages, mut cursor) = (Vec::new(), None);
        loop {
            let page = h.list_items(list, cursor.as_ref(), 10).unwrap();
            pages.push(page.items.iter().map(|item| item.member).collect::<Vec<_>>());
            let Some(next) = page.cursor else { break };
            cursor = TimeCursor::parse(&next);
        }
        assert_eq!(pages, [vec![], vec![], vec![member]]);
    });
}

#[test]
fn verifications_of_trusted_verifiers_count() {
    let settings = HydrationSettings {
        trusted_verifiers: vec!["did:plc:trusted".into()],
        ..HydrationSettings::new("https://appview.example")
    };
    let f = Fixture::with(settings);
    let (bob, trusted, other) = (f.account("bob"), f.account("trusted"), f.account("other"));
    let record = json!({
        "$type": "app.bsky.graph.verification", "subject": "did:plc:bob", "handle": "bob.test",
        "displayName": "BOB", "createdAt": "2023-03-01T00:00:00.000Z",
    });
    f.record(other, "app.bsky.graph.verification", "v1", record.clone());
    let verified = || f.hydrate(&seen_by(None), |h| h.actor(bob).unwrap().unwrap());
    assert_eq!(verified().verifications.len(), 0);
    f.record(trusted, "app.bsky.graph.verification", "v1", record);
    let actor = verified();
    assert_eq!(actor.verifications[0].issuer, trusted);
    assert_eq!(actor.verifications[0].uri, "at://did:plc:trusted/app.bsky.graph.verification/v1");
    f.shared.reload(HydrationSettings::new("https://appview.example"));
    assert_eq!(verified().verifications.len(), 0);
}
