// Search for posts through a real PDS: what is typed finds what was written, and nothing that is not to be seen.
import './contract.mjs'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { command, startAerie } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { createCast } from './seed.mjs'

let net, aerie, cast
let alice, bob, carol, dan

const change = (settings) => {
  settings.search = { commit_interval: '50ms' }
}

before(async () => {
  net = await startNetwork()
  cast = await createCast(net)
  ;({ alice, bob, carol, dan } = cast)
  aerie = await startAerie(net, { change })
  await alice.post('The quick brown fox', { langs: ['en'] })
  await bob.post('a brown bear, quick as it is', { langs: ['en'] })
  await bob.post('東京都に行く', { langs: ['ja'] })
  await carol.post('京都に行く', { langs: ['ja'] })
  await carol.post('see https://blog.example.com/a for the fox', {
    facets: [
      {
        index: { byteStart: 4, byteEnd: 30 },
        features: [{ $type: 'app.bsky.richtext.facet#link', uri: 'https://blog.example.com/a' }],
      },
    ],
  })
  await searchable()
})

after(async () => {
  await aerie?.close()
  await net?.close()
})

/** Waits until all that the firehose has sent can be searched. */
async function searchable() {
  await aerie.caughtUp()
  const seq = await net.firehose.seq()
  await aerie.until(`${seq} can be searched`, async () => ((await aerie.status()).search_seq ?? -1) >= seq, 30_000)
}

const texts = ({ data }) => data.posts.map(({ record }) => record.text)
const v1 = (actor, q, rest = {}) => actor.agent.app.bsky.feed.searchPosts({ q, sort: 'latest', ...rest })
const v2 = (actor, query, rest = {}) => actor.agent.app.bsky.feed.searchPostsV2({ query, ...rest })
const starts = (found) => texts(found).map((text) => text.slice(0, 7))

test('words, phrases, scripts without spaces, authors, links', async () => {
  for (const [q, found] of [
    ['quick brown', ['a brown', 'The qui']],
    ['"quick brown"', ['The qui']],
    ['“QUICK brown”', ['The qui']],
    ['fox -see', ['The qui']],
    ['bear OR fox', ['see htt', 'a brown', 'The qui']],
    ['京都', ['京都に行く', '東京都に行く']],
    ['東京', ['東京都に行く']],
    ['from:me', ['The qui']],
    [`from:bob.test quick`, ['a brown']],
    ['from:nobody.test quick', []],
    ['domain:example.com', ['see htt']],
    ['lang:ja', ['京都に行く', '東京都に行く']],
    ['replies:only fox', []],
  ]) {
    const answer = await v1(alice, q)
    assert.deepEqual(starts(answer), found, q)
    assert.equal(answer.data.hitsTotal, found.length, q)
  }
  const best = await v2(alice, '京都')
  assert.deepEqual(texts(best)[0], '京都に行く', 'where words begin counts among the best')
  assert.deepEqual(best.data.detectedQueryLanguages, ['zh', 'ja'])
  assert.deepEqual(starts(await v2(alice, '*', { authors: [carol.did], sort: 'recent' })), ['see htt', '京都に行く'])
  await assert.rejects(v2(alice, ''), { status: 400, error: 'BadQueryString' })
})

test('pages follow one another, and a cursor belongs to its search', async () => {
  const first = await v1(alice, 'quick', { limit: 1 })
  await dan.post('quick, something new')
  await searchable()
  const second = await v1(alice, 'quick', { limit: 1, cursor: first.data.cursor })
  assert.deepEqual([...starts(first), ...starts(second)], ['a brown', 'The qui'])
  assert.equal(second.data.cursor, undefined)
  await assert.rejects(v1(alice, 'fox', { cursor: first.data.cursor }), { status: 400, error: 'InvalidRequest' })
})

test('what is deleted, of who blocks, or of an account that is gone is not found', async () => {
  const gone = await dan.post('a secret word: xylophone')
  await bob.post('xylophone too')
  await searchable()
  assert.equal(texts(await v1(alice, 'xylophone')).length, 2)
  await dan.delete(gone)
  await searchable()
  assert.deepEqual(texts(await v1(alice, 'xylophone')), ['xylophone too'])
  const block = await bob.block(alice)
  await searchable()
  assert.deepEqual(texts(await v1(alice, 'xylophone')), [])
  assert.deepEqual(texts(await v1(carol, 'xylophone')), ['xylophone too'])
  await bob.delete(block)
  await bob.agent.com.atproto.server.deactivateAccount({})
  await searchable()
  assert.deepEqual(texts(await v1(carol, 'xylophone')), [])
  await bob.agent.com.atproto.server.activateAccount()
  await searchable()
  assert.deepEqual(texts(await v1(carol, 'xylophone')), ['xylophone too'])
})

test('the operator sees what a user gets, and why', async () => {
  const asked = await command(aerie.config, 'search', 'query', 'quick -bear', '--as', 'alice.test', '--explain')
  assert.equal(asked.code, 0, asked.output)
  for (const part of ['looked for: quick -bear', '@alice.test', 'The quick brown fox', 'score ']) {
    assert.ok(asked.output.includes(part), `${part} in ${asked.output}`)
  }
  assert.ok(!asked.output.includes('a brown bear'))
  const none = await command(aerie.config, 'search', 'query', 'a '.repeat(100))
  assert.notEqual(none.code, 0)
  assert.match(none.output, /too many terms/)
})

test('the index outlives a crash, is made anew while it serves, and by itself when it is damaged', async () => {
  const all = async () => [...starts(await v1(alice, 'quick')), ...starts(await v1(alice, '京都'))]
  const before = await all()
  await carol.post('quick, before the end')
  await aerie.caughtUp()
  await aerie.stop('SIGKILL')
  aerie = await startAerie(net, { dir: aerie.dir, change })
  await searchable()
  const then = await all()
  assert.deepEqual(then, ['quick, ', ...before])
  const rebuilt = await command(aerie.config, 'search', 'rebuild')
  assert.equal(rebuilt.code, 0, rebuilt.output)
  assert.match(rebuilt.output, /search: ready/)
  assert.deepEqual(await all(), then)

  await aerie.stop()
  const index = path.join(aerie.store, 'search')
  let damaged = 0
  for (const file of fs.readdirSync(index, { recursive: true })) {
    if (!file.endsWith('.idx')) continue
    fs.writeFileSync(path.join(index, file), Buffer.from('not what it was'))
    damaged++
  }
  assert.ok(damaged > 0)
  aerie = await startAerie(net, { dir: aerie.dir, change })
  await searchable()
  assert.deepEqual(await all(), then)
})

test('without an index search alone says when to come again', async () => {
  // One that does not come: there is no room on the disk for it.
  await aerie.stop()
  fs.rmSync(path.join(aerie.store, 'search'), { recursive: true })
  const full = (settings) => {
    change(settings)
    settings.store.reserve = '900TB'
  }
  aerie = await startAerie(net, { dir: aerie.dir, change: full })
  const ask = (method, query) => fetch(`${aerie.url}/xrpc/app.bsky.${method}?${query}`)
  await aerie.until('it is held', async () => (await aerie.status()).search.held, 30_000)
  const found = await ask('feed.searchPosts', 'q=quick')
  assert.equal(found.status, 503)
  assert.ok(Number(found.headers.get('retry-after')) > 0)
  assert.equal((await ask('actor.getProfile', `actor=${alice.did}`)).status, 200)
  await aerie.stop()
  aerie = await startAerie(net, { dir: aerie.dir, change })
  await searchable()
  assert.ok(texts(await v1(alice, 'quick')).length > 0)
})
