// The whole way of a client: @atproto/api to the PDS, through its proxy to aerie, on a seeded network.
// What is expected follows from the seed; the orders and counts are those of the reference AppView.
import './contract.mjs'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { adminHeaders, command, startAerie } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { ALICE_TIMELINE, createCast, seed } from './seed.mjs'

let net, aerie, cast, refs, anonymous
let alice, bob, carol, dan, eve, fred, greta, hank, ivy, judy, kim, leo
let nameOf = {}

before(async () => {
  net = await startNetwork()
  cast = await createCast(net)
  ;({ alice, bob, carol, dan, eve, fred, greta, hank, ivy, judy, kim, leo } = cast)
  aerie = await startAerie(net, { change: live })
  refs = await seed(net, cast)
  anonymous = net.anonymous(aerie.url)
  nameOf = Object.fromEntries([
    ...Object.entries(refs).map(([name, { uri }]) => [uri, name]),
    ...Object.values(cast).map(({ did, name }) => [did, name]),
  ])
  await aerie.caughtUp()
})

after(async () => {
  await aerie?.close()
  await net?.close()
})

const live = (settings) => {
  settings.config = { live_now: [{ did: cast.alice.did, domains: ['twitch.example'] }] }
}
const bsky = (actor) => actor.agent.app.bsky
const people = (profiles) => profiles.map((p) => nameOf[p.did])
const posts = (list) => list.map((p) => nameOf[p.uri])
const items = (feed) =>
  feed.map(({ post, reason }) => nameOf[post.uri] + (reason?.by ? ` by ${nameOf[reason.by.did]}` : ''))
const counts = (p) => [p.replyCount, p.repostCount, p.likeCount, p.quoteCount]
const profile = async (viewer, actor) => (await viewer.agent.getProfile({ actor: actor.did })).data
const post = async (viewer, name) => (await viewer.agent.getPosts({ uris: [refs[name].uri] })).data.posts[0]
const timeline = async (viewer) => items((await viewer.agent.getTimeline({ limit: 100 })).data.feed)
const notifications = async (viewer, params) =>
  (await viewer.agent.listNotifications({ limit: 100, ...params })).data.notifications
const thread = async (viewer, name, params) =>
  (await viewer.agent.getPostThread({ uri: refs[name].uri, depth: 20, ...params })).data.thread
const fails = (promise, status, error) => assert.rejects(promise, (e) => e.status === status && (!error || e.error === error))

/** A thread as nested arrays of names; what is not shown keeps its type. */
const tree = (node) => {
  if (!node.post) return `${node.$type.split('#')[1]} ${nameOf[node.uri]}`
  return node.replies?.length ? [nameOf[node.post.uri], ...node.replies.map(tree)] : nameOf[node.post.uri]
}
const ancestors = (node) => (node.parent ? [tree({ ...node.parent, replies: [] }), ...ancestors(node.parent)] : [])

/** Follows cursors to the end. */
async function pages(call, pick, limit) {
  const out = []
  let cursor
  do {
    const { data } = await call({ limit, cursor })
    out.push(...pick(data))
    assert.ok(pick(data).length <= limit)
    cursor = data.cursor
  } while (cursor)
  return out
}

test('profiles: counts and viewer state', async () => {
  const seen = await profile(bob, alice)
  assert.deepEqual([seen.followersCount, seen.followsCount, seen.postsCount], [7, 6, 7])
  assert.equal(seen.displayName, 'Alice')
  assert.ok(seen.avatar.startsWith(`${aerie.url}/img/avatar/plain/${alice.did}/`), seen.avatar)
  assert.ok(seen.viewer.following.startsWith(`at://${bob.did}/app.bsky.graph.follow/`))
  assert.ok(seen.viewer.followedBy.startsWith(`at://${alice.did}/app.bsky.graph.follow/`))
  assert.deepEqual(people(seen.viewer.knownFollowers.followers), ['carol'])
  assert.equal(seen.associated.feedgens, 1)

  assert.equal((await profile(alice, bob)).displayName, 'Bobby')
  assert.equal((await profile(alice, dan)).followsCount, 2)
  assert.equal((await profile(dan, carol)).viewer.following, undefined)

  const { data } = await alice.agent.getProfiles({ actors: [bob, hank, ivy, judy, kim].map((a) => a.did) })
  assert.deepEqual(people(data.profiles), ['bob', 'kim'])
})

test('accounts that are gone, suspended, deactivated or renamed', async () => {
  await fails(profile(alice, hank), 400, 'AccountTakedown')
  await fails(profile(alice, ivy), 400, 'AccountDeactivated')
  await fails(profile(alice, judy), 400, 'InvalidRequest')
  assert.equal((await profile(alice, kim)).handle, 'kimberly.test')
  assert.equal((await anonymous.resolveHandle({ handle: 'kimberly.test' })).data.did, kim.did)
  await fails(anonymous.resolveHandle({ handle: 'kim.test' }), 400)
  assert.deepEqual(posts((await alice.agent.getPosts({ uris: [refs.hankPost.uri, refs.ivyPost.uri, refs.gone.uri] })).data.posts), [])
})

test('timeline: order, reposts, pages', async () => {
  assert.deepEqual(await timeline(alice), ALICE_TIMELINE)
  assert.deepEqual(await timeline(kim), ['last'])
  const paged = await pages((p) => alice.agent.getTimeline(p), (d) => d.feed, 15)
  assert.deepEqual(items(paged), ALICE_TIMELINE)
  const [reply] = paged.filter((i) => nameOf[i.post.uri] === 'deep3')
  assert.deepEqual(posts([reply.reply.root, reply.reply.parent]), ['root', 'deep2'])
})

