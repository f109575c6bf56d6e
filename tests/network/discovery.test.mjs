// What is shown to who did not ask for it, through a real PDS: suggested accounts, feeds, starter packs, and trends.
import './contract.mjs'
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startAerie } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { createCast } from './seed.mjs'

let net, aerie, cast, feed, pack
let alice, bob, carol, dan, eve, fred, greta, hank, ivy, judy, kim, leo

before(async () => {
  net = await startNetwork()
  cast = await createCast(net)
  ;({ alice, bob, carol, dan, eve, fred, greta, hank, ivy, judy, kim, leo } = cast)
  const change = (settings) => (settings.discovery = { follows: [leo.did] })
  aerie = await startAerie(net, { change })
  for (const actor of Object.values(cast)) await actor.put('app.bsky.actor.profile', 'self', { displayName: actor.name })
  // Alice is of those who follow dan and eve; greta and hank know nobody of them.
  for (const [who, whom] of [
    [alice, [bob, carol]],
    [bob, [dan, eve, alice]],
    [carol, [dan, eve, alice]],
    [dan, [bob, eve]],
    [fred, [bob, dan, eve]],
    [ivy, [bob, carol, dan, eve, fred, judy]],
    [kim, [bob, carol, dan, eve, fred, judy]],
    [greta, [hank]],
    [hank, [greta]],
  ]) {
    for (const other of whom) await who.follow(other)
  }
  for (const actor of [dan, eve, fred, judy]) await actor.post(`${actor.name} writes`)
  feed = await dan.put('app.bsky.feed.generator', 'news', { did: net.appview.did, displayName: 'All news' })
  for (const actor of [bob, carol]) await actor.like(feed)
  const list = await dan.list('members', 'referencelist', [dan, eve])
  pack = await dan.create('app.bsky.graph.starterpack', { name: 'Start here', list: list.uri })
  await aerie.caughtUp()
})

after(async () => {
  await aerie?.close()
  await net?.close()
})

const bsky = (actor) => actor.agent.app.bsky
const names = (profiles) => profiles.map((profile) => profile.handle.split('.')[0])
const suggested = async (actor) => names((await bsky(actor).actor.getSuggestions({ limit: 10 })).data.actors)

test('accounts are suggested by whom follows follow, and go with a follow, a block and a mute', async () => {
  const first = await suggested(alice)
  assert.equal(first[0], 'leo', 'whom the operator names')
  assert.deepEqual(first.slice(1, 3).sort(), ['dan', 'eve'])
  for (const never of ['alice', 'bob', 'carol', 'greta', 'hank']) assert.ok(!first.includes(never), `${never} in ${first}`)
  assert.deepEqual(await suggested(alice), first, 'the same store gives the same list')
  const follow = await alice.follow(dan)
  await alice.agent.mute(leo.did)
  await aerie.caughtUp()
  const then = await suggested(alice)
  assert.ok(then.includes('eve') && !then.includes('dan') && !then.includes('leo'), `${then}`)
  await eve.block(alice)
  await aerie.caughtUp()
  assert.ok(!(await suggested(alice)).includes('eve'))
  await alice.delete(follow)
  await alice.agent.unmute(leo.did)
  await aerie.caughtUp()
  assert.ok((await suggested(alice)).includes('dan'))
})

test('of an account, those whom its followers follow', async () => {
  const { data } = await bsky(greta).graph.getSuggestedFollowsByActor({ actor: bob.did })
  const found = names(data.suggestions)
  assert.ok(found.includes('dan') && found.includes('eve') && !found.includes('greta'), `${found}`)
})

test('feeds and starter packs by likes and members', async () => {
  // What is popular is looked through every ten seconds while that costs nothing.
  const suggestedFeeds = async () => (await bsky(alice).feed.getSuggestedFeeds({ limit: 5 })).data.feeds
  const feeds = await aerie.until('a feed', async () => (await suggestedFeeds()).map(({ uri }) => uri).find(Boolean), 40_000)
  assert.equal(feeds, feed.uri)
  const { data: popular } = await bsky(alice).unspecced.getPopularFeedGenerators({ query: 'news' })
  assert.deepEqual(popular.feeds.map(({ uri }) => uri), [feed.uri])
  const { data: none } = await bsky(alice).unspecced.getPopularFeedGenerators({ query: 'weather' })
  assert.deepEqual(none.feeds, [])
  const { data: packs } = await bsky(alice).unspecced.getSuggestedStarterPacks({ limit: 5 })
  assert.deepEqual(packs.starterPacks.map(({ uri }) => uri), [pack.uri])
})

test('a tag of many who have nothing to do with one another becomes a trend; one of a single author does not', async () => {
  const config = (await bsky(alice).unspecced.getConfig()).data
  assert.equal(config.topicsEnabled, true)
  const now = () => new Date().toISOString()
  const tagged = (actor, tag, text) => {
    const facet = {
      index: { byteStart: 0, byteEnd: tag.length + 1 },
      features: [{ $type: 'app.bsky.richtext.facet#tag', tag }],
    }
    return actor.post(`#${tag} ${text}`, { createdAt: now(), langs: ['en'], facets: [facet] })
  }
  for (let n = 0; n < 20; n++) await tagged(leo, 'lonely', `number ${n}`)
  for (const actor of [bob, carol, dan, eve, fred, judy]) await tagged(actor, 'harvest', `seen by ${actor.name}`)
  await aerie.caughtUp()
  const trends = async () => (await bsky(alice).unspecced.getTrends({ limit: 10 })).data.trends
  const found = await aerie.until('a trend', async () => (await trends()).find(({ topic }) => /harvest/i.test(topic)), 60_000)
  assert.match(found.link, /harvest/)
  assert.equal(found.postCount, 6)
  assert.ok(found.actors.length > 0 && found.actors.length <= 5)
  assert.ok(!names(found.actors).includes('eve'), 'who blocks the reader is not shown')
  assert.ok(!JSON.stringify(await trends()).includes('lonely'))
  const { data: topics } = await bsky(alice).unspecced.getTrendingTopics()
  assert.ok(topics.topics.some(({ link }) => /harvest/.test(link)))
  // It is remembered.
  const before = (await trends()).map(({ topic }) => topic)
  await aerie.stop()
  aerie = await startAerie(net, { dir: aerie.dir })
  await aerie.until('the same trends', async () => {
    const after = (await trends()).map(({ topic }) => topic)
    return JSON.stringify(after) === JSON.stringify(before)
  }, 60_000)
})
