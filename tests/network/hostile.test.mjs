// Bad input: a relay that lies, stutters, breaks off, hangs and forgets between honest frames, a DID document that
// points inwards, and requests with broken tokens. Nothing of it may change a count, stop the stream, reach what is
// not public, or grow memory without bound.
import './contract.mjs'
import assert from 'node:assert/strict'
import crypto from 'node:crypto'
import fs from 'node:fs'
import http from 'node:http'
import { after, before, test } from 'node:test'
import { startAerie } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { register, transitive } from './plc.mjs'
import { freePort } from './port.mjs'
import { HOSTILE, startRelay } from './relay.mjs'
import { ALICE_TIMELINE, createCast, seed } from './seed.mjs'

const { Secp256k1Keypair } = await transitive('@atproto/crypto')

let net, relay, aerie, cast, refs
let nameOf = {}

before(async () => {
  net = await startNetwork()
  relay = await startRelay(net.firehose)
  net.firehose = relay
  cast = await createCast(net)
  aerie = await startAerie(net)
})

after(async () => {
  await aerie?.close()
  await relay?.close()
  await net?.close()
})

const timeline = async () => {
  const { data } = await cast.alice.agent.getTimeline({ limit: 100 })
  return data.feed.map(({ post, reason }) => nameOf[post.uri] + (reason?.by ? ` by ${nameOf[reason.by.did]}` : ''))
}
const hello = async () => {
  const { posts } = (await cast.bob.agent.getPosts({ uris: [refs.hello.uri] })).data
  const [p] = posts
  return [p.replyCount, p.repostCount, p.likeCount, p.quoteCount]
}
const resident = (pid) => Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmHWM:\s+(\d+) kB/)[1]) / 1024

test('hostile frames between honest ones change nothing and are counted by cause', async () => {
  relay.hostile(Object.keys(HOSTILE))
  refs = await seed(net, cast)
  nameOf = Object.fromEntries([
    ...Object.entries(refs).map(([name, { uri }]) => [uri, name]),
    ...Object.values(cast).map(({ did, name }) => [did, name]),
  ])
  relay.hostile([])
  await aerie.caughtUp(60_000)
  for (const [name, times] of Object.entries(relay.sent)) assert.ok(times > 3, `${name}: sent ${times} times`)

  assert.deepEqual(await timeline(), ALICE_TIMELINE)
  assert.deepEqual(await hello(), [1, 2, 9, 2])
  const { data } = await cast.bob.agent.getProfile({ actor: cast.alice.did })
  assert.deepEqual([data.followersCount, data.followsCount, data.postsCount], [7, 6, 7])

  const [{ dropped }] = (await aerie.status()).upstreams
  const causes = Object.values(dropped)
  assert.ok(causes.length >= 6, `causes told apart: ${JSON.stringify(dropped)}`)
  assert.ok(resident(aerie.pid) < 600, `peak of ${resident(aerie.pid)} MB`)
})

test('a relay that breaks off, in the middle of a frame too, is asked again from where it was', async () => {
  for (const half of [false, true]) {
    relay.cut({ half })
    const like = await cast.kim.like(refs.pictures)
    await aerie.caughtUp()
    const [pictures] = (await cast.kim.agent.getPosts({ uris: [refs.pictures.uri] })).data.posts
    assert.deepEqual([pictures.likeCount, pictures.viewer.like], [1, like.uri])
    await cast.kim.delete(like)
    await aerie.caughtUp()
    assert.deepEqual(await hello(), [1, 2, 9, 2])
  }
  assert.equal(relay.connections(), 1)
})

test('a relay that hangs behind an open connection is left and asked again', async () => {
  relay.stall()
  const like = await cast.kim.like(refs.pictures)
  // Twenty seconds without a sign of life, then a new connection.
  await aerie.caughtUp(60_000)
  assert.deepEqual(await likes(), [1, 0])
  assert.match((await aerie.status()).upstreams[0].last_error, /sign of life/)
  await cast.kim.delete(like)
  await aerie.caughtUp()
})

/** Likes of two posts that nobody else likes. */
const likes = async () => {
  const uris = [refs.pictures.uri, refs.followed.uri]
  return (await cast.kim.agent.getPosts({ uris })).data.posts.map((post) => post.likeCount)
}

for (const [notice, lose] of [
  ['outdated-cursor', () => relay.trim()],
  ['future-cursor', () => relay.forget()],
]) {
  test(`${notice}: what the relay cannot give again is fetched when its account next writes`, async () => {
    const gaps = async () => (await aerie.status()).upstreams[0].gaps?.count ?? 0
    const before = await gaps()
    relay.away(true)
    if (notice === 'future-cursor') lose()
    const missed = await cast.kim.like(refs.pictures)
    await relay.seq()
    if (notice === 'outdated-cursor') lose()
    relay.away(false)
    const told = async () => {
      const [{ dropped, connected }] = (await aerie.status()).upstreams
      return connected && dropped[notice] === 1
    }
    await aerie.until(`told ${notice}`, told, 30_000)
    await aerie.until('the gap is noted', async () => (await gaps()) === before + 1, 10_000)
    assert.deepEqual(await likes(), [0, 0])

    const seen = await cast.kim.like(refs.followed)
    await aerie.until('both likes counted', async () => (await likes()).join() === '1,1', 30_000)
    await cast.kim.delete(missed)
    await cast.kim.delete(seen)
    await aerie.until('both likes gone', async () => (await likes()).join() === '0,0', 30_000)
    await aerie.caughtUp()
    assert.deepEqual(await hello(), [1, 2, 9, 2])
    assert.deepEqual(await timeline(), ALICE_TIMELINE)
  })
}

