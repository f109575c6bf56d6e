// Identities in bulk against the real directory: its export followed and imported, kill -9 included; accounts whose DID
// is given up and restored.
import './contract.mjs'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { BINARY, command, startAerie, temporaryDir } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { transitive } from './plc.mjs'
import { startRelay } from './relay.mjs'

const plc = await transitive('@did-plc/lib')
const { Secp256k1Keypair } = await transitive('@atproto/crypto')

const STRANGERS = 2500
let net
let door
const agents = {}
const dirs = []

/** Before the directory: counts the documents it is asked for, and the pages of its export. */
async function startDoor(target) {
  const asked = { documents: [], pages: 0 }
  const server = http.createServer((req, res) => {
    if (req.url.startsWith('/export')) asked.pages++
    else if (req.method === 'GET') asked.documents.push(req.url.slice(1))
    const to = http.request(new URL(req.url, target), { method: req.method, headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers)
      answer.pipe(res)
    })
    to.on('error', () => res.destroy())
    req.pipe(to)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${server.address().port}`, asked, close: () => server.close() }
}

/** The DID of a number: base 32 has no 0, 1, 8 and 9. */
const strange = (n) =>
  `did:plc:${String(n).padStart(24, 'a').replace(/[0189]/g, (digit) => ({ 0: 'w', 1: 'x', 8: 'y', 9: 'z' })[digit])}`

/** Operations of DIDs that nobody else has heard of, many of them in the same millisecond. */
function strangers(count, from = 0) {
  const time = Date.now() - 3_600_000
  return Array.from({ length: count }, (_, n) => ({
    did: strange(from + n),
    operation: {
      type: 'plc_operation',
      verificationMethods: { atproto: 'did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc' },
      rotationKeys: [],
      alsoKnownAs: [`at://user${from + n}.bsky.social`],
      services: { atproto_pds: { type: 'AtprotoPersonalDataServer', endpoint: `https://pds${n % 7}.example` } },
      prev: null,
      sig: 'x',
    },
    cid: `bafyreistranger${from + n}`,
    nullified: false,
    createdAt: new Date(time + Math.floor(n / 40)),
  }))
}

const settings = (change = () => {}) => (s) => {
  s.network.plc_url = door.url
  change(s)
}

async function start(change, dir = temporaryDir()) {
  if (!dirs.includes(dir)) dirs.push(dir)
  return startAerie(net, { dir, change: settings(change) })
}

before(async () => {
  net = await startNetwork()
  door = await startDoor(net.plc.url)
  for (const name of ['alice', 'bob', 'carol']) {
    const agent = net.anonymous()
    await agent.createAccount({ handle: `${name}.test`, email: `${name}@test.com`, password: `${name}-pass` })
    await agent.post({ text: `${name} was here` })
    agents[name] = agent
  }
  for (const op of strangers(STRANGERS)) net.plc.operations[op.did] = [op]
})

after(async () => {
  door?.close()
  await net?.close()
  for (const dir of dirs) fs.rmSync(dir, { recursive: true, force: true })
})

const total = () => Object.keys(net.plc.operations).length

test('the export is followed as it grows, and the status says how far', async () => {
  const aerie = await start((s) => (s.network.plc_export = true))
  try {
    await aerie.until('the export is read', async () => {
      const { plc } = await aerie.status()
      return plc.following?.caught_up && plc.dids >= total()
    }, 30_000)
    const { plc: status } = await aerie.status()
    assert.equal(status.dids, total())
    const dave = net.anonymous()
    await dave.createAccount({ handle: 'dave.test', email: 'dave@test.com', password: 'dave-pass' })
    await aerie.until('the new DID is known', async () => (await aerie.status()).plc.dids >= total(), 20_000)
    const shown = await command(aerie.config, 'identity', 'status')
    assert.match(shown.output, new RegExp(`${total()} DIDs, 0 of them given up, 8 hosts; read up to .* old`))
  } finally {
    await aerie.stop()
  }
})

test('strangers to all but the export are verified live and fetched without a question', async () => {
  // The stream begins at its end: an #identity in it would be a reason to ask.
  const relay = await startRelay(net.firehose, { after: await net.firehose.seq() })
  const aerie = await start((s) => {
    s.network.plc_export = true
    s.network.upstreams = [relay.url]
  })
  try {
    await aerie.until('the export is read', async () => {
      const { plc } = await aerie.status()
      return plc.following?.caught_up && plc.dids >= total()
    }, 30_000)
    await sleep(6000)
    const before = door.asked.documents.length
    const { uri } = await agents.alice.post({ text: 'seen live' })
    await aerie.until('the commit is verified', async () => {
      const { posts } = await (await fetch(`${aerie.url}/xrpc/app.bsky.feed.getPosts?uris=${uri}`)).json()
      return posts.length === 1
    }, 20_000)
    const names = ['alice', 'bob', 'carol'].map((name) => agents[name].did)
    assert.equal((await command(aerie.config, 'repo', 'add', ...names)).code, 0)
    await aerie.until('the repos are in', async () => {
      const profiles = await fetch(`${aerie.url}/xrpc/app.bsky.actor.getProfiles?${names.map((did) => `actors=${did}`).join('&')}`)
      return (await profiles.json()).profiles.filter((p) => p.postsCount === (p.did === agents.alice.did ? 2 : 1) && p.handle.endsWith('.test')).length === 3
    }, 30_000)
    assert.deepEqual(door.asked.documents.slice(before), [])
  } finally {
    await aerie.stop()
    await relay.close()
  }
})