test('author feeds: filters and blocks', async () => {
  const feed = async (viewer, actor, filter) => items((await viewer.agent.getAuthorFeed({ actor: actor.did, filter })).data.feed)
  assert.deepEqual(await feed(carol, alice), ['hiding', 'followed', 'nobodyAlice', 'nobody', 'pictures', 'early', 'hello'])
  assert.deepEqual(await feed(carol, alice, 'posts_no_replies'), ['hiding', 'followed', 'nobody', 'pictures', 'early', 'hello'])
  assert.deepEqual(await feed(carol, alice, 'posts_with_media'), ['pictures'])
  assert.deepEqual(await feed(carol, bob, 'posts_and_author_threads'), ['unquotable', 'hello by bob', 'rich'])
  assert.deepEqual(items((await anonymous.getAuthorFeed({ actor: 'bob.test', limit: 3 })).data.feed), ['unquotable', 'hidden', 'nobodyBob'])
  await fails(feed(dan, fred), 400, 'BlockedByActor')
  await fails(feed(fred, dan), 400, 'BlockedActor')
})

test('posts: counts, embeds, viewer state', async () => {
  assert.deepEqual(counts(await post(alice, 'hello')), [1, 2, 9, 2])
  assert.deepEqual(counts(await post(alice, 'early')), [0, 0, 1, 0])
  assert.deepEqual(counts(await post(alice, 'rich')), [0, 1, 1, 1])
  assert.deepEqual(counts(await post(alice, 'carolPost')), [0, 0, 1, 0])
  assert.ok((await post(alice, 'rich')).viewer.like.endsWith('/3kbbbbbbbbbb3'), 'the second like counts when the first is gone')
  assert.equal((await post(bob, 'rich')).viewer.like, undefined)
  assert.ok((await post(bob, 'hello')).viewer.repost)

  const { embed } = await post(bob, 'pictures')
  assert.deepEqual(embed.images.map((i) => [i.alt, i.aspectRatio?.width]), [['one', undefined], ['two', 1]])
  assert.ok(embed.images[0].thumb.startsWith(`${aerie.url}/img/feed_thumbnail/plain/${alice.did}/`))
  assert.equal((await post(bob, 'rich')).embed.external.title, 'Example')
  assert.equal(nameOf[(await post(bob, 'quote')).embed.record.uri], 'hello')
  assert.equal(nameOf[(await post(bob, 'quoteWithMedia')).embed.record.record.uri], 'hello')
  assert.equal((await post(alice, 'badQuote')).embed.record.$type, 'app.bsky.embed.record#viewDetached')
  assert.equal((await post(alice, 'detachedQuote')).embed.record.$type, 'app.bsky.embed.record#viewDetached')
  assert.equal((await post(alice, 'danQuote')).embed.record.$type, 'app.bsky.embed.record#viewBlocked')
  assert.equal((await post(alice, 'unquotable')).viewer.embeddingDisabled, true)
  assert.equal((await post(bob, 'nobody')).viewer.replyDisabled, true)
  assert.equal((await post(dan, 'followed')).viewer.replyDisabled, true)
  assert.ok(!(await post(carol, 'followed')).viewer.replyDisabled)
})

test('threads: deep, wide, gated, deleted, blocked', async () => {
  const chain = ['deep0', ['deep1', ['deep2', ['deep3', ['deep4', ['deep5', ['deep6', 'deep7']]]]]]]
  const deep = ['deep0', chain[1]]
  const wide = ['wide5', 'wide4', 'wide3', 'wide2', 'wide1', 'wide0']
  assert.deepEqual(tree(await thread(alice, 'root')), ['root', ...wide, deep])
  const forDan = wide.map((name) => (name === 'wide2' ? 'blockedPost wide2' : name))
  assert.deepEqual(tree(await thread(dan, 'root')), ['root', ...forDan, deep])
  assert.deepEqual(tree(await thread(alice, 'root', { depth: 1 })), ['root', ...wide, 'deep0'])
  assert.deepEqual(counts((await thread(alice, 'root')).post), [7, 0, 0, 0])

  assert.deepEqual(ancestors(await thread(alice, 'deep7')), ['deep6', 'deep5', 'deep4', 'deep3', 'deep2', 'deep1', 'deep0', 'root'])
  assert.deepEqual(ancestors(await thread(alice, 'orphan')), ['notFoundPost gone'])
  assert.deepEqual(tree(await thread(alice, 'nobody')), ['nobody', 'nobodyAlice'])
  assert.deepEqual(tree(await thread(dan, 'followed')), ['followed', 'followedCarol'])
  assert.deepEqual(tree(await thread(alice, 'fredPost')), 'fredPost')
  assert.deepEqual(tree(await thread(dan, 'fredPost')), 'blockedPost fredPost')
  await fails(thread(alice, 'gone'), 400, 'NotFound')
})

test('thread v2: a flat list around an anchor', async () => {
  const flat = async (viewer, anchor, params) =>
    (await bsky(viewer).unspecced.getPostThreadV2({ anchor: refs[anchor].uri, ...params })).data.thread.map((t) => [t.depth, nameOf[t.uri]])
  const chain = Array.from({ length: 8 }, (_, i) => [i + 1, `deep${i}`])
  const wide = ['wide0', 'wide1', 'wide2', 'wide3', 'wide4'].map((name) => [1, name])
  assert.deepEqual(await flat(alice, 'root', { below: 20 }), [[0, 'root'], [1, 'wide5'], ...chain, ...wide])
  assert.deepEqual(
    await flat(alice, 'deep3', { below: 1 }),
    [[-4, 'root'], [-3, 'deep0'], [-2, 'deep1'], [-1, 'deep2'], [0, 'deep3'], [1, 'deep4']],
  )
})

