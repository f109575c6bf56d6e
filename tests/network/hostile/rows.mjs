// The rows of the table "what must hold": each starts a server with a world in it, attacks it, and prints what a good
// client got and what the server took.
import { setTimeout as sleep } from 'node:timers/promises'
import { command } from '../aerie.mjs'
import { figure, format, note } from '../figures.mjs'
import { BENCH_DIR } from '../simulator.mjs'
import { p } from './good.mjs'
import { hasNetwork64, LOGIN, startScene, words } from './scene.mjs'
import { hostileStreams } from './streams.mjs'

const within = async (options, run) => {
  const scene = await startScene(options)
  try {
    await scene.calm()
    await run(scene)
  } finally {
    await scene.close()
  }
}

/** What the directory may be asked for those whom nobody has, from however many clients. */
const POLITE = { perSecond: 5, burst: 30 }

/** Logs in by turns, members twenty times a second and each second somebody new, until `over`. */
async function logIns(scene, seconds) {
  const [members, fresh] = [[], []]
  const tokens = await Promise.all(
    Array.from({ length: seconds * 20 }, (_, i) => scene.net.token(scene.members[i % scene.members.length], LOGIN, 3000 + i)),
  )
  const newcomers = await Promise.all(Array.from({ length: seconds }, () => scene.directory.newcomer()))
  const started = performance.now()
  const asked = []
  for (let i = 0; i < tokens.length; i++) {
    await sleep(Math.max(0, started + i * 50 - performance.now()))
    asked.push(scene.good.logIn(tokens[i], LOGIN, 1000).then((login) => members.push(login)))
    if (i % 20 > 0) continue
    const token = await newcomers[i / 20].token(scene.net.appview.did, LOGIN)
    asked.push(scene.good.logIn(token, LOGIN, 15_000).then((login) => fresh.push(login)))
  }
  await Promise.all(asked)
  return { members, fresh }
}

const worst = (logins, share) => {
  const times = logins.map(({ ms }) => ms ?? Infinity)
  return p(times, share)
}

async function tokens(options) {
  const seconds = 20
  await within(options, async (scene) => {
    for (const [name, addresses] of [['one address', 1], ['200 addresses', 200]]) {
      const title = `forged tokens from ${name}`
      const asked = { ...scene.directory.counts }
      const started = performance.now()
      const { found } = await scene.under(title, {
        seconds,
        attack: async () => [await scene.launch('forged', { name, rate: 1000, addresses, known: scene.known })],
        beside: () => logIns(scene, seconds),
      })
      const [known, fresh] = [worst(found.members, 0.99), worst(found.fresh, 1)]
      const failed = [...found.members, ...found.fresh].filter(({ ms }) => ms === undefined).map(({ last }) => last)
      if (failed.length > 0) note(`logins that failed: ${failed.length}, with ${[...new Set(failed)].join(', ')}`)
      figure(`${title}: known members log in, p99`, known / 1000, 's', '<=', 1)
      figure(`${title}: new ones log in, worst`, fresh / 1000, 's', '<=', 5)
      note(`new ones: p50 ${format(p(found.fresh.map(({ ms }) => ms ?? Infinity), 0.5))} ms; ${found.fresh.filter(({ last }) => last === 503).length} of ${found.fresh.length} were told to wait`)
      const { directory } = scene
      const lookups = directory.counts['nobody has it'] - asked['nobody has it']
      const polite = POLITE.burst + (POLITE.perSecond * (performance.now() - started)) / 1000
      figure(`${title}: lookups of nobody at the directory`, lookups, '', '<=', polite, `; it was asked for ${format(directory.counts.found - asked.found)} others and ${format(directory.counts.newcomers - asked.newcomers)} times for new ones`)
    }
  })
}

