// People's rights, asked for through a real PDS: opting out and in again, an export, and a deletion that is killed in the
// middle. What an opted-out account does comes in by no way, and the opt-out outlives the store.
import './contract.mjs'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { command, startAerie, temporaryDir } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { createCast } from './seed.mjs'

const dir = temporaryDir()
const BIG = 4000
let net, aerie, cast, reader
const posts = {}

before(async () => {
  net = await startNetwork()
  aerie = await startAerie(net, { dir })
  cast = await createCast(net)
  const { alice, bob, carol } = cast
  for (const actor of [alice, bob, carol]) {
    await actor.put('app.bsky.actor.profile', 'self', { displayName: actor.name })
    posts[actor.name] = await actor.post(`by ${actor.name}`)
  }
  await alice.like(posts.bob)
  await alice.reply('a reply', posts.bob)
  await alice.repost(posts.bob)
  await alice.follow(bob)
  await bob.follow(alice)
  await bob.like(posts.alice)
  // More than an edge says.
  await alice.create('app.bsky.feed.like', { subject: posts.carol, note: 'kept whole' })
  await alice.create('com.example.note', { note: 'of no lexicon' })
  await aerie.caughtUp()
  reader = net.anonymous(aerie.url)
})

after(async () => {
  await aerie?.close()
  await net?.close()
})

/** Calls a method of `alt.aerie.account` through the account's PDS. */
async function own(actor, method, input) {
  const response = await actor.agent.sessionManager.fetchHandler(`/xrpc/alt.aerie.account.${method}`, {
    method: input ? 'POST' : 'GET',
    headers: {
      'atproto-proxy': `${net.appview.did}#bsky_appview`,
      ...(input && { 'content-type': 'application/json' }),
    },
    body: input && JSON.stringify(input),
  })
  const text = await response.text()
  if (!response.ok) throw Object.assign(new Error(text), JSON.parse(text), { status: response.status })
  return method === 'exportData' ? text.trimEnd().split('\n').map((line) => JSON.parse(line)) : JSON.parse(text)
}

const deleted = (actor) => aerie.until('deletion', async () => !(await own(actor, 'getStatus')).deleting, 60_000)
const run = async (...args) => {
  const { code, output } = await command(aerie.config, ...args)
  assert.equal(code, 0, output)
  return output
}
const lists = async (uri) => {
  const [post] = (await reader.getPosts({ uris: [uri] })).data.posts
  return [post.likeCount, post.replyCount, post.repostCount]
}

/** Nothing of the account is to be seen by anybody, and asking for it does not bring it. */
async function nowhere(actor, post) {
  for (const id of [actor.did, `${actor.name}.test`]) await assert.rejects(reader.getProfile({ actor: id }), id)
  await assert.rejects(reader.getAuthorFeed({ actor: actor.did }))
  await assert.rejects(reader.com.atproto.identity.resolveHandle({ handle: `${actor.name}.test` }))
  await assert.rejects(reader.com.atproto.repo.getRecord({ repo: actor.did, collection: 'app.bsky.actor.profile', rkey: 'self' }))
  assert.deepEqual((await reader.getPosts({ uris: [post.uri] })).data.posts, [])
  const { data } = await reader.getPostThread({ uri: post.uri }).catch((error) => ({ data: error }))
  assert.equal(data.error, 'NotFound')
}

test('an export has every record of the caller and what it set here', async () => {
  const { alice, bob } = cast
  await alice.agent.mute(bob.did)
  const lines = await own(alice, 'exportData')
  assert.deepEqual([lines[0].kind, lines[0].did, lines[1].handle], ['aerie-account', alice.did, 'alice.test'])
  assert.deepEqual(lines.at(-1), { kind: 'end', lines: lines.length - 2, leftOut: 0 })
  assert.deepEqual(lines.filter((line) => line.kind === 'mute').map((line) => line.subject), [bob.did])
  const there = []
  const { collections } = (await alice.agent.com.atproto.repo.describeRepo({ repo: alice.did })).data
  for (const collection of collections) {
    there.push(...(await alice.agent.com.atproto.repo.listRecords({ repo: alice.did, collection, limit: 100 })).data.records)
  }
  const sorted = (records) => records.map(({ uri, cid, value }) => ({ uri, cid, value })).sort((a, b) => (a.uri < b.uri ? -1 : 1))
  assert.deepEqual(sorted(lines.filter((line) => line.kind === 'record')), sorted(there))
  // The operator's is the same.
  const file = path.join(dir, 'alice.jsonl')
  await run('account', 'export', 'alice.test', '--out', file)
  const copy = fs.readFileSync(file, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line))
  assert.deepEqual(copy.slice(1), lines.slice(1))
  assert.equal(fs.statSync(file).mode & 0o777, 0o600)
})

