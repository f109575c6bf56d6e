// Accounts that move: to another PDS, to another signing key, out of sight by their host's word and back. What the old PDS
// and the old key go on saying does not count.
import './contract.mjs'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { after, before, test } from 'node:test'
import { command, startAerie } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { transitive } from './plc.mjs'

const plc = await transitive('@did-plc/lib')
const { Secp256k1Keypair } = await transitive('@atproto/crypto')

let net, next, aerie, client
const agents = {}

before(async () => {
  net = await startNetwork()
  next = await net.anotherPds('.next.test')
  client = new plc.Client(net.plc.url)
  for (const name of ['alice', 'bob', 'carol']) {
    const agent = net.anonymous()
    await agent.createAccount({ handle: `${name}.test`, email: `${name}@test.com`, password: `${name}-pass` })
    await agent.post({ text: `${name} was here` })
    agents[name] = agent
  }
  aerie = await startAerie(net, {
    change: ({ network }) => {
      network.upstreams = [net.firehose.url, next.firehose.url]
      network.handle_overrides.push({ suffix: '.next.test', url: next.url })
    },
  })
  await caughtUp()
})

after(async () => {
  await aerie?.close()
  await net?.close()
})

/** Waits until every read shows all that both PDSes have sent so far. */
async function caughtUp() {
  const want = await Promise.all([net.firehose, next.firehose].map((firehose) => firehose.seq()))
  await aerie.until(
    `caught up to ${want}`,
    async () => {
      const s = await aerie.status()
      return s.upstreams.every((u, n) => (u.seq ?? 0) >= want[n]) && !s.pending
    },
    30_000,
  )
}

const get = async (path) => (await fetch(`${aerie.url}/xrpc/${path}`)).json()
const profile = (did) => get(`app.bsky.actor.getProfile?actor=${did}`)
const says = async (did) => ((await profile(did)).did === did ? 'here' : (await profile(did)).error)
const texts = async (did) => (await get(`app.bsky.feed.getAuthorFeed?actor=${did}`)).feed.map(({ post }) => post.record.text)
const repo = async (action, did) => (await command(aerie.config, 'repo', action, did)).output
const dropped = async () => (await aerie.status()).upstreams.reduce((n, u) => n + (u.dropped['bad-signature'] ?? 0), 0)
const becomes = (did, what) => aerie.until(`${did}: ${what}`, async () => (await says(did)) === what, 20_000)

test('an account that moves to another PDS stays, whatever the old one says afterwards', async () => {
  const { alice } = agents
  const { did } = alice
  const lxm = 'com.atproto.server.createAccount'
  const { data: auth } = await alice.com.atproto.server.getServiceAuth({ aud: next.did, lxm })
  const moved = net.anonymous(next.url)
  const account = { did, handle: 'alice.next.test', email: 'alice@test.com', password: 'alice-pass' }
  await moved.com.atproto.server.createAccount(account, {
    headers: { authorization: `Bearer ${auth.token}` },
    encoding: 'application/json',
  })
  await moved.login({ identifier: did, password: 'alice-pass' })
  const { data: car } = await alice.com.atproto.sync.getRepo({ did })
  await moved.com.atproto.repo.importRepo(car, { encoding: 'application/vnd.ipld.car' })
  const { data: wanted } = await moved.com.atproto.identity.getRecommendedDidCredentials()
  const operation = await plc.createUpdateOp(await client.getLastOp(did), net.pds.rotationKey, (op) => ({ ...op, ...wanted }))
  await client.sendOperation(did, operation)
  await moved.com.atproto.server.activateAccount()
  await alice.com.atproto.server.deactivateAccount({})
  await caughtUp()
  await becomes(did, 'here')
  assert.equal((await profile(did)).handle, 'alice.next.test')
  assert.deepEqual(await texts(did), ['alice was here'])

  // The stream of the new PDS is hers, and it is the one that is asked.
  await moved.post({ text: 'from the new place' })
  await aerie.until('the new post', async () => (await texts(did)).length === 2, 20_000)
  await caughtUp()
  next.asked.length = 0
  await repo('resync', did)
  await aerie.until('fetched anew', async () => (await repo('status', did)).includes('nothing is to be done'), 20_000)
  assert.ok(next.asked.some((url) => url.includes(`getRepo?did=${did}`)), next.asked.join('\n'))
  assert.deepEqual(await texts(did), ['from the new place', 'alice was here'])

  // The old PDS deletes what it had of her.
  await net.deleteAccount(did)
  await caughtUp()
  await becomes(did, 'here')
  assert.deepEqual(await texts(did), ['from the new place', 'alice was here'])
})