test('a thread that its author goes on with keeps its numbers when a post of it is deleted', async () => {
  const say = async (text, root, parent) => {
    const { uri, cid } = await kim.agent.post({ text, ...(root && { reply: { root, parent } }) })
    return { uri, cid }
  }
  const root = await say('one')
  const second = await say('two', root, root)
  const third = await say('three', root, second)
  const numbers = async (anchor) => {
    await aerie.caughtUp()
    const { data } = await bsky(alice).unspecced.getPostThreadV2({ anchor: anchor.uri })
    const shown = data.thread.filter(({ value }) => value.post)
    return shown.map(({ value }) => [value.post.record.text, value.opThreadPostIndex, value.opThreadPostCount])
  }
  assert.deepEqual(await numbers(root), [['one', 1, 3], ['two', 2, 3], ['three', 3, 3]])
  await kim.agent.deletePost(second.uri)
  const beside = await say('beside', root, root)
  assert.deepEqual(await numbers(root), [['one', 1, 3], ['beside', undefined, undefined]])
  assert.deepEqual(await numbers(third), [['three', 3, 3]])
  await kim.agent.deletePost(third.uri)
  assert.deepEqual(await numbers(root), [['one', 1, 2], ['beside', 2, 2]], 'written after the second was deleted')
  for (const { uri } of [beside, root]) await kim.agent.deletePost(uri)
  await aerie.caughtUp()
})

test('likes, reposts and quotes of a post', async () => {
  const uri = refs.hello.uri
  assert.deepEqual(
    (await alice.agent.getLikes({ uri })).data.likes.map((l) => nameOf[l.actor.did]),
    ['eve', 'leo', 'greta', 'fred', 'dan', 'carol', 'bob'],
  )
  const paged = await pages((p) => alice.agent.getLikes({ uri, ...p }), (d) => d.likes, 2)
  assert.equal(paged.length, 7)
  assert.deepEqual(people((await alice.agent.getRepostedBy({ uri })).data.repostedBy), ['dan', 'bob'])
  assert.deepEqual(posts((await bsky(alice).feed.getQuotes({ uri })).data.posts), ['quoteWithMedia', 'quote'])
  assert.deepEqual(items((await alice.agent.getActorLikes({ actor: alice.did })).data.feed), ['rich', 'carolPost'])
  await fails(alice.agent.getActorLikes({ actor: bob.did }), 400)
})

test('follows, followers, relationships', async () => {
  assert.deepEqual(people((await bob.agent.getFollows({ actor: alice.did })).data.follows), ['eve', 'carol', 'bob'])
  const followers = ['leo', 'greta', 'fred', 'eve', 'dan', 'carol', 'bob']
  assert.deepEqual(people((await bob.agent.getFollowers({ actor: alice.did })).data.followers), followers)
  const paged = await pages((p) => bob.agent.getFollowers({ actor: alice.did, ...p }), (d) => d.followers, 3)
  assert.deepEqual(people(paged), followers)
  assert.deepEqual(people((await bsky(greta).graph.getKnownFollowers({ actor: alice.did })).data.followers), ['bob'])
  const { relationships } = (await anonymous.app.bsky.graph.getRelationships({ actor: alice.did, others: [bob.did, dan.did] })).data
  assert.deepEqual(relationships.map((r) => [!!r.following, !!r.followedBy]), [[true, true], [false, true]])
})

test('lists, blocks by list, list feed', async () => {
  const { lists } = (await bsky(alice).graph.getLists({ actor: greta.did })).data
  assert.deepEqual(lists.map((l) => [nameOf[l.uri], l.listItemCount]), [['curatelist', 3], ['modlist', 1]])
  const { list, items: members } = (await bsky(carol).graph.getList({ list: refs.modlist.uri })).data
  assert.equal(list.viewer.blocked, refs.listblock.uri)
  assert.deepEqual(members.map((i) => nameOf[i.subject.did]), ['leo'])
  assert.deepEqual((await bsky(carol).graph.getListBlocks()).data.lists.map((l) => nameOf[l.uri]), ['modlist'])
  assert.equal((await profile(carol, leo)).viewer.blockingByList.uri, refs.modlist.uri)
  assert.equal((await profile(leo, carol)).viewer.blockedBy, true)
  assert.deepEqual(people((await bsky(fred).graph.getBlocks()).data.blocks), ['dan'])

  const feed = items((await bsky(dan).feed.getListFeed({ list: refs.curatelist.uri })).data.feed)
  assert.deepEqual(feed, [
    'badQuote', 'unquotable', 'hidden', 'hiding', 'followedCarol', 'followed', 'nobodyAlice', 'nobodyBob', 'nobody',
    'wide0', 'deep6', 'deep4', 'deep2', 'deep0', 'carolPost', 'rich', 'pictures', 'early', 'hello',
  ])
})

test('feeds of a feed generator', async () => {
  const feed = refs.feed.uri
  assert.deepEqual(items((await bsky(dan).feed.getFeed({ feed })).data.feed), ['hello', 'carolPost', 'quote'])
  assert.deepEqual(items((await bsky(alice).feed.getFeed({ feed })).data.feed), ['hello', 'carolPost', 'fredPost', 'quote'])
  const { view } = (await bsky(dan).feed.getFeedGenerator({ feed })).data
  assert.deepEqual([view.displayName, view.likeCount, nameOf[view.creator.did]], ['Picked', 1, 'alice'])
  assert.equal((await bsky(dan).feed.getFeedGenerators({ feeds: [feed] })).data.feeds.length, 1)
  assert.equal((await bsky(dan).feed.getActorFeeds({ actor: alice.did })).data.feeds.length, 1)
})

