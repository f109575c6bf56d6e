// `scripts/bench`: runs aerie against the simulator and prints what is measured beside what is aimed at.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import { connect } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { adminHeaders, BINARY, command, configure, startAerie } from './aerie.mjs'
import { writeRepo } from './car.mjs'
import { figure, format, note, printFigures } from './figures.mjs'
import { growth } from './growth.mjs'
import { hostile } from './hostile/main.mjs'
import { afterwards, Client, discover, extremes, page, procedures, promises, queries, summary } from './methods.mjs'
import { transitive } from './plc.mjs'
import { freePort } from './port.mjs'
import { searched } from './searched.mjs'
import { cidOf, startShapes } from './shapes.mjs'
import { ATSIM, BENCH_DIR, cpuSeconds, finish, folder, peakMb, position, remove, simulate, SIMULATOR_PORT, world } from './simulator.mjs'

const EVENTS = Number(process.env.BENCH_EVENTS ?? 500_000)
const RECORDS = Number(process.env.BENCH_RECORDS ?? 2_000_000)
const CALLS = Number(process.env.BENCH_CALLS ?? 1000)

const memory = '512MB'
const settings = (verify) => (s) => {
  s.store.memory_budget = memory
  s.network.verify = verify
}

/** Lets aerie catch up with a whole world: events a second from the first event on, peak memory, CPU. */
async function catchUp(shape, { verify = true, dir = folder(), port, past, change = settings(verify), begin } = {}) {
  const net = await simulate(shape, { port, past: past ?? fs.existsSync(path.join(dir, 'data')) })
  const aerie = await startAerie(net, { dir, change })
  await begin?.(aerie)
  let first
  let seq = 0
  while (seq < net.lastSeq) {
    await sleep(20)
    seq = await position(aerie)
    if (seq > 0) first ??= { at: performance.now(), seq, cpu: cpuSeconds(aerie.pid) }
  }
  const seconds = (performance.now() - first.at) / 1000
  const rate = (seq - first.seq) / seconds
  const [peak, cpu] = [peakMb(aerie.pid), cpuSeconds(aerie.pid) - first.cpu]
  note(`${format(seq)} events in ${format(seconds)} s, ${format(cpu)} s of CPU`)
  return { net, aerie, dir, rate, peak, cpu }
}

const mixed = (events) => world('mixed', events, ['--actors', String(Math.max(1000, events / 50))])

