// Community posts with a real PDS: the author submits the content to aerie, then writes the stub to their repo; members,
// by a list and by a hook, read it, answer, like and are notified, others find nothing; a kill -9 loses nothing.
import './contract.mjs'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import { after, before, test } from 'node:test'
import { command, startAerie, temporaryDir } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { transitive } from './plc.mjs'
import { createCast } from './seed.mjs'

const { encode } = await transitive('@atproto/lex-cbor')
const POST = 'community.blacksky.feed.post'
const dir = temporaryDir()
let net, aerie, hook, list
// alice and bob are on the list, carol is let in by the hook, dan by neither.
let alice, bob, carol, dan
const made = {}

/** `GET ?did=`: says yes of those in `members`; `down` answers with errors. */
async function startHook() {
  const server = http.createServer((req, res) => {
    const did = new URL(req.url, 'http://localhost').searchParams.get('did')
    hook.asked.push(did)
    res.writeHead(hook.down ? 500 : 200, { 'content-type': 'application/json' })
    res.end(JSON.stringify({ member: hook.down || hook.members.includes(did) }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}/member`
  return { url, members: [], asked: [], down: false, close: () => server.close() }
}

const start = (community) => startAerie(net, { dir, change: (settings) => community && (settings.community = community) })
const restart = async (signal, community = { list: list.uri, hook: hook.url }) => {
  await aerie.stop(signal)
  aerie = await start(community)
}

/** A method of the community through the PDS; `{ status, ...body }`. */
async function call(actor, name, { query, input } = {}) {
  const agent = actor.agent.withProxy('bsky_appview', net.appview.did)
  const headers = { 'content-type': 'application/json' }
  const init = input ? { method: 'POST', headers, body: JSON.stringify(input) } : { method: 'GET' }
  const response = await agent.fetchHandler(`/xrpc/community.blacksky.feed.${name}?${new URLSearchParams(query)}`, init)
  return { status: response.status, ...(await response.json()) }
}

/** The CID of a record, base32, as clients compute it. */
function cidOf(record) {
  const hash = createHash('sha256').update(encode(record)).digest()
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'
  let [bits, value, text] = [0, 0, 'b']
  for (const byte of [0x01, 0x71, 0x12, 0x20, ...hash]) {
    value = (value << 8) | byte
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(value >>> (bits - 5)) & 31]
    value &= 31
  }
  return bits ? text + alphabet[(value << (5 - bits)) & 31] : text
}

let clock = Date.now() - 60_000
const S32 = '234567abcdefghijklmnopqrstuvwxyz'
/** The next second, and the record key of it. */
function tick() {
  clock += 1000
  let [n, rkey] = [BigInt(clock) * 1000n << 10n, '']
  for (let i = 0; i < 13; i++, n >>= 5n) rkey = S32[Number(n & 31n)] + rkey
  return { createdAt: new Date(clock).toISOString(), rkey }
}

/** Submits a post as the app does; the stub follows unless `stub` is false. */
async function submit(actor, text, more = {}, { expectedCid, stub = true } = {}) {
  const { createdAt, rkey } = tick()
  const content = { text, createdAt, ...more }
  const cid = cidOf({ $type: POST, ...content })
  const answer = await call(actor, 'submitPost', { input: { rkey, ...content, expectedCid: expectedCid ?? cid } })
  if (answer.status === 200) {
    assert.deepEqual(answer, { status: 200, uri: `at://${actor.did}/${POST}/${rkey}`, cid })
    if (stub) await actor.create(POST, { createdAt, cid }, rkey)
  }
  return answer
}

const ref = ({ uri, cid }) => ({ uri, cid })
const reply = (actor, text, root, parent = root) => submit(actor, text, { reply: { root: ref(root), parent: ref(parent) } })
const get = (actor, post) => call(actor, 'getCommunityPost', { query: { uri: post.uri } })
const timeline = async (actor) => (await call(actor, 'getCommunityTimeline')).feed.map(({ post }) => post.record.text)
const notifications = async (actor) => (await actor.agent.listNotifications()).data.notifications
const reasons = async (actor) =>
  (await notifications(actor)).map((n) => `${n.reason} by ${n.author.handle.split('.')[0]}: ${n.record.text ?? n.record.$type.split('.').at(-1)}`)
const refused = ({ status, error }) => [status, error]

before(async () => {
  hook = await startHook()
  net = await startNetwork()
  ;({ alice, bob, carol, dan } = await createCast(net))
  for (const actor of [alice, bob, carol, dan]) await actor.put('app.bsky.actor.profile', 'self', { displayName: actor.name })
  list = await alice.list('inside', 'curatelist', [alice, bob])
  hook.members.push(carol.did)
})

after(async () => {
  await aerie?.close()
  await net?.close()
  hook?.close()
})

test('off without configuration', async () => {
  aerie = await start()
  await aerie.caughtUp()
  for (const answer of [await submit(alice, 'x'), await get(alice, { uri: `at://${alice.did}/${POST}/3kaaaaaaaaa2a` })]) {
    assert.deepEqual(refused(answer), [501, 'MethodNotImplemented'])
  }
})

test('those on the list and those of whom the hook says so are let in', async () => {
  await restart('SIGTERM')
  const enters = async (actor) => (await call(actor, 'getCommunityTimeline')).status === 200
  assert.deepEqual([await enters(alice), await enters(bob)], [true, true])
  assert.deepEqual(hook.asked, [])
  assert.deepEqual([await enters(carol), await enters(dan)], [true, false])
  assert.deepEqual(hook.asked, [carol.did, dan.did])
  assert.deepEqual(refused(await call(dan, 'getCommunityTimeline')), [401, 'MembershipRequired'])
  assert.deepEqual(refused(await submit(dan, 'me too')), [401, 'MembershipRequired'])
  assert.equal((await fetch(`${aerie.url}/xrpc/community.blacksky.feed.getCommunityTimeline`)).status, 401)
  // From here on notifications are kept.
  for (const actor of [alice, bob, carol, dan]) await notifications(actor)
})

test('content that does not give its CID is refused', async () => {
  const other = cidOf({ $type: POST, text: 'something else', createdAt: new Date(0).toISOString() })
  assert.deepEqual(refused(await submit(alice, 'held to it', {}, { expectedCid: other })), [400, 'CidMismatch'])
  assert.deepEqual(await timeline(bob), [])
})

test('members read a post, others do not know of it', async () => {
  made.root = await submit(alice, 'the first')
  await aerie.caughtUp()
  const { post } = await get(carol, made.root)
  assert.deepEqual([post.uri, post.cid, post.record.text, post.author.did], [made.root.uri, made.root.cid, 'the first', alice.did])
  assert.deepEqual(await timeline(bob), ['the first'])
  assert.equal((await call(bob, 'getCommunityFeed', { query: { actor: 'alice.test' } })).feed.length, 1)
  assert.deepEqual(refused(await get(dan, made.root)), [401, 'MembershipRequired'])
  const uris = [made.root.uri]
  assert.deepEqual((await bob.agent.getPosts({ uris })).data.posts.map((p) => p.record.text), ['the first'])
  assert.deepEqual((await dan.agent.getPosts({ uris })).data.posts, [])
  assert.deepEqual((await net.anonymous(aerie.url).getPosts({ uris })).data.posts, [])
  // The network sees a stub that says nothing.
  const [, , repo, , rkey] = made.root.uri.split('/')
  const { data } = await net.anonymous().com.atproto.repo.getRecord({ repo, collection: POST, rkey })
  assert.deepEqual(data.value, { $type: POST, createdAt: post.record.createdAt, cid: made.root.cid })
})

test('replies, likes and reposts stand in threads and are notified of', async () => {
  made.answer = await reply(bob, 'an answer', made.root)
  made.below = await reply(carol, 'below it', made.root, made.answer)
  const fan = (actor, kind, subject) => actor.create(`community.blacksky.feed.${kind}`, { subject: ref(subject) })
  made.like = await fan(bob, 'like', made.root)
  await fan(carol, 'repost', made.root)
  await carol.like(made.root)
  await aerie.caughtUp()
  const { thread } = (await bob.agent.getPostThread({ uri: made.answer.uri })).data
  const texts = [thread.parent.post, thread.post, thread.replies[0].post].map((p) => p.record.text)
  assert.deepEqual(texts, ['the first', 'an answer', 'below it'])
  const { post } = thread.parent
  assert.deepEqual([post.likeCount, post.repostCount, post.replyCount, post.viewer.like], [2, 1, 1, made.like.uri])
  const { data: flat } = await bob.agent.app.bsky.unspecced.getPostThreadV2({ anchor: made.root.uri })
  assert.deepEqual(flat.thread.map((item) => item.depth), [0, 1, 2])
  const likers = async (actor) => (await actor.agent.getLikes({ uri: made.root.uri })).data.likes.map((l) => l.actor.handle)
  assert.deepEqual((await likers(alice)).sort(), ['bob.test', 'carol.test'])
  assert.deepEqual(await likers(dan), [])
  await assert.rejects(dan.agent.getPostThread({ uri: made.root.uri }), (error) => error.error === 'NotFound')
  const of_alice = ['like by bob: like', 'like by carol: like', 'reply by bob: an answer', 'reply by carol: below it', 'repost by carol: repost']
  assert.deepEqual((await reasons(alice)).sort(), of_alice)
  assert.deepEqual(await reasons(bob), ['reply by carol: below it'])
})

test('who is outside is not told', async () => {
  const facets = [{ index: { byteStart: 0, byteEnd: 3 }, features: [{ $type: 'app.bsky.richtext.facet#mention', did: dan.did }] }]
  made.mention = await submit(alice, 'dan is not here', { facets })
  await dan.post('a post of the network')
  await aerie.caughtUp()
  assert.deepEqual(await reasons(dan), [])
  assert.equal((await dan.agent.countUnreadNotifications()).data.count, 0)
})

test('a kill -9 loses nothing that was answered', async () => {
  const { uri } = await submit(bob, 'just before', {}, { stub: false })
  await restart('SIGKILL')
  assert.equal((await get(alice, { uri })).post.record.text, 'just before')
  await aerie.caughtUp()
  assert.deepEqual(await timeline(carol), ['just before', 'dan is not here', 'below it', 'an answer', 'the first'])
  assert.equal((await reasons(alice)).length, 5)
  await restart('SIGTERM')
  assert.equal((await timeline(alice)).length, 5)
})

test('a hook that is down lets nobody in, and nobody else waits for it', async () => {
  hook.down = true
  await restart('SIGTERM')
  assert.deepEqual(refused(await get(carol, made.root)), [401, 'MembershipRequired'])
  assert.equal((await get(bob, made.root)).status, 200)
  assert.deepEqual(await reasons(carol), [])
  hook.down = false
  await aerie.until('the hook is asked again', async () => (await get(carol, made.root)).status === 200, 10_000)
})

test('a post goes with its stub, or when its author says so', async () => {
  assert.deepEqual(refused(await call(bob, 'deletePost', { input: { uri: made.root.uri } })), [400, 'PostNotFound'])
  await carol.delete(made.below)
  await bob.delete(made.like)
  await aerie.caughtUp()
  assert.deepEqual(refused(await get(alice, made.below)), [400, 'PostNotFound'])
  const { post } = await get(bob, made.root)
  assert.deepEqual([post.likeCount, post.viewer.like, (await reasons(alice)).length], [1, undefined, 3])
  assert.equal((await call(bob, 'deletePost', { input: { uri: made.answer.uri } })).status, 200)
  assert.deepEqual(refused(await get(alice, made.answer)), [400, 'PostNotFound'])
  assert.equal((await get(alice, made.root)).post.replyCount, 0)
  // The list decides from one call to the next.
  const { data } = await alice.agent.com.atproto.repo.listRecords({ repo: alice.did, collection: 'app.bsky.graph.listitem' })
  await alice.delete(data.records.find(({ value }) => value.subject === bob.did))
  await aerie.caughtUp()
  assert.deepEqual(refused(await get(bob, made.root)), [401, 'MembershipRequired'])
  await alice.agent.com.atproto.server.deactivateAccount({})
  await aerie.caughtUp()
  assert.deepEqual(refused(await get(carol, made.root)), [400, 'PostNotFound'])
})

test('the store is sound', async () => {
  await aerie.stop()
  const { code, output } = await command(aerie.config, 'db', 'check', '--full')
  assert.equal(code, 0, output)
})