test('notifications: reasons, order, unread, seen', async () => {
  const told = async (viewer) => (await notifications(viewer)).map((n) => [n.reason, nameOf[n.author.did], nameOf[n.reasonSubject]])
  const likers = ['eve', 'leo', 'greta', 'fred', 'dan', 'carol', 'bob']
  const followers = ['leo', 'greta', 'fred', 'eve', 'dan', 'carol', 'bob']
  assert.deepEqual(await told(alice), [
    ['like', 'bob', 'feed'],
    ['reply', 'dan', 'hiding'],
    ['reply', 'carol', 'followed'],
    ...likers.map((name) => ['like', name, 'hello']),
    ['repost', 'dan', 'hello'],
    ['repost', 'bob', 'hello'],
    ['quote', 'eve', 'hello'],
    ['quote', 'dan', 'hello'],
    ['like', 'dan', 'early'],
    ...followers.map((name) => ['follow', name, undefined]),
  ])
  assert.deepEqual(await told(bob), [
    ['quote', 'eve', 'rich'],
    ['reply', 'eve', 'deep6'],
    ['reply', 'eve', 'deep4'],
    ['reply', 'eve', 'deep2'],
    ['reply', 'eve', 'deep0'],
    ['like-via-repost', 'eve', 'bobRepost'],
    ['repost', 'carol', 'rich'],
    ['follow', 'greta', undefined],
    ['follow', 'dan', undefined],
    ['follow', 'alice', undefined],
  ])
  assert.deepEqual((await told(carol)).map(([reason]) => reason), ['like', 'mention', 'follow', 'follow'])

  const unread = async (viewer) => (await viewer.agent.countUnreadNotifications()).data.count
  const isRead = async () => (await notifications(bob)).map((n) => n.isRead)
  const longAgo = new Date(Date.now() - 7200_000).toISOString()
  assert.equal(await unread(bob), 10)
  await bob.agent.updateSeenNotifications(longAgo)
  assert.deepEqual([await unread(bob), await isRead()], [10, Array(10).fill(false)])
  await bob.agent.updateSeenNotifications(new Date().toISOString())
  assert.deepEqual([await unread(bob), await isRead()], [0, Array(10).fill(true)])
  await bob.agent.updateSeenNotifications(longAgo)
  assert.deepEqual([await unread(bob), await isRead()], [10, Array(10).fill(false)], 'what the viewer says last counts')
})

test('follow and unfollow', async () => {
  const before = (await profile(kim, alice)).followersCount
  const { uri } = await kim.agent.follow(alice.did)
  await aerie.caughtUp()
  const followed = await profile(kim, alice)
  assert.deepEqual([followed.followersCount, followed.viewer.following], [before + 1, uri])
  assert.deepEqual((await timeline(kim)).slice(0, 2), ['last', 'hiding'])
  const [first] = await notifications(alice)
  assert.deepEqual([first.reason, nameOf[first.author.did]], ['follow', 'kim'])

  await kim.agent.deleteFollow(uri)
  await aerie.caughtUp()
  const unfollowed = await profile(kim, alice)
  assert.deepEqual([unfollowed.followersCount, unfollowed.viewer.following], [before, undefined])
  assert.deepEqual(await timeline(kim), ['last'])
  assert.notEqual((await notifications(alice))[0].reason, 'follow')
})

test('like, unlike, like again; repost and back', async () => {
  const { uri, cid } = refs.pictures
  for (let round = 0; round < 2; round++) {
    const like = await kim.agent.like(uri, cid)
    const repost = await kim.agent.repost(uri, cid)
    await aerie.caughtUp()
    const liked = await post(kim, 'pictures')
    assert.deepEqual([counts(liked), liked.viewer.like, liked.viewer.repost], [[0, 1, 1, 0], like.uri, repost.uri])
    await kim.agent.deleteLike(like.uri)
    await kim.agent.deleteRepost(repost.uri)
    await aerie.caughtUp()
    const unliked = await post(kim, 'pictures')
    assert.deepEqual([counts(unliked), unliked.viewer.like, unliked.viewer.repost], [[0, 0, 0, 0], undefined, undefined])
  }
})

test('a new post, its reply, and their deletion', async () => {
  const made = await kim.agent.post({ text: 'new' })
  const strong = { uri: made.uri, cid: made.cid }
  const reply = await carol.agent.post({ text: 'and a reply', reply: { root: strong, parent: strong } })
  await aerie.caughtUp()
  const { thread: shown } = (await alice.agent.getPostThread({ uri: made.uri })).data
  assert.deepEqual([shown.post.replyCount, shown.replies[0].post.uri], [1, reply.uri])
  assert.equal((await notifications(kim))[0].uri, reply.uri)
  await carol.agent.deletePost(reply.uri)
  await aerie.caughtUp()
  assert.equal((await alice.agent.getPostThread({ uri: made.uri })).data.thread.post.replyCount, 0)
  assert.equal((await notifications(kim)).filter((n) => n.reason === 'reply').length, 0)
  await kim.agent.deletePost(made.uri)
  await aerie.caughtUp()
  await fails(alice.agent.getPostThread({ uri: made.uri }), 400, 'NotFound')
})

test('mutes of an account, a list and a thread', async () => {
  await alice.agent.mute(carol.did)
  assert.equal((await profile(alice, carol)).viewer.muted, true)
  assert.deepEqual(people((await bsky(alice).graph.getMutes()).data.mutes), ['carol'])
  const carols = ['badQuote', 'followedCarol', 'wide0', 'rich by carol', 'carolPost']
  assert.deepEqual(await timeline(alice), ALICE_TIMELINE.filter((name) => !carols.includes(name)))
  assert.ok((await notifications(alice)).every((n) => nameOf[n.author.did] !== 'carol'))
  await alice.agent.unmute(carol.did)
  assert.deepEqual(await timeline(alice), ALICE_TIMELINE)

  await alice.agent.muteModList(refs.modlist.uri)
  assert.equal((await profile(alice, leo)).viewer.mutedByList.uri, refs.modlist.uri)
  assert.deepEqual((await bsky(alice).graph.getListMutes()).data.lists.map((l) => nameOf[l.uri]), ['modlist'])
  await alice.agent.unmuteModList(refs.modlist.uri)
  assert.equal((await profile(alice, leo)).viewer.mutedByList, undefined)

  await bsky(eve).graph.muteThread({ root: refs.root.uri })
  assert.equal((await post(eve, 'deep2')).viewer.threadMuted, true)
  const before = (await notifications(eve)).length
  const made = await carol.reply('into a muted thread', refs.root)
  await aerie.caughtUp()
  assert.equal((await notifications(eve)).length, before)
  await bsky(eve).graph.unmuteThread({ root: refs.root.uri })
  assert.equal((await post(eve, 'deep2')).viewer.threadMuted, false)
  await carol.delete(made)
  await aerie.caughtUp()
})

