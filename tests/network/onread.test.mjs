// An AppView that starts when everything has been said already: what somebody asks for comes from the PDS, with proof.
import './contract.mjs'
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startAerie } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { startRelay } from './relay.mjs'
import { createCast } from './seed.mjs'

let net, relay, aerie, cast, reader
const posts = []

before(async () => {
  net = await startNetwork()
  cast = await createCast(net)
  const { alice, bob, dan } = cast
  await alice.put('app.bsky.actor.profile', 'self', { displayName: 'Alice of yesterday' })
  await bob.put('app.bsky.actor.profile', 'self', { displayName: 'Bob' })
  posts.push(await alice.post('the first'))
  for (let n = 1; n < 8; n++) posts.push(await (n % 2 ? bob : alice).reply(`reply ${n}`, posts[0], posts[n - 1]))
  // Of somebody who writes nothing later: what the stream shows is fetched whole, and then nothing is missing.
  posts.push(await bob.post('to be deleted'))
  await bob.delete(posts[8])
  await dan.agent.com.atproto.server.deactivateAccount({})
  // Nothing of this is told to the AppView.
  relay = await startRelay(net.firehose, { after: await net.firehose.seq() })
  net.firehose = relay
  aerie = await startAerie(net)
  reader = net.anonymous(aerie.url)
})

after(async () => {
  await aerie?.close()
  await relay?.close()
  await net?.close()
})

/** Asks until the answer is right: the first time it may be late. */
const soon = (what, ask) => aerie.until(what, ask, 10_000)
const counters = async () => (await aerie.status()).counters['sync.on-read']

test('profiles by handle and DID', async () => {
  const { alice, bob } = cast
  const data = await soon('alice', async () => (await reader.getProfile({ actor: 'alice.test' })).data)
  assert.deepEqual([data.did, data.handle, data.displayName], [alice.did, 'alice.test', 'Alice of yesterday'])
  const both = await soon('both', async () => {
    const { profiles } = (await reader.getProfiles({ actors: [alice.did, bob.did] })).data
    return profiles.length === 2 && profiles
  })
  assert.deepEqual(both.map((p) => [p.handle, p.displayName]), [['alice.test', 'Alice of yesterday'], ['bob.test', 'Bob']])
})

test('a thread from below: the posts above come too', async () => {
  const line = await soon('the whole line', async () => {
    const { data } = await reader.getPostThread({ uri: posts[6].uri, depth: 0 })
    const texts = []
    for (let node = data.thread; node?.post; node = node.parent) texts.push(node.post.record.text)
    return texts.length === 7 && texts
  })
  assert.deepEqual(line, ['reply 6', 'reply 5', 'reply 4', 'reply 3', 'reply 2', 'reply 1', 'the first'])
})

test('posts and records', async () => {
  const [post] = await soon('the last reply', async () => {
    const found = (await reader.getPosts({ uris: [posts[7].uri] })).data.posts
    return found.length === 1 && found
  })
  assert.deepEqual([post.cid, post.author.handle, post.record.text], [posts[7].cid, 'bob.test', 'reply 7'])
  const like = await cast.carol.like(posts[0])
  const [, , repo, collection, rkey] = like.uri.split('/')
  const record = await soon('a record', async () => (await reader.com.atproto.repo.getRecord({ repo, collection, rkey })).data)
  assert.equal(record.cid, like.cid)
})

test('what is not there, or hidden by its host, stays away and is not asked for twice', async () => {
  const ask = async () => {
    assert.deepEqual((await reader.getPosts({ uris: [posts[8].uri] })).data.posts, [])
    await assert.rejects(reader.getProfile({ actor: cast.dan.did }))
    await assert.rejects(reader.getProfile({ actor: 'nobody-at-all.test' }))
  }
  await ask()
  await soon('proofs of absence', async () => (await counters()).absent >= 1)
  await soon('a host that hides', async () => {
    const gone = await reader.getProfile({ actor: cast.dan.did }).catch((error) => error)
    return gone.error === 'AccountDeactivated'
  })
  const before = await counters()
  await ask()
  const after = await counters()
  assert.equal(after.absent, before.absent)
  assert.ok(after.remembered > (before.remembered ?? 0))
})

test('the stream goes on from what was fetched', async () => {
  const { alice, bob } = cast
  const late = await alice.reply('written today', posts[0], posts[7])
  await bob.like(posts[7])
  await alice.put('app.bsky.actor.profile', 'self', { displayName: 'Alice of today' })
  await alice.delete(posts[6])
  await aerie.caughtUp()
  const { data } = await reader.getPosts({ uris: [late.uri, posts[7].uri, posts[6].uri] })
  assert.deepEqual(data.posts.map((p) => [p.uri, p.likeCount]), [[late.uri, 0], [posts[7].uri, 1]])
  assert.equal((await reader.getProfile({ actor: alice.did })).data.displayName, 'Alice of today')
})