test('a DID document that points to an internal address is not followed, unless that is allowed', async (t) => {
  let asked = 0
  const inner = http.createServer((_req, res) => {
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ feed: [{ post: refs.hello.uri }] }))
  })
  inner.on('connection', () => asked++)
  await new Promise((resolve) => inner.listen(0, '127.0.0.1', resolve))
  t.after(() => inner.close())
  const { port } = inner.address()
  const feeds = []
  for (const endpoint of [`http://localhost:${port}`, `https://localhost:${port}`, `https://127.0.0.1:${port}`]) {
    const did = await register(net.plc.url, await Secp256k1Keypair.create(), {
      services: { bsky_fg: { type: 'BskyFeedGenerator', endpoint } },
    })
    feeds.push(await cast.leo.create('app.bsky.feed.generator', { did, displayName: 'inwards' }))
  }
  const appviewPort = await freePort()
  const appview = { ...net.appview, port: appviewPort, url: `http://localhost:${appviewPort}` }
  const careful = await startAerie(
    { ...net, appview },
    { change: (settings) => (settings.network.allow_private_addresses = false) },
  )
  t.after(() => careful.close())
  await careful.caughtUp(60_000)
  await aerie.caughtUp()

  const ask = async ({ url }, feed) => {
    const res = await fetch(`${url}/xrpc/app.bsky.feed.getFeed?feed=${feed.uri}`)
    return [res.status, (await res.json()).message]
  }
  for (const feed of feeds) assert.deepEqual(await ask(careful, feed), [502, 'feed unavailable'])
  assert.equal(asked, 0)
  assert.deepEqual(await ask(aerie, feeds[0]), [200, undefined])
  await ask(aerie, feeds[1])
  assert.ok(asked > 1, 'the encrypted one is tried where that is allowed')
})

const base64url = (data) => Buffer.from(data).toString('base64url')

/** A service token of alice for aerie, changed where asked. */
async function token({ header, claims, breakSignature = false, key }) {
  key ??= await net.pds.signingKey(cast.alice.did)
  const now = Math.floor(Date.now() / 1000)
  const full = {
    iat: now,
    exp: now + 60,
    iss: cast.alice.did,
    aud: net.appview.did,
    lxm: 'app.bsky.feed.getTimeline',
    jti: crypto.randomBytes(16).toString('hex'),
    ...claims,
  }
  const signed = `${base64url(JSON.stringify({ typ: 'JWT', alg: 'ES256K', ...header }))}.${base64url(JSON.stringify(full))}`
  const signature = Buffer.from(await key.sign(Buffer.from(signed)))
  if (breakSignature) signature[7] ^= 1
  return `${signed}.${base64url(signature)}`
}

const askTimeline = async (authorization) => {
  const res = await fetch(`${aerie.url}/xrpc/app.bsky.feed.getTimeline`, { headers: { authorization } })
  return [res.status, (await res.json()).error]
}

test('tokens: only a right one is taken, each wrong one has its error', async () => {
  assert.deepEqual(await askTimeline(`Bearer ${await token({})}`), [200, undefined])
  const past = Math.floor(Date.now() / 1000) - 1
  const cases = [
    [{ breakSignature: true }, 'BadJwtSignature'],
    [{ key: await net.pds.signingKey(cast.bob.did) }, 'BadJwtSignature'],
    [{ claims: { aud: 'did:web:elsewhere.example' } }, 'BadJwtAudience'],
    [{ claims: { lxm: 'app.bsky.actor.getProfile' } }, 'BadJwtLexiconMethod'],
    [{ claims: { lxm: undefined } }, 'BadJwtLexiconMethod'],
    [{ claims: { exp: past } }, 'JwtExpired'],
    [{ header: { typ: 'at+jwt' } }, 'InvalidToken'],
    [{ header: { typ: 'refresh+jwt' } }, 'BadJwtType'],
    [{ header: { typ: 'dpop+jwt' } }, 'BadJwtType'],
    [{ claims: { iss: 7 } }, 'BadJwt'],
  ]
  for (const [change, error] of cases) {
    assert.deepEqual(await askTimeline(`Bearer ${await token(change)}`), [401, error], JSON.stringify(change))
  }
  const refused = [
    { header: { alg: 'none' } },
    { header: { alg: 'ES256' } },
    { claims: { iss: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' } },
    { claims: { iss: 'not a did' } },
  ]
  for (const change of refused) {
    assert.equal((await askTimeline(`Bearer ${await token(change)}`))[0], 401, JSON.stringify(change))
  }
  for (const text of ['', 'a', 'a.b.c', '..', 'a'.repeat(7000), `${await token({})}.x`]) {
    assert.equal((await askTimeline(`Bearer ${text}`))[0], 401, text.slice(0, 20))
  }
})
