// Who becomes a member, through a real PDS: with a closed door others read as signed in, and nothing is kept for them.
import './contract.mjs'
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { command, startAerie } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { createCast } from './seed.mjs'

let net, cast

before(async () => {
  net = await startNetwork()
  cast = await createCast(net)
})

after(() => net?.close())

const refused = { status: 403, error: 'NotAMember' }
const member = async (aerie, ...args) => {
  const { code, output } = await command(aerie.config, 'member', ...args)
  assert.equal(code, 0, output)
  return output
}

/** Everything that would be kept for an account. */
const kept = ({ agent }, other, post) => ({
  notifications: () => agent.listNotifications(),
  unread: () => agent.countUnreadNotifications(),
  mute: () => agent.mute(other.did),
  'mute of a thread': () => agent.app.bsky.graph.muteThread({ root: post.uri }),
  bookmark: () => agent.app.bsky.bookmark.createBookmark({ uri: post.uri, cid: post.cid }),
  draft: () => agent.app.bsky.draft.createDraft({ draft: { posts: [{ text: 'later' }] } }),
  subscription: () =>
    agent.app.bsky.notification.putActivitySubscription({
      subject: other.did,
      activitySubscription: { post: true, reply: false },
    }),
  preferences: () => agent.app.bsky.notification.putPreferences({ priority: true }),
  seen: () => agent.updateSeenNotifications(),
})

test('with "listed" the operator says who is a member', async (t) => {
  const { alice, bob } = cast
  const aerie = await startAerie(net, { change: (settings) => (settings.scope = { join: 'listed' }) })
  t.after(() => aerie.close())
  await bob.follow(alice)
  await alice.follow(bob)
  const post = await bob.post('for alice')
  await aerie.caughtUp()
  for (const [what, ask] of Object.entries(kept(alice, bob, post))) await assert.rejects(ask, refused, what)
  // They read as who they are, and may always take away.
  const { data: profile } = await alice.agent.getProfile({ actor: bob.did })
  assert.ok(profile.viewer.following)
  assert.deepEqual((await alice.agent.getTimeline()).data.feed.map((item) => item.post.uri), [post.uri])
  await alice.agent.unmute(bob.did)
  await alice.agent.app.bsky.bookmark.deleteBookmark({ uri: post.uri })
  const off = { subject: bob.did, activitySubscription: { post: false, reply: false } }
  await alice.agent.app.bsky.notification.putActivitySubscription(off)
  const status = await aerie.status()
  assert.equal(status.members, 0)
  assert.ok(status.counters['members.refused']['not-listed'] > 0)
  await member(aerie, 'add', 'alice.test')
  for (const [what, ask] of Object.entries(kept(alice, bob, post))) await assert.doesNotReject(ask, what)
  // Whom one mutes notifies nobody.
  await alice.agent.unmute(bob.did)
  assert.deepEqual((await alice.agent.listNotifications()).data.notifications.map((n) => n.reason), ['follow'])
  await member(aerie, 'remove', 'alice.test')
  await assert.rejects(alice.agent.mute(bob.did), refused)
})

test('at the cap nobody joins by calling', async (t) => {
  const { alice, bob, carol } = cast
  const aerie = await startAerie(net, { change: (settings) => (settings.scope = { max_members: 1 }) })
  t.after(() => aerie.close())
  await aerie.caughtUp()
  await alice.agent.mute(carol.did)
  await assert.rejects(bob.agent.mute(carol.did), refused)
  await member(aerie, 'add', 'bob.test')
  await bob.agent.mute(carol.did)
  await alice.agent.unmute(carol.did)
  assert.equal((await aerie.status()).members, 2)
})