const sections = {
  async catchup() {
    const run = await catchUp(mixed(EVENTS))
    figure('catch-up, verified', run.rate, 'events/s', '>=', 20_000)
    figure('peak memory while catching up', run.peak, 'MB', '<=', 600)
    await finish(run)
    remove(run.dir)
  },

  async unverified() {
    const run = await catchUp(mixed(EVENTS), { verify: false })
    figure('catch-up, unverified', run.rate, 'events/s', '>=', 40_000)
    await finish(run)
    remove(run.dir)
  },

  // Of accounts that are known by then, as nearly all are on a server that has run for a while.
  async live() {
    const shape = mixed(EVENTS)
    const known = Math.max(0, EVENTS - 120_000)
    const net = await simulate(shape, { rate: 1000, past: known })
    const dir = folder()
    const aerie = await startAerie(net, { dir, change: settings(true) })
    while ((await position(aerie)) < known) await sleep(100)
    await sleep(10_000)
    const before = { cpu: cpuSeconds(aerie.pid), at: performance.now(), seq: await position(aerie) }
    await sleep(30_000)
    const seconds = (performance.now() - before.at) / 1000
    const cpu = cpuSeconds(aerie.pid) - before.cpu
    note(`${format(((await position(aerie)) - before.seq) / seconds)} events/s came in`)
    figure('live at 1,000 events/s, share of one core', (100 * cpu) / seconds, '%', '<=', 15)
    await finish({ net, aerie })
    remove(dir)
  },

  async disk() {
    const run = await catchUp(mixed(EVENTS), { verify: false })
    await finish(run)
    const stats = spawnSync(BINARY, ['db', 'stats', '--compact', '--json', '--config', run.aerie.config], { encoding: 'utf8' })
    if (stats.status !== 0) throw new Error(`db stats: ${stats.stderr}`)
    const { kinds } = JSON.parse(stats.stdout)
    for (const [kind, target] of [['like', 42], ['follow', 32], ['post', 250]]) {
      figure(`disk per ${kind}`, kinds[kind].bytes_each, 'B', '<=', target)
    }
    remove(run.dir)
  },

  search: searched,

  async startup() {
    const run = await loaded()
    await run.aerie.stop()
    const started = performance.now()
    const aerie = await startAerie(run.net, { dir: run.dir, change: settings(true) })
    figure(`ready after start with ${format(RECORDS)} events`, (performance.now() - started) / 1000, 's', '<=', 2)
    await finish({ net: run.net, aerie })
  },

  // Repos of some 400 and of some 20 records, and one of 450 MiB; then files through a server that follows a stream.
  async import() {
    const few = world('few', EVENTS, ['--seed', '7', '--actors', '1000'])
    const many = world('many', EVENTS * 0.8, ['--seed', '7', '--actors', String(EVENTS / 25), '--initial', '0.6'])
    for (const [shape, what] of [[few, '400'], [many, '20']]) {
      const net = await simulate(shape, { past: true })
      const cars = await carsOf(net, shape.file)
      const dir = folder()
      const { config } = configure(net, { dir, change: settings(true) })
      const known = await command(config, 'identity', 'import', upToNow(`${cars}/operations.jsonl`, dir))
      if (known.code !== 0) throw new Error(`identity import: ${known.output}`)
      const done = await importing(config, cars)
      figure(`import, repos of ${what} records`, done.records_per_s, 'records/s', '>=', 100_000)
      note(`${format(done.repos)} repos, peak memory ${format(done.peak)} MB`)
      await net.close()
      remove(dir)
    }
    const big = await bigRepo()
    const dir = folder()
    const done = await importing(configure(big, { dir, change: settings(true) }).config, big.file)
    figure('import, one repo of 450 MiB', done.records_per_s, 'records/s', '>=', 100_000)
    figure('peak memory with a repo of 450 MiB', done.peak, 'MB', '<=', 800)
    remove(dir)
    await big.close()
    await importedLive(`${many.file}.cars`)
  },

  async load() {
    const run = await loaded()
    const mix = path.join(BENCH_DIR, 'mix.json')
    fs.writeFileSync(mix, JSON.stringify({ getProfile: 20, getPosts: 20, getPostThread: 20, getAuthorFeed: 20, getTimeline: 20 }))
    const args = ['load', '--appview', run.net.appview.url, '--from', mixed(RECORDS).file, '--aud', run.net.appview.did]
    const out = spawnSync(ATSIM, [...args, '--concurrency', '8', '--duration', '20', '--limit', '25', '--mix', mix], { encoding: 'utf8' })
    if (out.status !== 0) throw new Error(`atsim load: ${out.stderr}`)
    const { total, endpoints } = JSON.parse(out.stdout)
    if (Object.keys(total.errors).length > 0) note(`errors: ${JSON.stringify(total.errors)}`)
    figure('requests in the mix', total.perSecond, '/s', '>=', 3000)
    for (const [nsid, { p99Ms }] of Object.entries(endpoints)) {
      const method = nsid.split('.').at(-1)
      figure(`${method} p99`, p99Ms, 'ms', '<=', method === 'getTimeline' ? 20 : 5)
    }
    await finish(run)
  },

  methods: everyMethod,

  extremes: everyExtreme,

  growth,

  // All that one upstream said is months old and goes, while another one is followed.
  async prune() {
    const base = await loaded()
    await finish(base)
    const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 11) + '00:00:00Z'
    const young = world(`young-${yesterday.slice(0, 10)}`, EVENTS, ['--seed', '7', '--actors', '10000', '--start', yesterday, '--days', '1'])
    const port = String(Number(SIMULATOR_PORT) + 1)
    const change = (s) => {
      settings(true)(s)
      s.scope = { mode: 'window', days: 30 }
    }
    const gone = async (aerie) => {
      const { scope } = await aerie.status()
      if (!scope.running) note('retention has ended: more BENCH_RECORDS or fewer BENCH_EVENTS are needed')
      return Object.values((scope.running?.so_far ?? scope.last).deleted).reduce((a, b) => a + b)
    }
    const figures = { false: { rate: 0, cpu: 0, live: 0 }, true: { rate: 0, cpu: 0, live: 0 } }
    // Twice by turns, since a machine is not as fast at all times.
    for (const pruning of [false, true, false, true]) {
      const dir = folder()
      fs.cpSync(base.aerie.store, path.join(dir, 'data'), { recursive: true })
      const begin = (aerie) => pruning && command(aerie.config, 'retention', 'run', '--detach')
      const run = await catchUp(young, { dir, port, past: false, change, begin })
      figures[pruning].rate += run.rate
      figures[pruning].cpu += run.cpu
      note(`${format(run.rate)} events/s${pruning ? `, ${format(await gone(run.aerie))} old records went meanwhile` : ''}`)
      await finish(run)
      remove(path.join(dir, 'data'))
      fs.cpSync(base.aerie.store, path.join(dir, 'data'), { recursive: true })
      const net = await simulate(young, { rate: 1000, port })
      const aerie = await startAerie(net, { dir, change })
      await begin(aerie)
      await sleep(5000)
      const before = { cpu: cpuSeconds(aerie.pid), at: performance.now(), seq: await position(aerie), gone: pruning && (await gone(aerie)) }
      let lag = 0
      while (performance.now() < before.at + 20_000) {
        await sleep(100)
        const sent = await fetch(`${net.pds.url}/sim/state`).then((r) => r.json())
        lag = Math.max(lag, sent.seq - (await position(aerie)))
      }
      const seconds = (performance.now() - before.at) / 1000
      const [cpu, events] = [(cpuSeconds(aerie.pid) - before.cpu) / seconds, ((await position(aerie)) - before.seq) / seconds]
      note(`live: ${format(events)} events/s with ${format(100 * cpu)} % of a core, ${format(lag)} behind at worst`)
      if (pruning) note(`${format(((await gone(aerie)) - before.gone) / seconds)} old records a second went meanwhile`)
      figures[pruning].live += events
      await finish({ net, aerie })
      remove(dir)
    }
    const share = (key) => (100 * figures.true[key]) / figures.false[key]
    figure('catch-up while old records go, of that without', share('rate'), '%', '>=', 80)
    figure('CPU of that catch-up, of that without', share('cpu'), '%', '<=', 120)
    figure('1,000 events/s while old records go, of that without', share('live'), '%', '>=', 80)
  },

  async images() {
    const net = await pictures(120)
    const dir = folder()
    const aerie = await startAerie(net, { dir, change: settings(true) })
    for (const [suffix, kind] of [['', 'WebP'], ['@jpeg', 'JPEG']]) {
      const paths = net.cids.map((cid) => `/img/feed_thumbnail/plain/${net.did}/${cid}${suffix}`)
      const cpu = cpuSeconds(aerie.pid)
      const made = await fetchAll(net.appview.port, paths, 8)
      figure(`2000 x 1500 JPEG to feed_thumbnail, ${kind}`, paths.length / made.seconds, '/s', '>=', 20)
      note(`${format((1000 * (cpuSeconds(aerie.pid) - cpu)) / paths.length)} ms of CPU and ${format(made.bytes / paths.length / 1024)} KB each`)
      const many = Array.from({ length: 20_000 }, (_, i) => paths[i % paths.length])
      const cached = await fetchAll(net.appview.port, many, 16)
      figure(`the same from the cache, ${kind}`, many.length / cached.seconds, '/s', '>=', 2000)
    }
    const { images } = await aerie.status()
    if (images.resized !== 2 * net.cids.length) throw new Error(`made ${images.resized} images`)
    figure('peak memory with images', peakMb(aerie.pid), 'MB', '<=', 600)
    await finish({ net, aerie })
    remove(dir)
  },
}