test('a file goes on after kill -9, with a server and without', async () => {
  const count = 60_000
  const dir = temporaryDir()
  dirs.push(dir)
  const file = path.join(dir, 'operations.jsonl')
  fs.writeFileSync(file, strangers(count, 1e6).map((op) => JSON.stringify(op)).join('\n'))
  let aerie = await start(undefined, dir)
  try {
    const importing = command(aerie.config, 'identity', 'import', file)
    // The last batches before a kill may not have left the process; those before them have.
    await aerie.until('some of it is in', async () => (await aerie.status()).plc.dids >= 10_000, 30_000)
    await aerie.stop('SIGKILL')
    assert.notEqual((await importing).code, 0)

    // Without a server, killed as well.
    const child = spawn(BINARY, ['identity', 'import', file, '--config', aerie.config], { stdio: 'ignore' })
    const ended = once(child, 'exit')
    await sleep(300)
    child.kill('SIGKILL')
    await ended

    aerie = await start(undefined, dir)
    const { plc: between } = await aerie.status()
    assert.ok(between.dids > 0 && between.dids <= count, `${between.dids} after two kills`)
    const done = await command(aerie.config, 'identity', 'import', file, '--json')
    assert.equal(done.code, 0, done.output)
    const { plc: status } = await aerie.status()
    assert.deepEqual([status.dids, status.hosts, status.file.lines], [count, 7, count])
    assert.ok(status.file.resumed > 0, 'it began anew')
    assert.equal(status.file.changed, count - between.dids, 'what was in is not news, and nothing is missing')
    await aerie.stop()
    const checked = await command(aerie.config, 'db', 'check')
    assert.match(checked.output, /everything fits/)
  } finally {
    await aerie.stop('SIGKILL')
  }
})

test('an account whose DID is given up is gone, and comes back with it', async () => {
  const carol = agents.carol
  const aerie = await start((s) => (s.network.plc_export = true))
  const client = new plc.Client(net.plc.url)
  const profile = () => fetch(`${aerie.url}/xrpc/app.bsky.actor.getProfile?actor=${carol.did}`)
  const posts = async () => {
    const { data } = await carol.com.atproto.repo.listRecords({ repo: carol.did, collection: 'app.bsky.feed.post' })
    const uris = data.records.map(({ uri }) => `uris=${uri}`).join('&')
    return (await (await fetch(`${aerie.url}/xrpc/app.bsky.feed.getPosts?${uris}`)).json()).posts.length
  }
  try {
    await aerie.caughtUp()
    await aerie.until('the export is read', async () => (await aerie.status()).plc.dids >= total(), 30_000)
    assert.deepEqual([(await profile()).status, await posts()], [200, 1])
    // A key of hers that stands above that of her PDS, with which she can take things back.
    const own = await Secp256k1Keypair.create()
    const last = await client.getLastOp(carol.did)
    const keys = [own.did(), ...last.rotationKeys]
    await client.sendOperation(carol.did, await plc.updateRotationKeysOp(last, net.pds.rotationKey, keys))
    const { cid } = net.plc.operations[carol.did].at(-1)
    const tombstone = await plc.tombstoneOp(cid, net.pds.rotationKey)
    await client.sendOperation(carol.did, tombstone)
    // No #identity says so: it is the export that does.
    await aerie.until('she is gone', async () => (await profile()).status === 400, 30_000)
    assert.equal(await posts(), 0)
    assert.equal((await aerie.status()).plc.tombstones, 1)

    // The directory takes the tombstone back.
    const restored = await plc.createUpdateOp(await kept(carol.did), own, (op) => op)
    await client.sendOperation(carol.did, restored)
    assert.equal(net.plc.operations[carol.did].filter((op) => op.nullified).length, 1)
    await aerie.until('she is back', async () => (await profile()).status === 200, 30_000)
    assert.equal(await posts(), 1)
    assert.equal((await (await profile()).json()).handle, 'carol.test')
    assert.equal((await aerie.status()).plc.tombstones, 0)
  } finally {
    await aerie.stop()
  }
})

test('an account that is deactivated, taken down by its host, renamed, is back as it was', async () => {
  const bob = agents.bob
  const aerie = await start()
  const profile = () => fetch(`${aerie.url}/xrpc/app.bsky.actor.getProfile?actor=${bob.did}`)
  const says = async () => ((await profile()).ok ? 'here' : (await (await profile()).json()).error)
  const becomes = (what) => aerie.until(what, async () => (await says()) === what, 20_000)
  try {
    await aerie.caughtUp()
    await becomes('here')
    await bob.com.atproto.server.deactivateAccount({})
    await becomes('AccountDeactivated')
    await bob.com.atproto.server.activateAccount()
    await becomes('here')
    await net.takeDownAccount(bob.did)
    await becomes('AccountTakedown')
    await net.takeDownAccount(bob.did, false)
    await becomes('here')
    await bob.login({ identifier: 'bob.test', password: 'bob-pass' })
    await bob.com.atproto.identity.updateHandle({ handle: 'robert.test' })
    await aerie.until('the new handle', async () => (await (await profile()).json()).handle === 'robert.test', 20_000)
    const feed = await fetch(`${aerie.url}/xrpc/app.bsky.feed.getAuthorFeed?actor=robert.test`)
    assert.equal((await feed.json()).feed.length, 1)
  } finally {
    await aerie.stop()
  }
})

/** The last operation of a DID before its tombstone. */
const kept = async (did) => net.plc.operations[did].findLast((op) => op.operation.type === 'plc_operation').operation