test('only the account itself may ask, with a token for just that', async () => {
  const { alice } = cast
  const url = `${aerie.url}/xrpc/alt.aerie.account`
  assert.equal((await fetch(`${url}.exportData`)).status, 401)
  const tokenFor = async (lxm) =>
    (await alice.agent.com.atproto.server.getServiceAuth({ aud: net.appview.did, lxm })).data.token
  const ask = async (method, lxm) => {
    const headers = { authorization: `Bearer ${await tokenFor(lxm)}`, 'content-type': 'application/json' }
    const response = await fetch(`${url}.${method}`, { method: 'POST', headers, body: '{"optOut":true}' })
    return [response.status, (await response.json()).error]
  }
  assert.deepEqual(await ask('deleteData', 'app.bsky.feed.getTimeline'), [401, 'BadJwtLexiconMethod'])
  assert.deepEqual(await ask('putOptOut', 'alt.aerie.account.deleteData'), [401, 'BadJwtLexiconMethod'])
  const wrong = await own(alice, 'putOptOut', { optOut: 'yes' }).catch((error) => error)
  assert.deepEqual([wrong.status, wrong.error], [400, 'InvalidRequest'])
  assert.deepEqual(await own(alice, 'getStatus'), { did: alice.did, optedOut: false, deleting: false })
})

test('who opts out is gone, and comes back whole by opting in', async () => {
  const { alice, bob } = cast
  assert.deepEqual(await lists(posts.bob.uri), [1, 1, 1])
  const status = await own(alice, 'putOptOut', { optOut: true })
  assert.equal(status.optedOut, true)
  await nowhere(alice, posts.alice)
  await deleted(alice)
  assert.deepEqual(await lists(posts.bob.uri), [0, 0, 0])
  const { data } = await reader.getProfile({ actor: bob.did })
  assert.deepEqual([data.followersCount, data.followsCount], [0, 1])

  // What it goes on doing is verified and dropped, and no other way leads in.
  const later = await alice.post('written while out')
  await alice.like(posts.bob)
  await alice.put('app.bsky.actor.profile', 'self', { displayName: 'Alice again' })
  await aerie.caughtUp()
  assert.ok((await aerie.status()).counters['index.dropped']['opted-out'] >= 3)
  assert.match(await run('repo', 'add', alice.did), /not queued: 1 that/)
  assert.match(await run('repo', 'status', alice.did), /wants nothing.*until it opts in/)
  await nowhere(alice, later)
  assert.deepEqual(await lists(posts.bob.uri), [0, 0, 0])
  // What it set for itself still holds.
  const { mutes } = (await alice.agent.app.bsky.graph.getMutes()).data
  assert.deepEqual(mutes.map((mute) => mute.did), [bob.did])

  const listed = JSON.parse(await run('account', 'opt-out', 'list', '--json')).optOuts
  assert.deepEqual(listed.map((row) => row.did), [alice.did])
  assert.equal((await own(alice, 'putOptOut', { optOut: false })).optedOut, false)
  const back = await aerie.until(
    'alice is back',
    async () => {
      const { data } = await reader.getAuthorFeed({ actor: 'alice.test' })
      return data.feed.length === 4 && data.feed
    },
    60_000,
  )
  assert.ok(back.some(({ post }) => post.uri === later.uri))
  assert.deepEqual(await lists(posts.bob.uri), [1, 1, 1])
  assert.deepEqual(await lists(posts.alice.uri), [1, 0, 0])
  assert.equal((await reader.getProfile({ actor: alice.did })).data.displayName, 'Alice again')
})