test('block and unblock', async () => {
  const block = await alice.block(eve)
  await aerie.caughtUp()
  const blocked = await profile(alice, eve)
  assert.deepEqual([blocked.viewer.blocking, blocked.viewer.following], [block.uri, undefined])
  assert.equal((await profile(eve, alice)).viewer.blockedBy, true)
  const eves = ['detachedQuote', 'wide5', 'deep7', 'deep5', 'deep3', 'deep1', 'root', 'quoteWithMedia']
  assert.ok((await timeline(alice)).every((name) => !eves.includes(name)))
  assert.equal((await post(bob, 'quoteWithMedia')).embed.record.record.$type, 'app.bsky.embed.record#viewBlocked')
  assert.equal(tree(await thread(alice, 'root')), 'blockedPost root')
  await alice.delete(block)
  await aerie.caughtUp()
  assert.deepEqual(await timeline(alice), ALICE_TIMELINE)
  assert.equal(nameOf[(await post(bob, 'quoteWithMedia')).embed.record.record.uri], 'hello')
})

test('labels: from the labeler, negated, expired, and as a takedown', async () => {
  const values = (view) => view.labels.filter((l) => l.src === net.labeler.did).map((l) => l.val)
  assert.deepEqual(values(await post(alice, 'leoPost')), ['spam'])
  assert.deepEqual(values(await post(bob, 'hello')), [])
  assert.deepEqual(values(await profile(alice, leo)), ['spammer'])
  assert.equal(await post(alice, 'removed'), undefined)
  const query = { uriPatterns: [refs.leoPost.uri], sources: [net.labeler.did] }
  assert.deepEqual((await anonymous.com.atproto.label.queryLabels(query)).data.labels.map((l) => l.val), ['spam'])

  await net.labeler.emit({ uri: refs.pictures.uri, val: 'pretty' })
  await aerie.caughtUp()
  assert.deepEqual(values(await post(bob, 'pictures')), ['pretty'])
  await net.labeler.emit({ uri: refs.pictures.uri, val: 'pretty', neg: true })
  await aerie.caughtUp()
  assert.deepEqual(values(await post(bob, 'pictures')), [])
})

test('a record comes back as it was written', async () => {
  const rkey = refs.carolPost.uri.split('/').at(-1)
  const { data } = await anonymous.com.atproto.repo.getRecord({ repo: carol.did, collection: 'app.bsky.feed.post', rkey })
  assert.deepEqual([data.uri, data.cid, data.value.text], [refs.carolPost.uri, refs.carolPost.cid, 'carol writes 日本語 👩‍👩‍👧‍👦'])
})

test('takedown by the operator, and back', async () => {
  const call = (nsid, init) => fetch(`${aerie.url}/xrpc/com.atproto.admin.${nsid}`, { headers: adminHeaders, ...init })
  const set = async (applied) => {
    const body = {
      subject: { $type: 'com.atproto.repo.strongRef', ...refs.carolPost },
      takedown: { applied, ...(applied && { ref: 'case-1' }) },
    }
    const headers = { ...adminHeaders, 'content-type': 'application/json' }
    const res = await call('updateSubjectStatus', { method: 'POST', headers, body: JSON.stringify(body) })
    assert.equal(res.status, 200)
    const status = await call(`getSubjectStatus?uri=${encodeURIComponent(refs.carolPost.uri)}`)
    assert.equal((await status.json()).takedown.applied, applied)
  }
  await set(true)
  assert.equal(await post(alice, 'carolPost'), undefined)
  assert.ok(!(await timeline(alice)).includes('carolPost'))
  await set(false)
  assert.deepEqual(await timeline(alice), ALICE_TIMELINE)
  const refused = await fetch(`${aerie.url}/xrpc/com.atproto.admin.getSubjectStatus?did=${alice.did}`)
  assert.equal(refused.status, 401)
})

test('bad requests get the protocol error', async () => {
  const get = async (path, headers) => {
    const res = await fetch(`${aerie.url}/xrpc/${path}`, { headers })
    return [res.status, (await res.json()).error]
  }
  assert.deepEqual(await get('app.bsky.feed.getTimeline'), [401, 'AuthMissing'])
  assert.equal((await get('app.bsky.feed.getTimeline', { authorization: 'Bearer x.y.z' }))[0], 401)
  assert.deepEqual(await get('app.bsky.actor.getProfile'), [400, 'InvalidRequest'])
  assert.deepEqual(await get('app.bsky.actor.getProfile?actor=not%20an%20actor'), [400, 'InvalidRequest'])
  assert.deepEqual(await get(`app.bsky.graph.getFollowers?actor=${alice.did}&limit=101`), [400, 'InvalidRequest'])
  assert.deepEqual(await get('app.bsky.feed.noSuchThing'), [501, 'MethodNotImplemented'])
})

