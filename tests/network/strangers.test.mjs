// The hostile parties of `scripts/bench hostile` for a moment each, against a server that follows a real PDS as well:
// their connections end with the reason, and what readers see is what the PDS said.
import './contract.mjs'
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startAerie } from './aerie.mjs'
import { startDirectory } from './hostile/directory.mjs'
import { Good } from './hostile/good.mjs'
import { launch } from './hostile/party.mjs'
import { Random } from './hostile/random.mjs'
import { hostileStreams } from './hostile/streams.mjs'
import { startNetwork } from './net.mjs'
import { ALICE_TIMELINE, createCast, seed } from './seed.mjs'

const SEED = '13'
const LOGIN = 'app.bsky.notification.getUnreadCount'
const parties = []
let net, directory, aerie, cast, refs, good, streams

before(async () => {
  net = await startNetwork()
  directory = await startDirectory(net.plc.url, new Random(SEED, 'directory'))
  cast = await createCast(net)
  const known = Object.values(cast).map(({ did }) => did)
  streams = hostileStreams()
  const launchHere = async (kind, options) => {
    const party = await launch(kind, { seed: SEED, port: net.appview.port, aud: net.appview.did, ...options })
    parties.push(party)
    return party
  }
  const change = await streams.prepare({ known, launch: launchHere })
  aerie = await startAerie(net, {
    change(settings) {
      settings.server.trusted_proxies = ['127.0.0.1']
      settings.network.plc_url = directory.url
      change(settings)
    },
  })
  good = new Good(net.appview.port, known, new Random(SEED, 'good client'))
  refs = await seed(net, cast)
})

after(async () => {
  good?.close()
  await Promise.all(parties.map((party) => party.stop()))
  await aerie?.close()
  directory?.close()
  await net?.close()
})

const names = () =>
  Object.fromEntries([
    ...Object.entries(refs).map(([name, { uri }]) => [uri, name]),
    ...Object.values(cast).map(({ did, name }) => [did, name]),
  ])
const timeline = async () => {
  const nameOf = names()
  const { data } = await cast.alice.agent.getTimeline({ limit: 100 })
  return data.feed.map(({ post, reason }) => nameOf[post.uri] + (reason?.by ? ` by ${nameOf[reason.by.did]}` : ''))
}
/** Waits for the honest ones alone. */
const caughtUp = async () => {
  const seq = await net.firehose.seq()
  const honest = async () => {
    const { upstreams, labelers } = await aerie.status()
    return upstreams[0].seq >= seq && (labelers[0].seq ?? 0) >= net.labeler.seq
  }
  await aerie.until(`caught up to ${seq}`, honest, 60_000)
}

test('a seed repeats what is sent, and no party changes what another one sends', () => {
  const some = (...names) => {
    const random = new Random(...names)
    return [random.did(), random.bytes(8).toString('hex'), random.below(1000)]
  }
  assert.deepEqual(some('1', 'a'), some('1', 'a'))
  assert.notDeepEqual(some('1', 'a'), some('1', 'b'))
  assert.notDeepEqual(some('1', 'a'), some('2', 'a'))
})

test('each hostile stream is left with the reason, and the honest ones go on', async () => {
  await caughtUp()
  for (const { kind, flood, reason, party, status } of streams.parties) {
    const over = party.done()
    party.tell({ flood, seconds: reason ? 30 : 1 })
    if (reason) await aerie.until(`${kind}: ${flood}: ${reason}`, async () => reason.test(status(await aerie.status()).last_error), 30_000)
    else await over
    await party.stop()
    assert.ok(party.counts.messages > 0, `${kind}: ${flood}: ${JSON.stringify(party.counts)}`)
  }
  await cast.kim.post('after all of that')
  await caughtUp()
  assert.deepEqual(await timeline(), ALICE_TIMELINE)
  for (const { did } of [cast.alice, cast.bob, cast.carol]) {
    assert.equal((await fetch(`${aerie.url}/xrpc/app.bsky.actor.getProfile?actor=${did}`)).status, 200)
  }
})

test('forged tokens and a directory that refuses keep nobody out whose key is here', async () => {
  const forged = await launch('forged', { seed: SEED, port: net.appview.port, aud: net.appview.did, rate: 300, addresses: 20, known: [cast.bob.did] })
  parties.push(forged)
  for (const mood of [undefined, 'refuses', 'silent', 'garbage']) {
    directory.become(mood)
    const before = forged.counts.sent ?? 0
    await aerie.until('many are under way', async () => (forged.counts.sent ?? 0) > before + 200, 30_000)
    for (const { agent } of [cast.alice, cast.bob, cast.dan]) {
      const { data } = await agent.com.atproto.server.getServiceAuth({ aud: net.appview.did, lxm: LOGIN })
      const login = await good.logIn(data.token, LOGIN, 30_000)
      assert.ok(login.ms !== undefined, `${mood}: ${login.last}`)
    }
  }
  directory.become(undefined)
  const counts = await forged.stop()
  assert.equal(counts['answered 200'], undefined)
  assert.deepEqual(await timeline(), ALICE_TIMELINE)
})