/** Every method that is served, on the load world and on a world of extremes. */
async function everyMethod() {
  const listed = JSON.parse(spawnSync(BINARY, ['xrpc', 'list', '--json'], { encoding: 'utf8' }).stdout)
  const served = listed.filter((method) => !method.notServed)
  // What is asked writes: the loaded store itself must stay as it is.
  const first = await loaded()
  await first.aerie.stop()
  const dir = folder()
  spawnSync('cp', ['-a', `${first.dir}/.`, dir])
  const aerie = await startAerie(first.net, { dir, change: settings(true) })
  try {
    const client = new Client(first.net)
    const w = await discover(client, first.net)
    note(`${w.dids.length} accounts, ${w.posts.length} posts, ${w.lists.length} lists, ${w.feeds.length} feeds, ${w.packs.length} packs`)
    for (const [nsid, make] of Object.entries(procedures(w))) await written(aerie.pid, client, nsid, make, w.viewers)
    const asked = queries(w)
    for (const { nsid, kind, auth, params } of served) {
      const make = asked[nsid]
      if (kind !== 'query') continue
      if (!make) {
        note(`${nsid}: not asked here`)
        continue
      }
      const viewers = auth === 'none' || auth === 'admin' ? undefined : w.viewers
      const most = nsid === 'com.atproto.label.queryLabels' ? 250 : 100
      for (const limit of params.some(({ name }) => name === 'limit') ? [undefined, most] : [undefined]) {
        const options = { times: CALLS, limit, viewers, headers: auth === 'admin' ? adminHeaders : {} }
        await timed(aerie.pid, () => page(client, nsid, make, options), (answers) => promises(nsid, limit, answers))
      }
    }
    for (const [nsid, make] of Object.entries(afterwards(w))) await written(aerie.pid, client, nsid, make, w.viewers)
    client.close()
  } finally {
    await finish({ net: first.net, aerie })
    remove(dir)
  }
}