async function connections(options) {
  await within(options, async (scene) => {
    const path = `/xrpc/app.bsky.actor.getProfile?actor=${scene.known[0]}`
    const large = scene.known.slice(0, 20).map((did) => `/xrpc/app.bsky.feed.getAuthorFeed?limit=100&actor=${did}`)
    const attacks = [
      ['5,000 idle connections of one address', 'idle', { most: 5000, rate: 500 }],
      ['slowloris', 'slowloris', { most: 2000, rate: 200 }],
      ['slow readers', 'slowReaders', { most: 500, rate: 100 }],
      ['window 0', 'windowZero', { most: 140, rate: 20 }],
    ]
    if (hasNetwork64) {
      attacks.push(['5,000 idle connections of a /64', 'idle', { most: 5000, rate: 500, from: '/64' }])
      attacks.push(['window 0 of a /64', 'windowZero', { most: 140, rate: 20, from: '/64' }])
    }
    for (const [title, kind, some] of attacks) {
      const { counts: [counts] } = await scene.under(title, { attack: async () => [await scene.launch(kind, { name: title, path, large, ...some })] })
      const turnedAway = ['closed', 'closed without a word', 'closed after its answer', 'answered 429'].reduce((sum, what) => sum + (counts[what] ?? 0), 0)
      figure(`${title}: times that the attacker was turned away`, turnedAway, '', '>=', 1)
    }
  })
}

/** What each flood of an account calls. */
export const NSIDS = {
  mutes: 'app.bsky.graph.muteActor',
  bookmarks: 'app.bsky.bookmark.createBookmark',
  subscriptions: 'app.bsky.notification.putActivitySubscription',
  exports: 'alt.aerie.account.exportData',
  feeds: 'app.bsky.feed.getAuthorFeed',
}
/** What the table of limits gives one account, see README. */
const WRITES = { hour: 1500 }
const EXPORTS = 10

async function accounts(options) {
  const kinds = Object.keys(NSIDS)
  const seconds = 15
  await within(options, async (scene) => {
    const owners = Object.fromEntries(kinds.map((kind, i) => [kind, scene.members[i]]))
    for (const [i, kind] of kinds.entries()) {
      const token = await scene.net.token(owners[kind], NSIDS[kind])
      const [rate, connections] = kind === 'feeds' ? [500, 64] : [300, 16]
      const { counts: [counts] } = await scene.under(`one account: ${kind}`, {
        seconds,
        attack: async () => [await scene.launch(kind, { token, rate, connections, address: `127.1.1.${1 + i}`, actors: scene.known })],
      })
      const taken = counts['answered 200'] ?? 0
      const rationed = counts['refused 429 RateLimitExceeded'] ?? 0
      figure(`${kind}: refusals without the protocol's error and RateLimit-*`, Object.entries(counts).reduce((sum, [what, n]) => sum + (/^429 without|^refused (?!429 RateLimitExceeded|503)/.test(what) ? n : 0), 0), '', '<=', 0)
      if (kind === 'exports') figure('exports given of one account', taken, '', '<=', EXPORTS)
      else if (kind !== 'feeds') figure(`${kind} taken of one account`, taken, '', '<=', WRITES.hour * (1 + (seconds + 4) / 3600), ` of ${format(counts.sent)}`)
      if (kind !== 'feeds') figure(`${kind}: refusals by 429`, rationed, '', '>=', 1)
    }
    await kept(scene, owners)
  })
}

/** What is on disk of the accounts that flooded. */
async function kept(scene, owners) {
  const exported = await command(scene.aerie.config, 'private', 'export', '--out', `${scene.dir}/private.jsonl`)
  if (exported.code !== 0) throw new Error(`private export: ${exported.output}`)
  const { default: fs } = await import('node:fs')
  const lines = fs.readFileSync(`${scene.dir}/private.jsonl`, 'utf8').trim().split('\n')
  for (const [kind, did] of Object.entries(owners)) {
    const rows = lines.filter((line) => line.includes(`"${did}"`)).length
    figure(`${kind}: rows on disk of that account`, rows, '', '<=', WRITES.hour + 20)
  }
}