test('after a change of the signing key the new one counts and the old one does not', async () => {
  const { bob } = agents
  const { did } = bob
  const file = await net.pds.keyFile(did)
  const old = fs.readFileSync(file)
  const key = await Secp256k1Keypair.create({ exportable: true })
  const use = (bytes) => fs.writeFileSync(file, bytes)
  const fresh = await key.export()
  use(fresh)
  const last = await client.getLastOp(did)
  await client.sendOperation(did, await plc.updateAtprotoKeyOp(last, net.pds.rotationKey, key.did()))
  const before = await dropped()
  await net.pds.announceIdentity(did)
  await bob.post({ text: 'by the new key' })
  await caughtUp()
  assert.deepEqual(await texts(did), ['by the new key', 'bob was here'])
  assert.equal(await dropped(), before)

  use(old)
  await bob.post({ text: 'by the old key' })
  await caughtUp()
  assert.deepEqual(await texts(did), ['by the new key', 'bob was here'])
  assert.equal(await dropped(), before + 1)
  // Nor does it as a whole repo, and that is said.
  await repo('resync', did)
  const sentence = await aerie.until(
    'the fetch failed',
    async () => (await repo('status', did)).match(/.*not signed with the account's key.*the next is at.*/)?.[0],
    20_000,
  )
  assert.ok(sentence.startsWith(did))
  assert.deepEqual(await texts(did), ['by the new key', 'bob was here'])

  // What the new key signs on top is her word for all of the repo.
  use(fresh)
  await bob.post({ text: 'by the new key again' })
  await aerie.until('all of it', async () => (await texts(did)).length === 4, 30_000)
})

test('a commit by a new key that no #identity announced is verified by the document', async () => {
  const { carol } = agents
  const { did } = carol
  const key = await Secp256k1Keypair.create({ exportable: true })
  fs.writeFileSync(await net.pds.keyFile(did), await key.export())
  await client.sendOperation(did, await plc.updateAtprotoKeyOp(await client.getLastOp(did), net.pds.rotationKey, key.did()))
  const before = await dropped()
  await carol.post({ text: 'unannounced' })
  await caughtUp()
  assert.deepEqual([await texts(did), await dropped()], [['unannounced', 'carol was here'], before])
})

test('what a host says of an account hides it and brings it back as it was', async () => {
  const { did } = agents.carol
  for (const [status, error, sentence] of [
    ['suspended', 'AccountTakedown', /its host suspended the account/],
    ['takendown', 'AccountTakedown', /its host took the account down/],
  ]) {
    await net.pds.announceAccount(did, status)
    await becomes(did, error)
    assert.match(await repo('status', did), sentence)
    const uris = (await agents.carol.com.atproto.repo.listRecords({ repo: did, collection: 'app.bsky.feed.post' })).data.records
    const query = uris.map(({ uri }) => `uris=${uri}`).join('&')
    assert.deepEqual((await get(`app.bsky.feed.getPosts?${query}`)).posts, [])
    // A repeat, and commits meanwhile, which a host should not send, change nothing about it.
    await net.pds.announceAccount(did, status)
    await agents.carol.post({ text: `while ${status}` })
    await caughtUp()
    assert.equal(await says(did), error)
    await net.pds.announceAccount(did, 'active')
    await becomes(did, 'here')
  }
  await aerie.until('both are shown', async () => (await texts(did)).length === 4, 20_000)
})