async function everyExtreme() {
  const net = await startShapes()
  const dir = folder()
  const { world: w } = net
  const aerie = await startAerie(net, {
    dir,
    change(s) {
      settings(false)(s)
      s.network.jetstream = s.network.upstreams.splice(0)
      s.labels = { labelers: [], default: [] }
      s.community = { list: w.club.uri }
    },
  })
  try {
    await aerie.caughtUp(300_000)
    note(`${format(w.log.length)} records of ${format(w.names.length)} accounts`)
    const client = new Client(net)
    const post = 'community.blacksky.feed.submitPost'
    await written(aerie.pid, client, post, (i) => ({ rkey: w.rkey(), text: `hello ${i}`, createdAt: new Date().toISOString() }), [w.heavy, ...w.crowd.slice(0, 3)])
    for (const [name, nsid, params, viewer, most] of extremes(w)) {
      const options = { times: CALLS >> 1, viewers: viewer && [viewer] }
      await timed(aerie.pid, () => page(client, nsid, () => params, options), (answers) => [[`${nsid.split('.').at(-1)}: ${name}`, most, answers]])
    }
    client.close()
  } finally {
    await finish({ net, aerie })
    remove(dir)
  }
}

/** Asks, and notes what the answers took, by what was promised of them: name, milliseconds if there is a promise, answers. */
async function timed(pid, ask, promised) {
  const before = cpuSeconds(pid)
  const answers = await ask()
  const cpu = (1000 * (cpuSeconds(pid) - before)) / answers.length
  for (const [name, most, some] of promised(answers)) if (some.length > 0) took(name, most, some, cpu)
}

function took(name, most, answers, cpu) {
  const { p50, p99, max, bytes, statuses } = summary(answers)
  if (!statuses[200]) return note(`${name}: never 200 but ${JSON.stringify(statuses)}, ${answers[0].body}`)
  const failed = Object.entries(statuses).filter(([status]) => status !== '200').map(([status, n]) => `, ${n} x ${status}`)
  const more = `; ${answers.length} calls, p50 ${format(p50)}, worst ${format(max)}, CPU ${format(cpu)} ms, ${format(bytes / 1024)} KB${failed.join('')}`
  if (most) figure(`${name} p99`, p99, 'ms', '<=', most, more)
  else note(`${name} p99: ${format(p99)} ms${more}`)
}

/** What a procedure takes: its answer waits for the disk. */
const written = (pid, client, nsid, make, viewers) => {
  const ask = async () => {
    const answers = []
    for (let i = 0; i < CALLS >> 1; i++) {
      answers.push(await client.ask(nsid, { input: make(i, 'did:web:appview.example'), viewer: viewers[i % viewers.length] }))
    }
    return answers
  }
  return timed(pid, ask, (answers) => [[`${nsid}, waits for fsync`, undefined, answers]])
}

