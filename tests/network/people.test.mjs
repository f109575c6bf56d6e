// Accounts, starter packs and feeds by what people type, through a real PDS.
import './contract.mjs'
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startAerie } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { createCast } from './seed.mjs'

const NAMES = {
  alice: ['Alice', 'gardens and trains'],
  bob: ['Alice Cooper', 'not the one'],
  carol: ['Caroline Müller', 'bread'],
  dan: ['日本 太郎', '自転車'],
  eve: ['🦀 Ferris', ''],
  fred: ['Friedrich', 'a friend of alice'],
  greta: ['Greta Sleeper', ''],
  hank: ['Hank Blocker', ''],
  ivy: ['Ivy Quiet', ''],
  judy: ['Caroline Other', ''],
  kim: ['Kim', ''],
}
let net, aerie, cast, feed, pack

before(async () => {
  net = await startNetwork()
  cast = await createCast(net)
  aerie = await startAerie(net)
  for (const [who, [displayName, description]] of Object.entries(NAMES)) {
    await cast[who].put('app.bsky.actor.profile', 'self', { displayName, description })
  }
  const { alice, bob, carol, dan, eve, fred, judy } = cast
  for (const fan of [alice, dan, eve, fred]) await fan.follow(judy)
  await alice.follow(carol)
  feed = await dan.put('app.bsky.feed.generator', 'news', { did: net.appview.did, displayName: 'All news', description: 'of the day' })
  await dan.put('app.bsky.feed.generator', 'weather', { did: net.appview.did, displayName: 'Weather', description: 'no news' })
  const list = await dan.list('members', 'referencelist', [bob, eve])
  pack = await dan.create('app.bsky.graph.starterpack', { name: 'People who garden', list: list.uri })
  await aerie.caughtUp()
  await aerie.until('the index is ready', async () => (await typeahead(alice, 'ferris')).length > 0, 60_000)
})

after(async () => {
  await aerie?.close()
  await net?.close()
})

const bsky = (actor) => (actor?.agent ?? net.anonymous(aerie.url)).app.bsky
const names = (profiles) => profiles.map((profile) => profile.handle.split('.')[0])
const search = async (actor, q, more) => names((await bsky(actor).actor.searchActors({ q, ...more })).data.actors)
const typeahead = async (actor, q) => names((await bsky(actor).actor.searchActorsTypeahead({ q })).data.actors)
/** What is written is found within seconds. */
const found = (what, condition) => aerie.until(what, condition, 30_000)

test('an exact handle comes first, descriptions last', async () => {
  for (const q of ['alice.test', '@alice.test', 'Alice.TEST', '\u202aalice.test\u202c', 'alice']) {
    assert.equal((await search(cast.carol, q))[0], 'alice', q)
    assert.equal((await typeahead(cast.carol, q))[0], 'alice', q)
  }
  assert.deepEqual(await search(cast.carol, 'alice'), ['alice', 'bob', 'fred'])
  assert.deepEqual(await typeahead(cast.carol, 'alice'), ['alice', 'bob'])
  const { data } = await bsky(cast.carol).actor.searchActors({ term: 'alice.test', limit: 1 })
  assert.equal(data.actors[0].description, NAMES.alice[1])
  assert.deepEqual(await search(undefined, cast.dan.did), ['dan'])
})

test('beginnings, slips, marks, emoji and scripts without spaces', async () => {
  for (const [q, who] of [
    ['fri', 'fred'],
    ['freidrich', 'fred'],
    ['fredrich', 'fred'],
    ['muller', 'carol'],
    ['MÜLLER carol', 'carol'],
    ['太郎', 'dan'],
    ['日', 'dan'],
    ['🦀', 'eve'],
  ]) {
    assert.deepEqual(await typeahead(undefined, q), [who], q)
  }
  for (const q of ['xriedrich', '太本', '%', '!!!', 'x'.repeat(2_000), 'w '.repeat(64)]) {
    assert.deepEqual(await typeahead(undefined, q), [], q)
  }
})