test('what deletes asks first, and a repo that was removed is fetched when it is asked for', async () => {
  const { alice, dan } = cast
  await dan.post('by dan')
  const like = await dan.like(posts.bob)
  await dan.put('app.bsky.actor.profile', 'self', { displayName: 'dan' })
  await aerie.caughtUp()
  const held = async (...want) => {
    const [likes] = await lists(posts.bob.uri)
    const said = await run('repo', 'status', dan.did)
    return likes === want[0] && said.includes(want[1])
  }
  const [likes] = await lists(posts.bob.uri)
  for (const args of [['repo', 'remove', '--delete'], ['account', 'delete'], ['account', 'opt-out', 'add']]) {
    const { code, output } = await command(aerie.config, ...args, dan.did)
    assert.deepEqual([code, output.includes('Nothing was done: with --yes')], [1, true], output)
  }
  await run('member', 'add', alice.did)
  const refused = await command(aerie.config, 'repo', 'remove', '--delete', '--yes', alice.did)
  assert.deepEqual([refused.code, /all of did.* is kept/.test(refused.output)], [1, true], refused.output)
  assert.match(await run('repo', 'remove', dan.did), /0 left the queue/)
  assert.ok(await held(likes, 'is complete'))

  assert.match(await run('repo', 'remove', '--delete', '--yes', dan.did), /1 being deleted/)
  await aerie.until('his records are gone', () => held(likes - 1, 'nothing of it is here'), 30_000)
  await run('repo', 'add', dan.did)
  await aerie.until('they are back', () => held(likes, 'is complete'), 30_000)
  await dan.delete(like)
  await aerie.caughtUp()
})

test('a deletion is finished after kill -9, and an opt-out outlives the store', { timeout: 300_000 }, async (t) => {
  const { bob, carol } = cast
  const createdAt = new Date().toISOString()
  for (let n = 0; n < BIG; n += 200) {
    const like = (i) => ({
      $type: 'com.atproto.repo.applyWrites#create',
      collection: i % 2 ? 'app.bsky.feed.post' : 'app.bsky.feed.like',
      value: i % 2 ? { text: `post ${n + i}`, createdAt } : { subject: posts.bob, createdAt },
    })
    await carol.agent.com.atproto.repo.applyWrites({ repo: carol.did, writes: Array.from({ length: 200 }, (_, i) => like(i)) })
  }
  await carol.agent.mute(bob.did)
  await aerie.caughtUp(60_000)
  assert.equal((await reader.getProfile({ actor: carol.did })).data.postsCount, BIG / 2 + 1)
  assert.deepEqual(await lists(posts.bob.uri), [2, 1, 1])

  const status = await own(carol, 'deleteData', { optOut: true })
  assert.deepEqual([status.optedOut, status.deleting], [true, true])
  assert.deepEqual(await aerie.stop('SIGKILL'), { code: null, signal: 'SIGKILL' })
  for (let kills = 0; kills < 2; kills++) {
    aerie = await startAerie(net, { dir })
    // A fast machine may be done before it can be asked; the answer to the deletion came before either.
    t.diagnostic(`deleting after kill ${kills + 1}: ${(await own(carol, 'getStatus')).deleting}`)
    await nowhere(carol, posts.carol)
    await aerie.stop('SIGKILL')
  }
  aerie = await startAerie(net, { dir })
  reader = net.anonymous(aerie.url)
  await deleted(carol)
  await carol.post('too late')
  await aerie.caughtUp()
  await nowhere(carol, posts.carol)
  assert.deepEqual(await lists(posts.bob.uri), [1, 1, 1])
  const left = await own(carol, 'exportData')
  assert.deepEqual(left.map((line) => line.kind), ['aerie-account', 'account', 'end'])
  assert.ok(left[1].optedOutAt)

  const file = path.join(dir, 'private.jsonl')
  await run('private', 'export', '--out', file)
  assert.deepEqual(await aerie.stop(), { code: 0, signal: null })
  assert.match(await run('db', 'check'), /fits/)

  // A store of which nothing is left but the export: the stream and the PDS are told from the beginning.
  fs.rmSync(aerie.store, { recursive: true })
  await run('private', 'import', '--new-store', file)
  aerie = await startAerie(net, { dir })
  await aerie.caughtUp(60_000)
  await run('repo', 'add', bob.did, carol.did)
  await aerie.until('bob is back', async () => (await reader.getProfile({ actor: 'bob.test' })).data.postsCount === 1, 60_000)
  await nowhere(carol, posts.carol)
  assert.equal((await own(carol, 'getStatus')).optedOut, true)
})