/** Every repo of a network as a file, and the operations of its directory; the folder. */
async function carsOf(net, world) {
  const dir = `${world}.cars`
  if (fs.existsSync(dir)) return dir
  const making = `${dir}.part`
  fs.mkdirSync(making, { recursive: true })
  const get = (route) => fetch(net.pds.url + route)
  const dids = []
  for (let cursor = ''; cursor !== undefined; ) {
    const page = await (await get(`/xrpc/com.atproto.sync.listRepos?limit=1000${cursor && `&cursor=${cursor}`}`)).json()
    dids.push(...page.repos.filter((repo) => repo.active !== false).map((repo) => repo.did))
    cursor = page.cursor
  }
  const one = async (did) => {
    const answer = await get(`/xrpc/com.atproto.sync.getRepo?did=${did}`)
    if (answer.ok) fs.writeFileSync(path.join(making, `${did.split(':')[2]}.car`), Buffer.from(await answer.arrayBuffer()))
  }
  await Promise.all(Array.from({ length: 8 }, async () => { while (dids.length) await one(dids.pop()) }))
  for (let after = ''; ; ) {
    const text = await (await get(`/export?count=1000${after && `&after=${after}`}`)).text()
    fs.appendFileSync(path.join(making, 'operations.jsonl'), text.trim() + '\n')
    const last = text.trim() && JSON.parse(text.trim().split('\n').at(-1)).createdAt
    if (!last || last === after || text.trim().split('\n').length < 1000) break
    after = last
  }
  fs.renameSync(making, dir)
  return dir
}

/** Operations with one more of another DID, made now: an export that was just read. */
function upToNow(file, dir) {
  const lines = fs.readFileSync(file, 'utf8').trim().split('\n')
  const did = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
  lines.push(JSON.stringify({ ...JSON.parse(lines.at(-1)), did, createdAt: new Date().toISOString() }))
  const out = path.join(dir, 'operations.jsonl')
  fs.writeFileSync(out, lines.join('\n') + '\n')
  return out
}

/** `aerie repo import` to its end, with its peak memory. */
async function importing(config, files) {
  const child = spawn(BINARY, ['repo', 'import', files, '--json', '--config', config], { stdio: ['ignore', 'pipe', 'ignore'] })
  let [output, peak] = ['', 0]
  child.stdout.on('data', (data) => (output += data))
  const watch = setInterval(() => (peak = Math.max(peak, memoryMb(child.pid))), 50)
  const [code] = await once(child, 'close')
  clearInterval(watch)
  if (code !== 0) throw new Error(`repo import: ${output}`)
  return { ...JSON.parse(output), peak }
}
const memoryMb = (pid) => {
  try {
    return peakMb(pid)
  } catch {
    return 0 // It ended.
  }
}

/** A directory that knows the owner of one very big repo, which is in a file. */
async function bigRepo() {
  const { Secp256k1Keypair } = await transitive('@atproto/crypto')
  const key = await Secp256k1Keypair.import('02'.repeat(32))
  const did = 'did:plc:bigbigbigbigbigbigbigbig'
  const file = path.join(BENCH_DIR, 'big.car')
  if (!fs.existsSync(file)) await writeRepo(file, did, key, 1_390_000)
  const server = http.createServer((req, res) => {
    if (decodeURIComponent(req.url) !== `/${did}`) return res.writeHead(404).end()
    const verificationMethod = [{ id: `${did}#atproto`, type: 'Multikey', controller: did, publicKeyMultibase: key.did().slice(8) }]
    const service = [{ id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: origin }]
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ id: did, verificationMethod, service }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${server.address().port}`
  return { ...networkAt(origin, await freePort()), file, close: () => server.close() }
}

const networkAt = (origin, port) => ({
  plc: { url: origin },
  pds: { url: origin },
  firehose: { url: origin.replace('http', 'ws') },
  labeler: { did: 'did:plc:bbbbbbbbbbbbbbbbbbbbbbbb', url: origin, seq: 0 },
  appview: { port, url: `http://127.0.0.1:${port}`, did: 'did:web:appview.example', signingKeyHex: '01'.repeat(32) },
})

/** Follows a stream of 1,000 events a second while files of other accounts come in. */
async function importedLive(cars) {
  const net = await simulate(mixed(EVENTS), { rate: 1000 })
  const dir = folder()
  const { config } = configure(net, { dir, change: settings(true) })
  const known = await command(config, 'identity', 'import', upToNow(`${cars}/operations.jsonl`, dir))
  if (known.code !== 0) throw new Error(`identity import: ${known.output}`)
  const aerie = await startAerie(net, { dir, change: settings(true) })
  await sleep(5000)
  const released = async () => (await (await fetch(`${net.plc.url}/sim/state`)).json()).seq
  let [worst, over] = [0, false]
  const watch = (async () => {
    while (!over) {
      worst = Math.max(worst, ((await released()) - (await position(aerie))) / 1000)
      await sleep(100)
    }
  })()
  const done = await importing(aerie.config, cars)
  over = true
  await watch
  figure('live lag while files come in', worst, 's', '<=', 2)
  note(`${format(done.records_per_s)} records/s beside 1,000 events/s, peak memory ${format(peakMb(aerie.pid))} MB`)
  await finish({ net, aerie })
  remove(dir)
}

