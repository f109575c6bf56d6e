// `scripts/bench growth`: the same server with half a million, two and five million events of a network with its real shares
// of records and 25 events an account, side by side. What is quick in a small world may not be so in a year.
import fs from 'node:fs'
import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { BINARY, startAerie } from './aerie.mjs'
import { figure, format, note } from './figures.mjs'
import { p } from './hostile/good.mjs'
import { Client, discover } from './methods.mjs'
import { calls, replay } from './mix.mjs'
import { cpuSeconds, finish, folder, peakMb, position, proc, remove, residentMb, simulate, world, writtenBytes } from './simulator.mjs'

const SIZES = (process.env.BENCH_GROWTH ?? '500000,2000000,5000000').split(',').map(Number)
const BUDGETS = (process.env.BENCH_BUDGETS ?? '512MB').split(',')
const CALLS = 40_000
const EVENTS_A_DAY = 450 * 86_400
const THREADS = ['verify', 'store-writer', 'net', 'fjall']

/** Operations as the network has them. */
export const NETWORK_MIX = [
  'like=67,post=11,repost=10,follow=4,block=1,delete=4,profile=0.8,listitem=0.8,list=0.05,listblock=0.02',
  'threadgate=0.4,postgate=0.2,generator=0.02,starterpack=0.03,custom=0.7',
].join(',')

const networkWorld = (events) => world('network', events, ['--seed', '71', '--actors', String(Math.max(1000, events / 25)), '--mix', NETWORK_MIX])

/** Seconds of CPU by kind of thread. */
function cpuByThread(pid) {
  const used = Object.fromEntries(THREADS.map((name) => [name, 0]))
  for (const task of fs.readdirSync(`/proc/${pid}/task`)) {
    try {
      const name = proc(pid, `task/${task}/comm`)
      const kind = THREADS.find((kind) => name.startsWith(kind))
      if (kind) used[kind] += Number(proc(pid, `task/${task}/schedstat`).split(' ')[0]) / 1e9
    } catch {
      // It ended meanwhile.
    }
  }
  return used
}

export async function growth() {
  for (const events of SIZES) for (const memory of BUDGETS) await grown(events, memory)
}

async function grown(events, memory) {
  const of = `${format(events / 1e6)}M, ${memory}`
  console.log(`\n-- ${of}`)
  const shape = networkWorld(events)
  const net = await simulate(shape)
  const dir = folder()
  const change = (s) => (s.store.memory_budget = memory)
  const aerie = await startAerie(net, { dir, change })
  const marks = []
  const mark = (seq) => marks.push({ seq, at: performance.now(), cpu: cpuSeconds(aerie.pid) })
  for (let seq = 0; seq < net.lastSeq; ) {
    await sleep(50)
    seq = await position(aerie)
    if (seq > 0 && (marks.length === 0 || seq > marks.at(-1).seq)) mark(seq)
  }
  const between = (from, to) => {
    const n = to.seq - from.seq
    return { rate: (1000 * n) / (to.at - from.at), cpu: (1e6 * (to.cpu - from.cpu)) / n }
  }
  const last = marks.at(-1)
  const whole = between(marks[0], last)
  const tenth = between(marks.find(({ seq }) => seq >= net.lastSeq * 0.9) ?? marks[0], last)
  const threads = Object.entries(cpuByThread(aerie.pid)).map(([name, s]) => `${name} ${format((1e6 * s) / last.seq)}`)
  note(`CPU of an event: ${format(whole.cpu)} us, in the last tenth ${format(tenth.cpu)}; ${threads.join(', ')}`)
  const small = events <= 1_000_000
  figure(`${of}: catch-up, verified`, whole.rate, 'events/s', '>=', small ? 30_000 : 26_000)
  figure(`${of}: its last tenth`, tenth.rate, 'events/s', '>=', small ? 30_000 : 24_000)
  const wrote = writtenBytes(aerie.pid)

  const client = new Client(net)
  const w = await discover(client, net)
  client.close()
  const dids = await everyActor(net)
  const world = { dids, posts: w.posts }
  await firstCalls(net, of, dids)
  const passes = new Map()
  for (const pass of ['first', 'second']) passes.set(pass, await calls(net, world, CALLS, { seed: `${events}-${pass}` }))
  await signIn(net, [...passes.values()].flat())
  for (const [pass, list] of passes) {
    const before = cpuSeconds(aerie.pid)
    const done = await replay(net.appview.port, list)
    const refused = list.length - done.statuses[200]
    if (refused > list.length / 50) throw new Error(`${refused} calls were refused: ${JSON.stringify(done.statuses)}`)
    const cpu = (1e6 * (cpuSeconds(aerie.pid) - before)) / list.length
    // What is written waits for the disk.
    const reads = Object.entries(done.times).filter(([method]) => method.startsWith('get') || method.startsWith('list'))
    const worst = reads.map(([method, ms]) => [p(ms, 0.99), method]).sort((a, b) => b[0] - a[0])
    const p50 = p(reads.flatMap(([, ms]) => ms), 0.5)
    note(`${pass} pass: ${format(cpu)} us of CPU a call, p50 ${format(p50)} ms, ${format(done.bytes / 1024)} KB an answer; ${JSON.stringify(done.statuses)}`)
    figure(`${of}: the mix with fresh tokens and gzip, ${pass} pass`, done.rate, '/s', '>=', small ? 6000 : 4000)
    figure(`${of}: worst p99 of it (${worst[0][1]})`, worst[0][0], 'ms', '<=', small ? 6 : 20)
  }
  await pollsOfThePopular(aerie, net, of, world)
  figure(`${of}: peak memory`, peakMb(aerie.pid), 'MB', '<=', 1.2 * (memory.endsWith('GB') ? 1024 : 1) * parseFloat(memory))
  note(`${format(residentMb(aerie.pid))} MB now`)

  await finish({ net, aerie })
  const stats = spawnSync(BINARY, ['db', 'stats', '--compact', '--json', '--config', aerie.config], { encoding: 'utf8' })
  if (stats.status !== 0) throw new Error(`db stats: ${stats.stderr}`)
  const { kinds } = JSON.parse(stats.stdout)
  // What is kept for members and what goes with time is no part of the network.
  const apart = ['notification', 'change', 'other', 'directory']
  const kept = Object.entries(kinds).filter(([kind]) => !apart.includes(kind)).reduce((sum, [, { disk_bytes }]) => sum + disk_bytes, 0)
  figure(`${of}: disk for an event`, kept / events, 'B', '<=', 54)
  figure(`${of}: a day at 450 events/s`, (kept / events) * EVENTS_A_DAY / 1e9, 'GB', '<=', 2.1)
  figure(`${of}: bytes written for one that is kept`, wrote / kept, '', '<=', 6)
  remove(dir)
}

