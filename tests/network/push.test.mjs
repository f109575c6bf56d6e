// Notifications pushed to devices: a like at the PDS, its way through the outbox, and what the operator's endpoint and a
// web push subscription get, a kill -9 included.
import assert from 'node:assert/strict'
import crypto from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import { after, before, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startAerie, temporaryDir } from './aerie.mjs'
import { startNetwork } from './net.mjs'

const SECRET = 'push-secret'
const DELAY_MS = 1500
const dir = temporaryDir()
let net, aerie, receiver, alice, bob, post
const now = () => new Date().toISOString()
const ref = ({ uri, cid }) => ({ uri, cid })

/** An HTTP server that keeps what is posted to it; `answer(path)` gives the status, or nothing to hang. */
async function startReceiver() {
  const got = []
  const server = http.createServer((req, res) => {
    const chunks = []
    req.on('data', (chunk) => chunks.push(chunk))
    req.on('end', () => {
      got.push({ path: req.url, headers: req.headers, body: Buffer.concat(chunks), at: Date.now() })
      const status = receiver.answer(req.url)
      if (status) res.writeHead(status).end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    got,
    answer: () => 201,
    at: (path) => got.filter((request) => request.path === path),
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

const start = () =>
  startAerie(net, {
    dir,
    change: (settings) => {
      settings.push = { endpoint: `${receiver.url}/hook`, secret: SECRET, delay: `${DELAY_MS}ms` }
    },
  })

async function account(name) {
  const agent = net.anonymous()
  await agent.createAccount({ handle: `${name}.test`, email: `${name}@test.com`, password: `${name}-pass` })
  await agent.app.bsky.actor.profile.create({ repo: agent.did }, { displayName: name.toUpperCase(), createdAt: now() })
  return agent
}

const create = async (agent, collection, record) =>
  (await agent.com.atproto.repo.createRecord({ repo: agent.did, collection, record: { $type: collection, createdAt: now(), ...record } })).data

const like = (agent) => create(agent, 'app.bsky.feed.like', { subject: ref(post) })
const remove = (agent, { uri }) => {
  const [, , repo, collection, rkey] = uri.split('/')
  return agent.com.atproto.repo.deleteRecord({ repo, collection, rkey })
}
const registration = (token, platform = 'web') => ({ serviceDid: net.appview.did, token, platform, appId: 'test.app' })
const register = (agent, token, platform) => agent.app.bsky.notification.registerPush(registration(token, platform))
const unregister = (agent, token, platform) => agent.app.bsky.notification.unregisterPush(registration(token, platform))
const until = (what, condition, ms = 15_000) => aerie.until(what, async () => condition(), ms)
const idle = () => aerie.until('nothing waits', async () => (await aerie.status()).push.waiting === 0, 30_000)

before(async () => {
  receiver = await startReceiver()
  net = await startNetwork()
  ;[alice, bob] = [await account('alice'), await account('bob')]
  post = await create(alice, 'app.bsky.feed.post', { text: 'push me' })
  aerie = await start()
  await aerie.caughtUp()
  // Her notifications are kept from her first call.
  await alice.listNotifications()
})

beforeEach(() => {
  receiver.got.length = 0
  receiver.answer = () => 201
})

after(async () => {
  await aerie?.close()
  await net?.close()
  receiver?.close()
})

test('a like reaches the endpoint once, signed, after the delay', async () => {
  const liked = Date.now()
  const { uri } = await like(bob)
  await until('a push', () => receiver.got.length > 0)
  await idle()
  const [{ path, headers, body, at }, ...more] = receiver.got
  assert.deepEqual([path, more], ['/hook', []])
  assert.ok(at - liked >= DELAY_MS, `${at - liked} ms`)
  const message = JSON.parse(body)
  assert.deepEqual(
    { ...message, id: '', createdAt: '' },
    {
      id: '',
      recipient: alice.did,
      reason: 'like',
      author: { did: bob.did, handle: 'bob.test', displayName: 'BOB' },
      uri,
      subject: post.uri,
      text: 'push me',
      title: 'BOB liked your post',
      body: 'push me',
      createdAt: '',
      registrations: [],
    },
  )
  assert.equal(headers['idempotency-key'], message.id)
  const [, time, mac] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers['aerie-signature'])
  assert.equal(crypto.createHmac('sha256', SECRET).update(`${time}.`).update(body).digest('hex'), mac)
  assert.ok(Math.abs(at / 1000 - time) < 60)
  assert.equal((await aerie.status()).counters['push.sent'].endpoint, 1)
  await remove(bob, { uri })
})

test('a like that is undone within the delay is never pushed', async () => {
  await remove(bob, await like(bob))
  await aerie.caughtUp()
  const before = (await aerie.status()).counters['push.suppressed']?.undone ?? 0
  await aerie.until('it is passed over', async () => (await aerie.status()).counters['push.suppressed']?.undone > before, 15_000).catch(
    // Passed over before the first look.
    async () => assert.ok(before > 0),
  )
  assert.deepEqual(receiver.got, [])
})

test('whoever mutes gets nothing', async () => {
  await alice.app.bsky.graph.muteActor({ actor: bob.did })
  const { uri } = await like(bob)
  await aerie.until('it is suppressed', async () => (await aerie.status()).counters['push.suppressed'].mute === 1, 15_000)
  assert.deepEqual(receiver.got, [])
  await alice.app.bsky.graph.unmuteActor({ actor: bob.did })
  await remove(bob, { uri })
})

test('an endpoint that fails is asked again with the same id', async () => {
  receiver.answer = () => (receiver.got.length < 2 ? 500 : 200)
  const { uri } = await like(bob)
  await until('the second try', () => receiver.got.length === 2, 30_000)
  await idle()
  const ids = receiver.got.map(({ body }) => JSON.parse(body).id)
  assert.deepEqual([ids.length, ids[0]], [2, ids[1]])
  await remove(bob, { uri })
})

/** RFC 8291 from the subscriber's side. */
function decrypt({ ecdh, auth }, body) {
  const salt = body.subarray(0, 16)
  const idLength = body[20]
  const theirs = body.subarray(21, 21 + idLength)
  const sealed = body.subarray(21 + idLength)
  const info = Buffer.concat([Buffer.from('WebPush: info\0'), ecdh.getPublicKey(), theirs])
  const secret = crypto.hkdfSync('sha256', ecdh.computeSecret(theirs), auth, info, 32)
  const derive = (what, length) =>
    Buffer.from(crypto.hkdfSync('sha256', secret, salt, Buffer.from(`Content-Encoding: ${what}\0`), length))
  const decipher = crypto.createDecipheriv('aes-128-gcm', derive('aes128gcm', 16), derive('nonce', 12))
  decipher.setAuthTag(sealed.subarray(-16))
  const plain = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
  assert.equal(plain.at(-1), 2, 'the delimiter of the last record')
  return JSON.parse(plain.subarray(0, -1))
}

test('web push: encrypted for the subscription, signed with the key that clients see', async () => {
  const ecdh = crypto.createECDH('prime256v1')
  ecdh.generateKeys()
  const auth = crypto.randomBytes(16)
  const subscription = JSON.stringify({
    endpoint: `${receiver.url}/web/1`,
    expirationTime: null,
    keys: { p256dh: ecdh.getPublicKey('base64url'), auth: auth.toString('base64url') },
  })
  await register(alice, subscription)
  await register(alice, `${receiver.url}/unified/1`, 'android')
  await register(alice, 'token-of-apple', 'ios')
  await register(alice, `${receiver.url}/gone`)
  receiver.answer = (path) => (path === '/gone' ? 410 : 201)
  const { uri } = await like(bob)
  await until('four pushes', () => receiver.got.length === 4)
  await idle()

  const [hook] = receiver.at('/hook').map(({ body }) => JSON.parse(body))
  assert.deepEqual(hook.registrations, [{ platform: 'ios', appId: 'test.app', token: 'token-of-apple', ageRestricted: false }])
  const [unified] = receiver.at('/unified/1').map(({ body }) => JSON.parse(body))
  const [web] = receiver.at('/web/1')
  assert.equal(web.headers['content-encoding'], 'aes128gcm')
  assert.ok(Number(web.headers.ttl) > 0)
  const { registrations, ...message } = hook
  assert.deepEqual(decrypt({ ecdh, auth }, web.body), message)
  assert.deepEqual(unified, message)

  const response = await fetch(`${aerie.url}/push/vapid-key`)
  const key = await response.text()
  assert.equal(response.headers.get('access-control-allow-origin'), '*')
  const [, token, k] = /^vapid t=(\S+), k=(\S+)$/.exec(web.headers.authorization)
  assert.equal(k, key)
  const point = Buffer.from(key, 'base64url')
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => part.toString('base64url'))
  const [header, claims, signature] = token.split('.')
  const verified = crypto.verify(
    'sha256',
    Buffer.from(`${header}.${claims}`),
    { key: crypto.createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' }), dsaEncoding: 'ieee-p1363' },
    Buffer.from(signature, 'base64url'),
  )
  assert.ok(verified)
  assert.equal(JSON.parse(Buffer.from(claims, 'base64url')).aud, receiver.url)

  await remove(bob, { uri })
  receiver.got.length = 0
  await unregister(alice, `${receiver.url}/unified/1`, 'android')
  const again = await like(bob)
  await until('two pushes', () => receiver.got.length === 2)
  await idle()
  assert.deepEqual(receiver.got.map(({ path }) => path).sort(), ['/hook', '/web/1'])
  await remove(bob, again)
  await unregister(alice, subscription)
  await unregister(alice, 'token-of-apple', 'ios')
})

test('registrations are refused as the reference refuses them', async () => {
  const refused = (body, message) =>
    assert.rejects(alice.app.bsky.notification.registerPush(body), (e) => e.status === 400 && e.message === message)
  await refused(registration('x', 'windows'), 'Unsupported platform: must be "ios", "android", or "web".')
})

test('kill -9 while pushes wait and while one is answered: all arrive, doubles have the same id', async () => {
  receiver.answer = () => undefined
  const first = await like(bob)
  await until('a push that is not answered', () => receiver.got.length === 1)
  const second = await create(bob, 'app.bsky.feed.repost', { subject: ref(post) })
  await aerie.caughtUp()
  await aerie.stop('SIGKILL')
  receiver.answer = () => 201
  await sleep(200)
  aerie = await start()
  await until('both', () => new Set(receiver.got.slice(1).map(({ body }) => JSON.parse(body).uri)).size === 2)
  await idle()
  const messages = receiver.got.map(({ body }) => JSON.parse(body))
  const of = (uri) => messages.filter((message) => message.uri === uri).map(({ id }) => id)
  assert.deepEqual([of(first.uri).length, new Set(of(first.uri)).size], [2, 1])
  assert.equal(of(second.uri).length, 1)
  await sleep(DELAY_MS)
  assert.equal(receiver.got.length, 3, 'nothing is sent again')
})