test('whom one follows comes first, else who is followed most', async () => {
  assert.deepEqual(await typeahead(undefined, 'caroline'), ['judy', 'carol'])
  const own = (await bsky(cast.alice).actor.searchActorsTypeahead({ q: '*', limit: 2 })).data.actors
  assert.deepEqual(names(own).sort(), ['carol', 'judy'])
  const any = await search(cast.kim, '', { limit: 2 })
  assert.deepEqual(any, ['judy', 'carol'])
})

test('pages go on by position, and a cursor of another search is refused', async () => {
  const all = await search(undefined, '*', { limit: 100 })
  const seen = []
  let cursor
  do {
    const { data } = await bsky().actor.searchActors({ q: '*', limit: 5, cursor })
    seen.push(...names(data.actors))
    cursor = data.cursor
    if (cursor) await assert.rejects(bsky().actor.searchActors({ q: 'alice', cursor }), { status: 400, message: 'Malformed cursor' })
  } while (cursor)
  assert.deepEqual(seen, all)
  await assert.rejects(bsky().actor.searchActors({ q: '*', cursor: '25' }), { status: 400 })
})

test('who is blocked is found while the exact handle is typed only, who is muted stays, marked', async () => {
  const { alice, hank, ivy } = cast
  await hank.block(alice)
  await alice.agent.mute(ivy.did)
  await found('the block', async () => (await search(alice, 'blocker')).length === 0)
  assert.deepEqual(await typeahead(alice, 'blocker'), [])
  assert.deepEqual(await typeahead(alice, 'hank.test'), ['hank'])
  assert.deepEqual(await search(alice, 'hank.test'), [])
  assert.deepEqual(await search(cast.bob, 'blocker'), ['hank'])
  const { data } = await bsky(alice).actor.searchActors({ q: 'quiet' })
  assert.equal(data.actors[0].viewer.muted, true)
})

test('who is deactivated is not found, who comes back is', async () => {
  const { greta } = cast
  assert.deepEqual(await search(undefined, 'sleeper'), ['greta'])
  await greta.agent.com.atproto.server.deactivateAccount({})
  await found('gone', async () => (await search(undefined, 'sleeper')).length === 0)
  assert.deepEqual(await search(undefined, 'greta.test'), [])
  await greta.agent.com.atproto.server.activateAccount()
  await found('back', async () => (await search(undefined, 'sleeper'))[0] === 'greta')
})

test('who has a new handle and a new name is found by those', async () => {
  const { kim } = cast
  await kim.agent.com.atproto.identity.updateHandle({ handle: 'zoe.test' })
  await kim.put('app.bsky.actor.profile', 'self', { displayName: 'Renamed' })
  await found('the handle', async () => (await typeahead(undefined, 'zoe.test'))[0] === 'zoe')
  await found('the name', async () => (await typeahead(undefined, 'renamed'))[0] === 'zoe')
  await found('and not by the old one', async () => (await typeahead(undefined, 'kim.test')).length === 0)
})

test('starter packs and feeds by all words, in any order', async () => {
  const packs = async (q) => (await bsky(cast.alice).graph.searchStarterPacks({ q })).data.starterPacks.map(({ uri }) => uri)
  for (const q of ['garden people', 'people garden', 'gard', '太郎 people', 'dan.test garden', '*']) {
    assert.deepEqual(await packs(q), [pack.uri], q)
  }
  assert.deepEqual(await packs('garden trains'), [])
  const { data } = await cast.alice.agent.call('app.bsky.graph.searchStarterPacksV2', { q: 'garden' })
  assert.equal(data.hitsTotal, 1)
  assert.equal(data.starterPacks[0].listItemsSample.length, 2)
  const feeds = async (query) => (await bsky(cast.alice).unspecced.getPopularFeedGenerators({ query })).data.feeds.map(({ displayName }) => displayName)
  assert.deepEqual(await feeds('news'), ['All news', 'Weather'])
  assert.deepEqual(await feeds('weath'), ['Weather'])
  assert.deepEqual(await feeds('sports'), [])
  await cast.dan.block(cast.alice)
  await found('the block', async () => (await packs('garden')).length === 0)
  assert.deepEqual(await feeds('news'), [])
  await cast.dan.delete(feed)
})