test('mutes of only reposts, or only quotes', async () => {
  const feed = async () => (await timeline(greta)).filter((name) => name.endsWith('by bob') || name === 'rich')
  assert.deepEqual(await feed(), ['hello by bob', 'rich'])
  await bsky(greta).graph.muteActor({ actor: bob.did, onlyReposts: true })
  assert.deepEqual(await feed(), ['rich'])
  const { viewer } = await profile(greta, bob)
  assert.deepEqual([viewer.muted, viewer.mutedOnlyReposts, viewer.mutedOnlyQuoteposts], [false, true, false])
  assert.deepEqual((await bsky(greta).graph.getMutes()).data.mutes, [], 'a scoped mute is not in the list')
  await bsky(greta).graph.muteActor({ actor: bob.did, onlyQuoteposts: true })
  assert.deepEqual(await feed(), ['hello by bob', 'rich'])
  await bsky(greta).graph.unmuteActor({ actor: bob.did })
  assert.ok(!(await profile(greta, bob)).viewer.mutedOnlyQuoteposts)
})

test('bookmarks', async () => {
  const bookmarks = async () => (await bsky(greta).bookmark.getBookmarks()).data.bookmarks.map((b) => nameOf[b.item.uri])
  for (const name of ['hello', 'rich', 'hello']) await bsky(greta).bookmark.createBookmark(refs[name])
  assert.deepEqual(await bookmarks(), ['rich', 'hello'])
  const seen = await post(greta, 'hello')
  assert.deepEqual([seen.viewer.bookmarked, seen.bookmarkCount], [true, 1])
  assert.equal((await post(bob, 'hello')).viewer.bookmarked, false)
  await bsky(greta).bookmark.deleteBookmark({ uri: refs.hello.uri })
  assert.deepEqual([await bookmarks(), (await post(greta, 'hello')).bookmarkCount], [['rich'], 0])
  await fails(bsky(greta).bookmark.createBookmark(refs.curatelist), 400, 'UnsupportedCollection')
})

test('starter packs', async () => {
  const list = await greta.list('to start with', 'referencelist', [dan, alice, bob])
  const feeds = [{ uri: refs.feed.uri }]
  const pack = await greta.create('app.bsky.graph.starterpack', { name: 'Welcome', list: list.uri, feeds })
  await aerie.caughtUp()
  const { starterPack } = (await bsky(alice).graph.getStarterPack({ starterPack: pack.uri })).data
  assert.deepEqual([starterPack.record.name, nameOf[starterPack.creator.did], starterPack.list.listItemCount], ['Welcome', 'greta', 3])
  const sample = starterPack.listItemsSample.map((i) => nameOf[i.subject.did])
  assert.deepEqual(sample, ['alice', 'bob', 'dan'], 'those with most followers first')
  assert.deepEqual(starterPack.feeds.map((f) => nameOf[f.uri]), ['feed'])
  const uris = (packs) => packs.map((p) => p.uri)
  assert.deepEqual(uris((await bsky(alice).graph.getActorStarterPacks({ actor: greta.did })).data.starterPacks), [pack.uri])
  assert.deepEqual(uris((await bsky(alice).graph.getStarterPacks({ uris: [pack.uri] })).data.starterPacks), [pack.uri])
  assert.equal((await profile(alice, greta)).associated.starterPacks, 1)
  const member = async (actor) => {
    const { data } = await bsky(greta).graph.getStarterPacksWithMembership({ actor: actor.did })
    return data.starterPacksWithMembership.map((m) => !!m.listItem)
  }
  assert.deepEqual([await member(dan), await member(leo)], [[true], [false]])
  await greta.delete(pack)
  await aerie.caughtUp()
  await fails(bsky(alice).graph.getStarterPack({ starterPack: pack.uri }), 400)
})

test('images under the URLs of views', async () => {
  const { avatar } = await profile(bob, alice)
  const { thumb, fullsize } = (await post(bob, 'pictures')).embed.images[0]
  for (const url of [avatar, thumb, fullsize, `${avatar}@jpeg`]) {
    const image = await fetch(url)
    const expected = [200, url.endsWith('@jpeg') ? 'image/jpeg' : 'image/webp']
    assert.deepEqual([image.status, image.headers.get('content-type')], expected, url)
    assert.ok((await image.arrayBuffer()).byteLength > 0)
  }
})

test('activity subscriptions notify of new posts', async () => {
  const subscribe = (post, reply) =>
    bsky(greta).notification.putActivitySubscription({ subject: alice.did, activitySubscription: { post, reply } })
  const told = async () =>
    (await notifications(greta, { reasons: ['subscribed-post'] })).map((n) => [n.record.text, n.reasonSubject])
  await subscribe(true, false)
  assert.deepEqual((await profile(greta, alice)).viewer.activitySubscription, { post: true, reply: false })
  const { subscriptions } = (await bsky(greta).notification.listActivitySubscriptions()).data
  assert.deepEqual(people(subscriptions), ['alice'])

  const made = await alice.agent.post({ text: 'for subscribers' })
  const strong = { uri: made.uri, cid: made.cid }
  const reply = { root: strong, parent: strong }
  const answer = await alice.agent.post({ text: 'a reply', reply })
  await aerie.caughtUp()
  assert.deepEqual(await told(), [['for subscribers', undefined]])
  await subscribe(true, true)
  const second = await alice.agent.post({ text: 'a second reply', reply })
  await aerie.caughtUp()
  assert.deepEqual((await told()).map(([text]) => text), ['a second reply', 'for subscribers'])
  await bsky(greta).graph.muteActor({ actor: alice.did })
  assert.deepEqual(await told(), [])
  await bsky(greta).graph.unmuteActor({ actor: alice.did })

  const rules = await alice.put('app.bsky.notification.declaration', 'self', { allowSubscriptions: 'none' })
  const silent = await alice.agent.post({ text: 'for nobody' })
  await aerie.caughtUp()
  assert.equal((await told()).length, 2)
  assert.equal((await profile(greta, alice)).viewer.activitySubscription, undefined)
  for (const { uri } of [silent, second, answer, made]) await alice.agent.deletePost(uri)
  await alice.delete(rules)
  await aerie.caughtUp()
  assert.deepEqual(await told(), [])
  await subscribe(false, false)
  assert.deepEqual((await bsky(greta).notification.listActivitySubscriptions()).data.subscriptions, [])
})

