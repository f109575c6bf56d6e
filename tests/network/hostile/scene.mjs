// The server that is attacked: with a world in it, under a steady stream, with a good client beside it.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startAerie } from '../aerie.mjs'
import { figure, format, note } from '../figures.mjs'
import { folder, position, remove, residentMb, simulate, world } from '../simulator.mjs'
import { startDirectory } from './directory.mjs'
import { Good } from './good.mjs'
import { launch } from './party.mjs'
import { Random } from './random.mjs'

const BUDGET_MB = 256
/** What a server may take beyond what it was given. */
const MEMORY_MB = BUDGET_MB * 1.3
/** What the server has before anything happens, and what comes each second afterwards. */
const BASE = 120_000
export const RATE = 200
const MEMBERS = 40
/** What a client asks first: good for nothing but to show that it is let in. */
export const LOGIN = 'app.bsky.notification.getUnreadCount'
/** Whether every address of the networks for documentation is this machine's, see `alone.mjs`. */
export const hasNetwork64 = process.env.BENCH_ALONE === '1'

/** The server's settings in every scene. */
const settings = (directory) => (s) => {
  s.store.memory_budget = `${BUDGET_MB}MB`
  // Attackers and the good client come from other addresses of this machine, which are strangers.
  s.server.trusted_proxies = ['127.0.0.1']
  if (hasNetwork64) s.server.listen = s.server.listen.replace('127.0.0.1', '[::]')
  s.network.plc_url = directory.url
}

const worldFor = (seconds) => {
  const events = BASE + RATE * Math.max(seconds, 400)
  return world('hostile', events, ['--actors', String(Math.ceil(BASE / 20)), '--seed', '13'])
}

/** A store with the beginning of a world, and members; made once. */
async function baseOf(shape) {
  const dir = `${shape.file}.base`
  if (!fs.existsSync(dir)) await fill(shape, dir)
  return { dir, ...JSON.parse(fs.readFileSync(path.join(dir, 'base.json'), 'utf8')) }
}

async function fill(shape, dir) {
  note('filling a store')
  const making = `${dir}.part`
  remove(making)
  const seq = await fillTo(BASE, shape, making)
  // As good as stopped, so that members' repos come from the same state.
  const facts = await running(shape, { rate: 1, past: seq }, making, async (net, aerie) => {
    const known = await knownTo(net)
    for (const did of known.slice(0, MEMBERS)) {
      await fetch(`${net.appview.url}/xrpc/${LOGIN}`, { headers: { authorization: `Bearer ${await net.token(did, LOGIN)}` } })
    }
    await aerie.until('members are complete', async () => (await aerie.status()).pending === 0, 60_000)
    return { seq: await net.released(), known }
  })
  fs.writeFileSync(path.join(making, 'base.json'), JSON.stringify(facts))
  fs.renameSync(making, dir)
}

/** Gives a number that is not far behind what the store has then. */
const fillTo = (events, shape, dir) =>
  running(shape, { rate: 15_000 }, dir, async (net, aerie) => {
    while ((await position(aerie)) < events) await sleep(5)
    const seq = await net.released()
    await net.close()
    return seq + 2000
  })

/** Runs the server on the simulator alone, for as long as `work` takes. */
async function running(shape, serving, dir, work) {
  const net = await simulate(shape, serving)
  let aerie
  try {
    aerie = await startAerie(net, { dir, change: settings(net.plc) })
    return await work(net, aerie)
  } finally {
    await aerie?.stop()
    await net.close()
  }
}

const activeActors = async (net) => {
  const { actors } = await (await fetch(`${net.pds.url}/sim/actors?cursor=1&limit=1000`)).json()
  return actors.filter(({ active }) => active).map(({ did }) => did)
}
const shows = async (net, did) => (await fetch(`${net.appview.url}/xrpc/app.bsky.actor.getProfile?actor=${did}`)).ok

/** Accounts of the simulator that the server can show. */
async function knownTo(net) {
  const known = []
  for (const did of await activeActors(net)) if (known.length < 500 && (await shows(net, did))) known.push(did)
  return known
}

/**
 * Starts it. `prepare(scene)` may launch parties first and gives what changes the settings; `seconds` is how long the
 * stream has to last.
 */
