// One hostile party in a process of its own: it shares the machine with the server, and must not share the thread of
// the clients that are measured. `node party.mjs KIND '{"seed":"1",…}'` runs one by hand, against whatever it is told.
import { fork } from 'node:child_process'
import os from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Random } from './random.mjs'

/** Every kind, and the file that has it. */
const FILES = {
  tokens: ['forged'],
  connections: ['idle', 'slowloris', 'slowReaders', 'windowZero'],
  accounts: ['mutes', 'bookmarks', 'subscriptions', 'exports', 'feeds'],
  upstream: ['upstream'],
  labeler: ['labeler'],
  pds: ['tinyBlocks', 'pictures'],
}
export const KINDS = Object.values(FILES).flat()
const SELF = fileURLToPath(import.meta.url)
/** Below everything else on this machine: it stands for computers elsewhere. */
const NICE = 10

/** Starts a party. It tells what it did in `counts`; one that serves has `info` with its address. */
export async function launch(kind, options) {
  const child = fork(SELF, [kind, JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  os.setPriority(child.pid, NICE)
  const counts = {}
  let [told, ended] = [undefined, false]
  const exited = new Promise((resolve) => child.once('exit', () => resolve((ended = true))))
  const info = new Promise((resolve, reject) => {
    child.on('message', (message) => {
      if (message.counts) Object.assign(counts, message.counts)
      if (message.info) resolve(message.info)
      if (message.done) told?.()
    })
    child.once('exit', (code) => reject(new Error(`${kind} ended with ${code}`)))
  })
  info.catch(() => {})
  return {
    kind,
    name: options.name,
    counts,
    info: await info,
    /** Has it do something; servers wait for this. */
    tell: (what) => child.send(what),
    /** Waits until it says that it has done what it had to. */
    done: () => new Promise((resolve) => (told = resolve)),
    async stop() {
      if (!ended) child.send('stop')
      const late = sleep(3000).then(() => child.kill('SIGKILL'))
      await Promise.race([exited, late])
      return counts
    },
  }
}

/** What a party works with. */
class Context {
  counts = {}
  #stopped = false
  #listeners = []

  constructor(kind, options) {
    this.options = options
    this.random = new Random(options.seed, kind, options.name ?? '')
    process.on('message', (what) => {
      if (what === 'stop') this.#stop()
      else for (const listener of this.#listeners) listener(what)
    })
    // Whoever started it is gone.
    process.on('disconnect', () => process.exit(1))
    setInterval(() => this.#report(), 250).unref()
  }

  get stopped() {
    return this.#stopped
  }

  count(name, n = 1) {
    this.counts[name] = (this.counts[name] ?? 0) + n
  }

  onTell(listener) {
    this.#listeners.push(listener)
  }

  ready(info = {}) {
    process.send?.({ info })
  }

  done() {
    process.send?.({ counts: this.counts, done: true })
  }

  /** Calls `act` so often a second until the end, in small handfuls; what was missed is not made up for. */
  async pace(perSecond, act) {
    let [at, owed] = [performance.now(), 0]
    while (!this.#stopped) {
      await sleep(5)
      const now = performance.now()
      owed = Math.min(owed + ((now - at) * perSecond) / 1000, perSecond / 5 + 1)
      at = now
      for (; owed >= 1 && !this.#stopped; owed--) act()
    }
  }

  #report() {
    process.send?.({ counts: this.counts })
  }

  #stop() {
    this.#stopped = true
    this.#report()
    setTimeout(() => process.exit(0), 100)
  }
}

async function main([kind, options = '{}']) {
  const [file] = Object.entries(FILES).find(([, kinds]) => kinds.includes(kind)) ?? []
  if (!file) throw new Error(`no party ${kind}; there are ${KINDS.join(', ')}`)
  const party = await import(`./${file}.mjs`)
  const context = new Context(kind, { seed: '1', ...JSON.parse(options) })
  process.on('uncaughtException', (error) => {
    // Whatever the server does to a connection is its right.
    context.count(`own error ${error.code ?? error.message}`)
  })
  try {
    await party[kind](context)
  } catch (error) {
    console.error(error)
    process.exit(1)
  }
  if (process.send) process.channel.ref()
  else process.on('SIGINT', () => process.exit(console.log(context.counts)))
}

if (process.argv[1] === SELF) await main(process.argv.slice(2))