test('notification preferences and devices', async () => {
  const preferences = async () => (await bsky(greta).notification.getPreferences()).data.preferences
  const before = await preferences()
  assert.deepEqual(before.like, { include: 'all', list: true, push: true })
  const like = { include: 'follows', list: true, push: false }
  const put = (await bsky(greta).notification.putPreferencesV2({ like })).data.preferences
  assert.deepEqual([put, await preferences()], [{ ...before, like }, put])
  await bsky(greta).notification.putPreferences({ priority: true })
  assert.equal((await greta.agent.listNotifications()).data.priority, true)
  await bsky(greta).notification.putPreferences({ priority: false })

  const device = { serviceDid: net.appview.did, platform: 'web', token: 'https://push.example/greta', appId: 'app.example' }
  await bsky(greta).notification.registerPush(device)
  await bsky(greta).notification.unregisterPush(device)
  await fails(bsky(greta).notification.registerPush({ ...device, platform: 'windows' }), 400)
})

test('what clients ask for when they start', async () => {
  const { data } = await bsky(alice).unspecced.getConfig()
  assert.deepEqual(data.liveNow, [{ did: alice.did, domains: ['twitch.example'] }])
})

test('every method that the web app was seen to call is answered as the app calls it, but for contacts', async () => {
  const list = await greta.list('to start with', 'referencelist', [dan, alice, bob])
  const pack = await greta.create('app.bsky.graph.starterpack', { name: 'Welcome', list: list.uri, feeds: [{ uri: refs.feed.uri }] })
  await aerie.caughtUp()
  const [uri, actor, category] = [refs.hello.uri, bob.did, 'Science']
  const filters = { sort: 'recent', hashtags: ['rust'], authors: [bob.did], limit: 25 }
  const queries = [
    ['actor.getProfile', { actor }],
    ['actor.getProfile', { actor: 'bob.test' }],
    ['actor.getProfiles', { actors: [alice.did, bob.did] }],
    ['actor.searchActors', { q: 'ali', limit: 25 }],
    ['actor.searchActors', { q: '*', limit: 25 }],
    ['actor.searchActorsTypeahead', { q: 'a', limit: 8 }],
    ['actor.searchActorsTypeahead', { q: 'ali', limit: 12 }],
    ['ageassurance.getConfig', {}],
    ['ageassurance.getState', { countryCode: 'GB', regionCode: 'ENG' }],
    ['bookmark.getBookmarks', { limit: 100 }],
    ['draft.getDrafts', { limit: 100 }],
    ['feed.getActorFeeds', { actor: alice.did, limit: 50 }],
    ['feed.getActorLikes', { actor: alice.did, limit: 30 }],
    ...['posts_with_replies', 'posts_no_replies', 'posts_with_media', 'posts_with_video', 'posts_and_author_threads'].map(
      (filter) => ['feed.getAuthorFeed', { actor, filter, limit: 30, includePins: true }],
    ),
    ['feed.getFeed', { feed: refs.feed.uri, limit: 30 }],
    ['feed.getFeedGenerator', { feed: refs.feed.uri }],
    ['feed.getFeedGenerators', { feeds: [refs.feed.uri] }],
    ['feed.getLikes', { uri, limit: 30 }],
    ['feed.getListFeed', { list: refs.curatelist.uri, limit: 30 }],
    ['feed.getPosts', { uris: [uri, refs.rich.uri] }],
    ['feed.getQuotes', { uri, limit: 30 }],
    ['feed.getRepostedBy', { uri, limit: 30 }],
    ['feed.getTimeline', { limit: 30 }],
    ['feed.searchPostsV2', { query: 'hello', sort: 'top', limit: 25 }],
    ['feed.searchPostsV2', { query: '', ...filters }],
    ['feed.searchPostsV2', { query: '(cats OR dogs) from:me replies:none media:images', sort: 'allTime', limit: 25 }],
    ['graph.getActorStarterPacks', { actor: greta.did, limit: 10 }],
    ['graph.getBlocks', { limit: 30 }],
    ['graph.getFollowers', { actor, limit: 30, sort: 'latest' }],
    ['graph.getFollows', { actor, limit: 30 }],
    ['graph.getKnownFollowers', { actor, limit: 50 }],
    ['graph.getList', { list: refs.curatelist.uri, limit: 30 }],
    ['graph.getListBlocks', { limit: 30 }],
    ['graph.getListMutes', { limit: 30 }],
    ['graph.getLists', { actor: greta.did, limit: 50 }],
    ['graph.getListsWithMembership', { actor, limit: 50 }],
    ['graph.getMutes', { limit: 30 }],
    ['graph.getStarterPack', { starterPack: pack.uri }],
    ['graph.getStarterPacksWithMembership', { actor, limit: 10 }],
    ['graph.getSuggestedFollowsByActor', { actor }],
    ['graph.searchStarterPacksV2', { q: 'welcome', limit: 25 }],
    ['labeler.getServices', { dids: [net.labeler.did], detailed: true }],
    ['notification.getPreferences', {}],
    ['notification.listActivitySubscriptions', { limit: 100 }],
    ['notification.listNotifications', { limit: 40 }],
    ['notification.listNotifications', { limit: 40, reasons: ['mention', 'reply', 'quote'] }],
    ['unspecced.getConfig', {}],
    ['unspecced.getOnboardingSuggestedStarterPacks', { limit: 6 }],
    ['unspecced.getPopularFeedGenerators', { limit: 10 }],
    ['unspecced.getPopularFeedGenerators', { limit: 15, query: 'pick' }],
    ['unspecced.getPostThreadOtherV2', { anchor: uri }],
    ['unspecced.getPostThreadV2', { anchor: uri, branchingFactor: 10, below: 10, sort: 'top' }],
    ['unspecced.getSuggestedFeeds', { limit: 15 }],
    ['unspecced.getSuggestedOnboardingUsers', { limit: 10, category }],
    ['unspecced.getSuggestedStarterPacks', { limit: 10 }],
    ['unspecced.getSuggestedUsersForDiscover', { limit: 10 }],
    ['unspecced.getSuggestedUsersForExplore', { limit: 10, category }],
    ['unspecced.getSuggestedUsersForSeeMore', { limit: 50, category }],
    ['unspecced.getTrends', { limit: 5 }],
  ]
  const { id } = (await bsky(alice).draft.createDraft({ draft: { posts: [{ text: 'one' }] } }, { encoding: 'application/json' })).data
  const subscription = (post) => ({ subject: bob.did, activitySubscription: { post, reply: false } })
  const procedures = [
    ['bookmark.createBookmark', refs.hello],
    ['bookmark.deleteBookmark', { uri }],
    ['draft.updateDraft', { draft: { id, draft: { posts: [{ text: 'two' }] } } }],
    ['draft.deleteDraft', { id }],
    ['graph.muteActor', { actor }],
    ['graph.unmuteActor', { actor }],
    ['graph.muteActorList', { list: refs.modlist.uri }],
    ['graph.unmuteActorList', { list: refs.modlist.uri }],
    ['graph.muteThread', { root: refs.root.uri }],
    ['graph.unmuteThread', { root: refs.root.uri }],
    ['notification.putActivitySubscription', subscription(true)],
    ['notification.putActivitySubscription', subscription(false)],
    ['notification.updateSeen', { seenAt: new Date().toISOString() }],
  ]
  const topics = { 'x-bsky-topics': 'science,art', 'accept-language': 'en,ja' }
  const answer = async (name, params, body) => {
    const sent = body && { encoding: 'application/json' }
    return alice.agent.call(`app.bsky.${name}`, params, body, { ...sent, headers: topics }).then(
      () => undefined,
      (e) => `${name} ${JSON.stringify(params ?? body)}: ${e.status} ${e.error} ${e.message}`,
    )
  }
  const refused = []
  for (const [name, params] of queries) refused.push(await answer(name, params))
  for (const [name, body] of procedures) refused.push(await answer(name, undefined, body))
  assert.deepEqual(refused.filter((why) => why), [])
  await fails(alice.agent.call('app.bsky.contact.getSyncStatus'), 501, 'MethodNotImplemented')

  // Without the PDS: at sign-in, and what it asks for by itself.
  const direct = async (nsid, params) => (await fetch(`${aerie.url}/xrpc/${nsid}?${new URLSearchParams(params)}`)).status
  const rkey = uri.split('/').at(-1)
  const record = { repo: alice.did, collection: 'app.bsky.feed.post', rkey }
  assert.deepEqual(
    [await direct('com.atproto.identity.resolveHandle', { handle: 'bob.test' }), await direct('com.atproto.repo.getRecord', record), await direct('_health')],
    [200, 200, 200],
  )
  await greta.delete(pack)
  await greta.delete(list)
  await aerie.caughtUp()
})