export async function startScene({ seed, seconds = 0, prepare = async () => () => {} }) {
  const shape = worldFor(seconds)
  const base = await baseOf(shape)
  const dir = folder()
  spawnSync('cp', ['-a', path.join(base.dir, 'data'), dir])
  const net = await simulate(shape, { rate: RATE, past: base.seq })
  const directory = await startDirectory(net.plc.url, new Random(seed, 'directory'))
  const scene = new Scene({ seed, shape, net, directory, dir, known: base.known, members: base.known.slice(0, MEMBERS) })
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => scene.close().finally(() => process.exit(1)))
  try {
    const change = await prepare(scene)
    const both = (s) => {
      settings(directory)(s)
      change(s)
    }
    scene.aerie = await startAerie(net, { dir, change: both })
    const [first] = (await scene.aerie.status()).upstreams
    await scene.aerie.until('the stream is followed', async () => (await position(scene.aerie)) > (first.seq ?? 0), 30_000)
    scene.watch()
  } catch (error) {
    await scene.close()
    throw error
  }
  return scene
}

class Scene {
  #parties = []
  #peak = 0
  #timer

  constructor(parts) {
    Object.assign(this, parts)
    this.good = new Good(this.net.appview.port, this.known, new Random(this.seed, 'good client'))
  }

  get port() {
    return this.net.appview.port
  }

  /** Peak memory is that of the system's count, a few times a second, since the count of the kernel cannot be begun anew. */
  watch() {
    this.#timer = setInterval(() => {
      if (this.aerie.isRunning()) this.#peak = Math.max(this.#peak, residentMb(this.aerie.pid))
    }, 50)
  }

  async launch(kind, options = {}) {
    const party = await launch(kind, { port: this.port, aud: this.net.appview.did, seed: this.seed, ...options })
    this.#parties.push(party)
    return party
  }

  async calm(seconds = 8) {
    await this.good.browseFor(2)
    this.before = await this.good.browseFor(seconds)
    const { p50, p99, freshP50 } = this.before
    note(`calm: p50 ${format(p50)} ms, p99 ${format(p99)} ms; with a new connection p50 ${format(freshP50)} ms`)
  }

  /**
   * Lets `attack` begin, gives it two seconds, and browses for some. `beside` runs meanwhile. Says what the good client
   * got and what the server took, and holds it against the targets that every row has.
   */
  async under(name, { attack, seconds = 10, beside = async () => {} }) {
    this.#peak = 0
    const held = residentMb(this.aerie.pid)
    const parties = await attack()
    await sleep(2000)
    const mark = { at: performance.now(), seq: await position(this.aerie) }
    const [spell, found] = await Promise.all([this.good.browseFor(seconds), beside()])
    const applied = ((await position(this.aerie)) - mark.seq) / ((performance.now() - mark.at) / 1000)
    const counts = await Promise.all(parties.map((party) => party.stop()))
    await this.judge(name, spell, held)
    figure(`${name}: events applied of those sent`, (100 * applied) / RATE, '%', '>=', 95)
    parties.forEach(({ kind }, i) => note(`  ${kind}: ${words(counts[i])}`))
    return { spell, found, counts, applied }
  }

  /** Holds what the good client got, and memory, against what every row demands. */
  async judge(name, spell, held) {
    const peak = this.#peak
    const alive = new Set(await this.alive())
    spell.forgive((did) => alive.has(did))
    const lacking = spell.lacking.map(([what, n]) => `${n} x ${what}`).join(', ') || 'none'
    note(`${name}: p50 ${format(spell.p50)} ms, p99 ${format(spell.p99)} ms, new connection p50 ${format(spell.freshP50)} ms; ${spell.statuses[200] ?? 0} answers, not answered: ${lacking}`)
    const worst = Math.max(spell.p50 / this.before.p50, spell.freshP50 / this.before.freshP50)
    figure(`${name}: p50 of a good client`, worst, 'x calm', '<=', 5)
    figure(`${name}: its requests without an answer`, spell.lacking.reduce((sum, [, n]) => sum + n, 0), '', '<=', 0)
    figure(`${name}: peak memory`, peak, 'MB', '<=', MEMORY_MB, `, ${format(held)} MB before`)
  }

  /** From now on the stream comes as fast as it can. */
  async hurry() {
    const past = await this.net.released()
    await this.net.close()
    const { appview } = this.net
    this.net = { ...(await simulate(this.shape, { past })), appview }
  }

  /** Of the accounts that the server had in the beginning, those that are still there. */
  async alive() {
    const active = new Set(await activeActors(this.net))
    return this.known.filter((did) => active.has(did))
  }

  shows(did) {
    return shows(this.net, did)
  }

  async close() {
    clearInterval(this.#timer)
    this.good.close()
    await Promise.all(this.#parties.map((party) => party.stop()))
    await this.aerie?.stop()
    this.directory.close()
    await this.net.close()
    if (!process.env.BENCH_KEEP) remove(this.dir)
  }
}

export const words = (counts) => Object.entries(counts).map(([what, n]) => `${what} ${format(n)}`).join(', ') || 'nothing'