/** All accounts that are there, in the order of their popularity. */
async function everyActor(net) {
  const dids = []
  for (let cursor = 1; cursor < net.actors; cursor += 1000) {
    const page = await fetch(`${net.pds.url}/sim/actors?cursor=${cursor}&limit=1000`).then((r) => r.json())
    dids.push(...page.actors.filter(({ active }) => active).map(({ did }) => did))
  }
  return dids
}

/** What accounts get that this server has never seen ask: they become members. */
async function firstCalls(net, of, dids) {
  const viewers = Array.from({ length: 200 }, (_, i) => dids[Math.floor(((i + 0.5) * dids.length) / 200)])
  const list = await calls(net, { dids, posts: ['-'] }, viewers.length, { seed: 'first', only: 'getTimeline', viewers })
  const { times } = await replay(net.appview.port, list, 1)
  figure(`${of}: first call of a member, p99`, p(times.getTimeline, 0.99), 'ms', '<=', 30)
}

/**
 * Everybody who is about to call does so once: looking up somebody of whom the server has no key is paced by what the
 * directory allows, and would be all that the passes show.
 */
async function signIn(net, list) {
  const viewers = [...new Set(list.map(({ who }) => who))]
  const first = await calls(net, { dids: viewers, posts: ['-'] }, viewers.length, { seed: 'sign-in', only: 'getUnreadCount', viewers })
  const { times, statuses } = await replay(net.appview.port, first)
  const looked = times.getUnreadCount.filter((ms) => ms > 500).length
  note(`${format(viewers.length)} members sign in; ${format(looked)} of them waited for the directory; ${JSON.stringify(statuses)}`)
}

/** The question that every client asks every half minute, by those who have most to read. */
async function pollsOfThePopular(aerie, net, of, { dids }) {
  const list = await calls(net, { dids, posts: ['-'] }, 5000, { seed: 'polls', only: 'getUnreadCount', viewers: dids.slice(0, 50) })
  const before = cpuSeconds(aerie.pid)
  await replay(net.appview.port, list, 1)
  figure(`${of}: CPU of getUnreadCount, popular members`, (1e6 * (cpuSeconds(aerie.pid) - before)) / list.length, 'us', '<=', 100)
}