test('drafts, and private state out of the running server and back', async () => {
  const drafts = async () => (await bsky(greta).draft.getDrafts({ limit: 10 })).data.drafts
  const draft = (text) => ({ posts: [{ text }], langs: ['en'] })
  const write = { encoding: 'application/json' }
  const [first] = await Promise.all(
    ['one', 'two'].map(async (text) => (await bsky(greta).draft.createDraft({ draft: draft(text) }, write)).data.id),
  )
  await bsky(greta).draft.updateDraft({ draft: { id: first, draft: draft('one, changed') } }, write)
  const before = await drafts()
  assert.deepEqual(before.map((d) => d.draft), [draft('one, changed'), draft('two')])
  assert.equal(before[0].id, first)

  const file = path.join(aerie.dir, 'private.jsonl')
  const exported = await command(aerie.config, 'private', 'export', '--out', file)
  assert.equal(exported.code, 0, exported.output)
  const lines = fs.readFileSync(file, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line))
  assert.equal(lines[0].kind, 'aerie-private')
  assert.deepEqual(lines.at(-1), { kind: 'end', rows: lines.length - 2 })
  assert.equal(lines.filter((l) => l.kind === 'draft' && l.viewer === greta.did).length, 2)
  assert.ok(lines.some((l) => l.kind === 'member' && l.viewer === alice.did))

  for (const { id } of before) await bsky(greta).draft.deleteDraft({ id }, write)
  assert.deepEqual(await drafts(), [])
  const imported = await command(aerie.config, 'private', 'import', file)
  assert.equal(imported.code, 0, imported.output)
  assert.match(imported.output, new RegExp(`${lines.length - 2} rows read: 2 imported`))
  assert.deepEqual(await drafts(), before)
  fs.appendFileSync(file, 'not JSON\n')
  const refused = await command(aerie.config, 'private', 'import', file)
  assert.equal(refused.code, 1)
  assert.match(refused.output, new RegExp(`private.jsonl:${lines.length + 1}: .*nothing was imported`))
})

test('a restart loses nothing and repeats nothing', async () => {
  const { dir } = aerie
  const exit = await aerie.stop()
  assert.deepEqual(exit, { code: 0, signal: null })
  const like = await kim.like(refs.pictures)
  aerie = await startAerie(net, { dir, change: live })
  await aerie.caughtUp()
  assert.deepEqual(counts(await post(kim, 'pictures')), [0, 0, 1, 0])
  assert.equal((await post(kim, 'pictures')).viewer.like, like.uri)
  assert.deepEqual(counts(await post(alice, 'hello')), [1, 2, 9, 2])
  assert.deepEqual(await timeline(alice), ALICE_TIMELINE)
  assert.equal((await notifications(bob)).length, 10)
})
