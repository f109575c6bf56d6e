// Everything at once under a steady stream for a long time: memory stays flat, good clients are served, and afterwards
// the store is right.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { command } from '../aerie.mjs'
import { figure, format, note } from '../figures.mjs'
import { ATSIM, BENCH_DIR, position, residentMb } from '../simulator.mjs'
import { p } from './good.mjs'
import { NSIDS, pictures } from './rows.mjs'
import { hasNetwork64, LOGIN, RATE, startScene, words } from './scene.mjs'
import { hostileStreams } from './streams.mjs'

/** What is asked for beside the attacks, a second; all of one run stays below what eight addresses may ask for. */
const BROWSE = 20
/** Seconds of the stream for all that comes before and after. */
const MARGIN = 60
/** A flood of a stream, and the rest until the next one, in seconds. */
const [FLOOD, BETWEEN] = [5, 5]
const FETCH_EVERY = 120
const MOODS = [undefined, 'refuses', undefined, 'slow', undefined, 'silent', undefined, 'garbage']
const MOOD_SECONDS = 30

export async function mixed({ seed, minutes }) {
  const seconds = minutes * 60
  const { parties: streams, prepare: prepareStreams } = hostileStreams()
  let hosts
  const prepare = async (scene) => {
    hosts = {
      tiny: await scene.launch('tinyBlocks', { dir: BENCH_DIR }),
      big: await scene.launch('pictures', { side: 8000, count: Math.ceil(seconds / FETCH_EVERY) + 1 }),
    }
    return prepareStreams(scene)
  }
  const scene = await startScene({ seed, seconds: seconds + MARGIN, prepare })
  try {
    await scene.calm()
    const clients = await strangers(scene)
    const end = performance.now() + seconds * 1000
    const over = () => performance.now() > end
    note(`all attacks for ${format(minutes)} minutes`)
    const mark = { at: performance.now(), seq: await position(scene.aerie) }
    const [spell, memory, members] = await Promise.all([
      scene.good.browse(BROWSE, over),
      watchMemory(scene, over),
      logIns(scene, over),
      floodInTurn(streams, over),
      fetchInTurn(scene, hosts, over),
      moods(scene, over),
    ])
    const applied = ((await position(scene.aerie)) - mark.seq) / ((performance.now() - mark.at) / 1000)
    scene.directory.become(undefined)
    for (const party of [...clients, ...streams.map(({ party }) => party), ...Object.values(hosts)]) {
      note(`  ${party.kind}${party.name ? ` (${party.name})` : ''}: ${words(await party.stop())}`)
    }
    note(`the directory: ${words(scene.directory.counts)}`)
    scene.judge('all at once', spell, applied, memory[0].mb)
    judgeMemory(memory)
    figure('all at once: known members log in, p99', p(members, 0.99) / 1000, 's', '<=', 1)
    await afterwards(scene)
  } finally {
    await scene.close()
  }
}

/** Clients of every kind, each at its own address, all of them through the whole time. */
async function strangers(scene) {
  const path = `/xrpc/app.bsky.actor.getProfile?actor=${scene.known[0]}`
  const large = scene.known.slice(0, 20).map((did) => `/xrpc/app.bsky.feed.getAuthorFeed?limit=100&actor=${did}`)
  const some = [
    ['forged', { rate: 300, addresses: 20, known: scene.known }],
    ['idle', { most: 5000, rate: 100, path, address: '127.1.2.1' }],
    ['slowloris', { most: 2000, rate: 50, path, address: '127.1.2.2' }],
    ['slowReaders', { most: 500, rate: 20, large, address: '127.1.2.3' }],
    ['windowZero', { most: 140, rate: 5, large, address: '127.1.2.4' }],
  ]
  if (hasNetwork64) some.push(['idle', { name: 'a /64', most: 5000, rate: 100, path, from: '/64' }])
  for (const [i, [kind, nsid]] of Object.entries(NSIDS).entries()) {
    // Not among those who log in.
    const did = scene.members.at(-1 - i)
    const connections = kind === 'feeds' ? 40 : 8
    some.push([kind, { did, nsid, rate: 50, connections, address: `127.1.1.${1 + i}`, actors: scene.known }])
  }
  const launched = []
  for (const [kind, { did, nsid, ...options }] of some) {
    const token = did && (await scene.net.token(did, nsid, 3600))
    launched.push(await scene.launch(kind, { ...options, token }))
  }
  return launched
}