async function upstreams(options) {
  const { parties, prepare } = hostileStreams()
  await within({ ...options, prepare }, async (scene) => {
    for (const { kind, flood, reason, party, status } of parties) {
      const seconds = 5
      const title = `${kind}: ${flood}`
      await scene.under(title, {
        seconds,
        attack: async () => {
          party.tell({ flood, seconds: seconds + 2 })
          return []
        },
      })
      const at = status(await scene.aerie.status())
      note(`  ${words(party.counts)}; connected: ${at.connected}, connections after the first: ${at.reconnects}, reason: ${at.last_error ?? 'none'}, dropped: ${words(at.dropped)}`)
      if (reason) figure(`${title}: the connection ended with that as its reason`, Number(reason.test(at.last_error)), '', '>=', 1)
      await party.stop()
    }
    const asked = performance.now()
    const settled = async () => (await scene.aerie.status()).pending === 0
    while (!(await settled()) && performance.now() - asked < 60_000) await sleep(500)
    const { pending, parts } = await scene.aerie.status()
    note(`${format(pending)} questions that the floods raised are open after ${format((performance.now() - asked) / 1000)} s`)
    for (const { name, state, last_error } of parts) if (state !== 'running') note(`${name}: ${state}, ${last_error}`)
    const gone = []
    for (const did of await scene.alive()) if (!(await scene.shows(did))) gone.push(did)
    figure('accounts that are gone because a stranger said so', gone.length, '', '<=', 0)
  })
}

async function memory(options) {
  let tiny, big
  const prepare = async (scene) => {
    note('making 5.9 million blocks')
    tiny = await scene.launch('tinyBlocks', { dir: BENCH_DIR })
    big = await scene.launch('pictures', { side: 8000 })
    return () => {}
  }
  await within({ ...options, prepare }, async (scene) => {
    await scene.under('8 repos of 5.9 million blocks', {
      seconds: 30,
      attack: async () => {
        for (let i = 0; i < 8; i++) {
          const account = await scene.directory.newcomer(`http://127.3.0.${1 + i}:${tiny.info.port}`)
          await scene.good.logIn(await account.token(scene.net.appview.did, LOGIN), LOGIN, 15_000)
        }
        return []
      },
    })
    note(`  ${words(tiny.counts)}`)
    const owner = await scene.directory.newcomer(big.info.url)
    await scene.good.logIn(await owner.token(scene.net.appview.did, LOGIN), LOGIN, 15_000)
    let answers
    await scene.under('20 requests for a picture of 8000 x 8000', {
      seconds: 15,
      attack: async () => {
        answers = Promise.all(pictures(owner.did, big.info.cids[0]).map((path) => fetch(scene.aerie.url + path).then(({ status }) => status, (error) => error.message)))
        return []
      },
      beside: () => answers,
    })
    note(`  ${words(big.counts)}; answers: ${[...new Set(await answers)].join(', ')}`)
  })
}

/** Twenty requests for one picture, in all the sizes and formats that there are. */
export function pictures(did, cid) {
  const presets = ['avatar', 'avatar_thumbnail', 'banner', 'feed_thumbnail', 'feed_fullsize']
  const each = presets.flatMap((preset) => ['jpeg', 'webp'].map((format) => `/img/${preset}/plain/${did}/${cid}@${format}`))
  return [...each, ...each]
}

/** Each row: what attacks, and what else of the table has tests of its own. */
export const ROWS = { tokens, connections, accounts, upstreams, memory }
export const ELSEWHERE = [
  ['a clock that is behind, ahead or leaps', 'tests/clock.rs'],
  ['damage to each file of the store', 'tests/repair.rs and src/upkeep'],
  ['a full disk, no inodes, EIO, read-only, a folder gone, a second process', 'tests/disk.rs and tests/cli.rs'],
]
