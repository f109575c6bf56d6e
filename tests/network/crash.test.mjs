// kill -9 at random moments, start-up included, while the PDS is written to without pause:
// at the end every count and list is what the PDS's repos say, and `db check` finds nothing.
// CRASH_KILLS sets how many kills; each takes about half a second.
import './contract.mjs'
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { command, startAerie, temporaryDir } from './aerie.mjs'
import { startNetwork } from './net.mjs'

const ROUNDS = Number(process.env.CRASH_KILLS ?? 30)
const ACCOUNTS = 8
const dir = temporaryDir()
let net
let aerie
const accounts = []

before(async () => {
  net = await startNetwork()
  for (let i = 0; i < ACCOUNTS; i++) {
    const agent = net.anonymous()
    await agent.createAccount({ handle: `user${i}.test`, email: `user${i}@test.com`, password: `user${i}-pass` })
    accounts.push({ agent, did: agent.did, posts: [], mine: [] })
  }
})

after(async () => {
  await aerie?.close()
  await net?.close()
})

const pick = (list) => list[Math.floor(Math.random() * list.length)]
const now = () => new Date().toISOString()

/** One random write by one account: post, reply, like, repost, follow, or the deletion of one of these. */
async function writeSomething(me) {
  const subject = pick(pick(accounts).posts)
  const kind = subject ? pick(['post', 'reply', 'like', 'like', 'like', 'repost', 'follow', 'delete']) : 'post'
  if (kind === 'delete') {
    if (me.mine.length === 0) return
    const [uri] = me.mine.splice(Math.floor(Math.random() * me.mine.length), 1)
    const [, , repo, collection, rkey] = uri.split('/')
    for (const account of accounts) account.posts = account.posts.filter((post) => post.uri !== uri)
    await me.agent.com.atproto.repo.deleteRecord({ repo, collection, rkey })
    return
  }
  const [collection, fields] = {
    post: ['app.bsky.feed.post', { text: 'a post' }],
    reply: ['app.bsky.feed.post', { text: 'a reply', reply: { root: subject, parent: subject } }],
    like: ['app.bsky.feed.like', { subject }],
    repost: ['app.bsky.feed.repost', { subject }],
    follow: ['app.bsky.graph.follow', { subject: pick(accounts).did }],
  }[kind]
  const record = { $type: collection, ...fields, createdAt: now() }
  const { data } = await me.agent.com.atproto.repo.createRecord({ repo: me.did, collection, record })
  me.mine.push(data.uri)
  if (kind === 'post') me.posts.push({ uri: data.uri, cid: data.cid })
}

/** All records of a collection in all repos, as the PDS holds them: `[{ did, uri, value }]`. */
async function allRecords(collection) {
  const out = []
  for (const { agent, did } of accounts) {
    let cursor
    do {
      const { data } = await agent.com.atproto.repo.listRecords({ repo: did, collection, limit: 100, cursor })
      out.push(...data.records.map(({ uri, value }) => ({ did, uri, value })))
      cursor = data.cursor
    } while (cursor)
  }
  return out
}

const distinct = (records, key) => {
  const sets = new Map()
  for (const record of records) sets.set(key(record), (sets.get(key(record)) ?? new Set()).add(record.did))
  return (k) => [...(sets.get(k) ?? [])].sort()
}

test(`${ROUNDS} times kill -9 under load: nothing lost, nothing twice`, { timeout: 60_000 + ROUNDS * 20_000 }, async () => {
  let writing = true
  const load = accounts.map(async (me) => {
    while (writing) {
      await writeSomething(me)
      await sleep(20)
    }
  })
  for (let round = 0; round < ROUNDS; round++) {
    aerie = await startAerie(net, { dir, ready: round % 3 !== 0 })
    await sleep(Math.random() * 500)
    const { signal } = await aerie.stop('SIGKILL')
    assert.equal(signal, 'SIGKILL', `round ${round}: ended by itself\n${aerie.logText()}`)
  }
  // Asked to end in the middle of writing and reading, it does, cleanly and in time.
  aerie = await startAerie(net, { dir })
  const reading = accounts.map(async ({ agent, did }) => {
    while (writing) await agent.getAuthorFeed({ actor: did }).catch(() => sleep(20))
  })
  await sleep(1000)
  const asked = Date.now()
  assert.deepEqual(await aerie.stop(), { code: 0, signal: null })
  assert.ok(Date.now() - asked < 8000, `took ${Date.now() - asked} ms to end`)
  writing = false
  await Promise.all([...load, ...reading])
  aerie = await startAerie(net, { dir })
  await aerie.caughtUp(60_000)

  const viewer = accounts[0].agent
  const posts = await allRecords('app.bsky.feed.post')
  const likers = distinct(await allRecords('app.bsky.feed.like'), (r) => r.value.subject.uri)
  const reposters = distinct(await allRecords('app.bsky.feed.repost'), (r) => r.value.subject.uri)
  const follows = await allRecords('app.bsky.graph.follow')
  const followers = distinct(follows, (r) => r.value.subject)
  assert.ok(posts.length > 20, `only ${posts.length} posts: no load to speak of`)

  for (let i = 0; i < posts.length; i += 25) {
    const uris = posts.slice(i, i + 25).map(({ uri }) => uri)
    const { data } = await viewer.getPosts({ uris })
    assert.deepEqual(
      data.posts.map((p) => [p.uri, p.likeCount, p.repostCount, p.replyCount]),
      uris.map((uri) => [
        uri,
        likers(uri).length,
        reposters(uri).length,
        posts.filter((p) => p.value.reply?.parent.uri === uri).length,
      ]),
    )
  }
  for (const { uri } of posts.filter((p) => likers(p.uri).length > 1)) {
    const { data } = await viewer.getLikes({ uri, limit: 100 })
    assert.deepEqual(data.likes.map((l) => l.actor.did).sort(), likers(uri), uri)
  }
  for (const { did } of accounts) {
    const { data } = await viewer.getProfile({ actor: did })
    assert.deepEqual(
      [data.postsCount, data.followersCount, data.followsCount],
      [
        posts.filter((p) => p.did === did).length,
        followers(did).length,
        new Set(follows.filter((f) => f.did === did).map((f) => f.value.subject)).size,
      ],
    )
  }

  assert.deepEqual(await aerie.stop(), { code: 0, signal: null })
  const check = await command(aerie.config, 'db', 'check')
  assert.equal(check.code, 0, check.output)
})