/** Each hostile upstream and labeler floods for a while, one after the other. */
async function floodInTurn(streams, over) {
  for (let turn = 0; !over(); turn++) {
    const { flood, party } = streams[turn % streams.length]
    party.tell({ flood, seconds: FLOOD })
    await sleep((FLOOD + BETWEEN) * 1000)
  }
}

/** Again and again somebody new whose repo is millions of blocks, and a picture that nobody has seen. */
async function fetchInTurn(scene, { tiny, big }, over) {
  for (let turn = 0; !over(); turn++) {
    const account = await scene.directory.newcomer(`http://127.3.0.${1 + (turn % 200)}:${tiny.info.port}`)
    const owner = await scene.directory.newcomer(big.info.url)
    await Promise.all([account, owner].map(async (one) => scene.good.logIn(await one.token(scene.net.appview.did, LOGIN), LOGIN, 10_000)))
    const asked = pictures(owner.did, big.info.cids[turn % big.info.cids.length])
    await Promise.all(asked.map((path) => fetch(scene.aerie.url + path).then((res) => res.arrayBuffer(), () => undefined)))
    for (let s = 0; s < FETCH_EVERY && !over(); s++) await sleep(1000)
  }
}

/** The directory is honest and otherwise by turns. */
async function moods(scene, over) {
  for (let turn = 0; !over(); turn++) {
    scene.directory.become(MOODS[turn % MOODS.length])
    for (let s = 0; s < MOOD_SECONDS && !over(); s++) await sleep(1000)
  }
}

/** A known member logs in each second. */
async function logIns(scene, over) {
  const times = []
  const members = scene.members.slice(0, 30)
  for (let i = 0; !over(); i++) {
    const token = await scene.net.token(members[i % members.length], LOGIN, 3000 + (i % 600))
    const { ms } = await scene.good.logIn(token, LOGIN, 5000)
    times.push(ms ?? Infinity)
    await sleep(1000)
  }
  return times
}

async function watchMemory(scene, over) {
  const seen = []
  while (!over()) {
    seen.push({ at: performance.now() / 1000, mb: residentMb(scene.aerie.pid) })
    await sleep(1000)
  }
  return seen
}

/** How memory went: the slope of its second and third thirds, and how much more the last third takes than the one before. */
function judgeMemory(seen) {
  const third = Math.floor(seen.length / 3)
  const mean = (some, what) => some.reduce((sum, one) => sum + what(one), 0) / some.length
  const [, middle, last] = [0, 1, 2].map((n) => seen.slice(n * third, (n + 1) * third))
  const settled = [...middle, ...last]
  const [at, mb] = [mean(settled, (one) => one.at), mean(settled, (one) => one.mb)]
  const slope = mean(settled, (one) => (one.at - at) * (one.mb - mb)) / mean(settled, (one) => (one.at - at) ** 2)
  note(`memory: ${format(seen[0].mb)} MB at first, ${format(mean(middle, (one) => one.mb))} MB in the second third, ${format(mean(last, (one) => one.mb))} MB in the last; slope ${format(slope * 3600)} MB an hour`)
  figure('all at once: growth of memory from the second third to the last', mean(last, (one) => one.mb) - mean(middle, (one) => one.mb), 'MB', '<=', 25)
}

/** When the stream is over: nothing is left to do, what readers see is what it said, and the store fits together. */
async function afterwards(scene) {
  const { aerie, net, shape } = scene
  const done = async () => (await position(aerie)) >= net.lastSeq
  const left = (net.lastSeq - (await position(aerie))) / RATE
  await aerie.until('the end of the stream', done, (left + 60) * 1000)
  const started = performance.now()
  while ((await aerie.status()).pending > 0 && performance.now() - started < 120_000) await sleep(500)
  const { pending, counters, parts } = await aerie.status()
  note(`${format(pending)} questions are open after ${format((performance.now() - started) / 1000)} s`)
  figure('afterwards: parts that do not run', parts.filter(({ state }) => state !== 'running').length, '', '<=', 0)
  note(`refused: ${words(counters['limits.refused'] ?? {})}`)
  const checked = await run(ATSIM, ['check', '--appview', aerie.url, '--from', shape.file, '--aud', net.appview.did])
  figure('afterwards: atsim check', checked.code, 'as its exit code', '<=', 0)
  if (checked.code !== 0) note(checked.output.slice(-2000))
  await aerie.stop()
  const { code, output } = await command(aerie.config, 'db', 'check')
  figure('afterwards: db check', code, 'as its exit code', '<=', 0)
  if (code !== 0) note(output.slice(-2000))
}

async function run(binary, args) {
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data))
  const [code] = await once(child, 'close')
  return { code, output }
}
