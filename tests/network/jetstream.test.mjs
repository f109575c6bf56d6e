// A Jetstream as the only upstream: the same world comes out of it, through kill -9 and repetition too.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { command, startAerie } from './aerie.mjs'
import { startJetstream } from './jetstream.mjs'
import { startNetwork } from './net.mjs'
import { ALICE_TIMELINE, createCast, seed } from './seed.mjs'

let net, jetstream, aerie, cast, refs
let nameOf = {}

const options = {
  change({ network }) {
    network.jetstream = network.upstreams
    network.upstreams = []
  },
}

before(async () => {
  net = await startNetwork()
  jetstream = await startJetstream(net.firehose)
  net.firehose = jetstream
  cast = await createCast(net)
  aerie = await startAerie(net, options)
})

after(async () => {
  await aerie?.close()
  await jetstream?.close()
  await net?.close()
})

const timeline = async () => {
  const { data } = await cast.alice.agent.getTimeline({ limit: 100 })
  return data.feed.map(({ post, reason }) => nameOf[post.uri] + (reason?.by ? ` by ${nameOf[reason.by.did]}` : ''))
}
const counts = async (...names) => {
  const uris = names.map((name) => refs[name].uri)
  const { posts } = (await cast.kim.agent.getPosts({ uris })).data
  return posts.map((p) => [p.replyCount, p.repostCount, p.likeCount, p.quoteCount])
}
const HELLO = [1, 2, 9, 2]

test('a Jetstream brings the same world, and the status says what it is', async () => {
  refs = await seed(net, cast)
  nameOf = Object.fromEntries([
    ...Object.entries(refs).map(([name, { uri }]) => [uri, name]),
    ...Object.values(cast).map(({ did, name }) => [did, name]),
  ])
  await aerie.caughtUp(60_000)
  assert.deepEqual(jetstream.cursors, [0])
  assert.deepEqual(await timeline(), ALICE_TIMELINE)
  assert.deepEqual(await counts('hello'), [HELLO])
  const { data } = await cast.bob.agent.getProfile({ actor: cast.alice.did })
  assert.deepEqual([data.handle, data.followersCount, data.followsCount, data.postsCount], ['alice.test', 7, 6, 7])
  const [{ kind, dropped, seq }] = (await aerie.status()).upstreams
  assert.deepEqual([kind, dropped, seq], ['jetstream', {}, await jetstream.seq()])
})

test('a message that does not fit together is dropped and counted', async () => {
  const { uri, cid } = refs.pictures
  const like = { $type: 'app.bsky.feed.like', subject: { uri, cid }, createdAt: '2026-01-01T00:00:00.000Z' }
  const commit = { rev: '3zzzzzzzzzz22', operation: 'create', collection: like.$type, rkey: '3zzzzzzzzzz22', record: like, cid }
  jetstream.append({ did: cast.kim.did, kind: 'commit', commit })
  jetstream.send('{"did":')
  jetstream.append({ did: 'did:../../etc/passwd', kind: 'commit', commit })
  jetstream.append({ did: cast.kim.did, kind: 'brand-new' })
  await aerie.caughtUp()
  const [{ dropped }] = (await aerie.status()).upstreams
  assert.deepEqual(dropped, { 'jetstream-did': 1, 'jetstream-json': 1, 'record-cid': 1 })
  assert.deepEqual(await counts('pictures'), [[0, 0, 0, 0]])
})

test('after kill -9 it goes on from its cursor; what comes again is not counted again', async () => {
  const early = await cast.kim.like(refs.pictures)
  await aerie.caughtUp()
  const { seq } = (await aerie.status()).upstreams[0]
  await aerie.stop('SIGKILL')
  await cast.kim.delete(early)
  const missed = await cast.kim.like(refs.followed)
  jetstream.repeat(3600_000_000)
  aerie = await startAerie(net, { ...options, dir: aerie.dir })
  await aerie.caughtUp()
  const [, cursor] = jetstream.cursors
  // What a crash takes away is at most what was not yet on the disk.
  assert.ok(cursor > 0 && cursor <= seq, `${cursor} after ${seq}`)
  // An account that was deleted came again with its likes, and is deleted again once its host confirms it.
  assert.deepEqual(await counts('hello', 'pictures', 'followed'), [HELLO, [0, 0, 0, 0], [1, 0, 1, 0]])
  assert.deepEqual(await timeline(), ALICE_TIMELINE)
  await cast.kim.delete(missed)
  await aerie.caughtUp()
  assert.deepEqual(await counts('followed'), [[1, 0, 0, 0]])
  assert.deepEqual(await aerie.stop(), { code: 0, signal: null })
  const check = await command(aerie.config, 'db', 'check')
  assert.equal(check.code, 0, check.output)
})