/** A PDS with `count` photographs of one account, and the directory that names it; nothing else of a network. */
async function pictures(count) {
  const { default: sharp } = await transitive('sharp')
  const did = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
  const blobs = new Map()
  const noise = { type: 'gaussian', mean: 128, sigma: 30 }
  // Soft shapes with a little grain, as a camera makes them; bytes after its end make each file a different blob.
  const shapes = await sharp({ create: { width: 100, height: 75, channels: 3, background: 'grey', noise } })
    .resize(2000, 1500, { kernel: 'cubic' }).modulate({ saturation: 2 }).toBuffer({ resolveWithObject: true })
  const grain = await sharp({ create: { width: 2000, height: 1500, channels: 3, background: 'grey', noise: { ...noise, sigma: 6 } } }).png().toBuffer()
  const { width, height, channels } = shapes.info
  const photo = await sharp(shapes.data, { raw: { width, height, channels } })
    .composite([{ input: grain, blend: 'soft-light' }]).jpeg({ quality: 85 }).toBuffer()
  note(`a photograph has ${format(photo.length / 1024)} KB`)
  for (let i = 0; i < count; i++) {
    const bytes = Buffer.concat([photo, Buffer.from(String(i))])
    blobs.set(cidOf(bytes, 0x55), bytes)
  }
  const server = http.createServer((req, res) => {
    const url = new URL(req.url, 'http://x')
    const blob = url.pathname === '/xrpc/com.atproto.sync.getBlob' && blobs.get(url.searchParams.get('cid'))
    if (blob) return res.writeHead(200, { 'content-type': 'image/jpeg' }).end(blob)
    if (url.pathname !== `/${encodeURIComponent(did)}` && url.pathname !== `/${did}`) return res.writeHead(404).end()
    const service = [{ id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: origin }]
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ id: did, service }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${server.address().port}`
  return {
    ...networkAt(origin, await freePort()),
    did,
    cids: [...blobs.keys()],
    async close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** GETs all paths over a few connections that count bytes and do nothing else, so that the client is not measured. */
async function fetchAll(port, paths, connections) {
  let next = 0
  let bytes = 0
  const started = performance.now()
  const one = () =>
    new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      let left = 0
      let head = Buffer.alloc(0)
      const ask = () => {
        if (next === paths.length) return socket.end(resolve)
        socket.write(`GET ${paths[next++]} HTTP/1.1\r\nhost: localhost\r\n\r\n`)
      }
      socket.on('connect', ask).on('error', reject)
      socket.on('data', (data) => {
        if (left === 0) {
          head = Buffer.concat([head, data])
          const end = head.indexOf('\r\n\r\n')
          if (end < 0) return
          const text = head.toString('latin1', 0, end)
          if (!text.startsWith('HTTP/1.1 200')) return reject(new Error(text))
          left = Number(text.match(/content-length: (\d+)/i)[1])
          bytes += left
          data = head.subarray(end + 4)
          head = Buffer.alloc(0)
        }
        left -= data.length
        if (left === 0) ask()
      })
    })
  await Promise.all(Array.from({ length: connections }, one))
  return { seconds: (performance.now() - started) / 1000, bytes }
}

/** aerie with the load world in it; kept between runs, since filling it takes long. */
async function loaded() {
  const dir = path.join(BENCH_DIR, `loaded-${RECORDS}`)
  return catchUp(mixed(RECORDS), { dir })
}

const chosen = process.argv.slice(2)
if (chosen[0] === 'hostile') {
  await hostile(chosen.splice(0).slice(1))
  printFigures()
  process.exit(0)
}
for (const name of chosen) if (!(name in sections)) throw new Error(`no section ${name}; there are ${Object.keys(sections).join(', ')}`)
for (const name of chosen.length ? chosen : Object.keys(sections)) {
  console.log(`\n== ${name}`)
  await sections[name]()
}
printFigures()
