// A good client somewhere else: what it gets while others misbehave is what all of this is about.
import { setTimeout as sleep } from 'node:timers/promises'
import { Broken, Wire } from './wire.mjs'

const PROFILE = 'app.bsky.actor.getProfile'
/** Together they stay below what one address may ask for, whatever the run takes. */
const ADDRESSES = 8

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
export const p = (values, share) => (values.length ? at([...values].sort((a, b) => a - b), share) : NaN)

/** What one spell of asking came to. */
class Spell {
  kept = []
  fresh = []
  statuses = {}
  /** Accounts that it was told are not there. */
  absent = []

  /** Accounts that truly are not there any more are no lack. */
  forgive(isThere) {
    const gone = this.absent.filter((actor) => !isThere(actor))
    this.absent = this.absent.filter(isThere)
    if (gone.length > 0 && (this.statuses[400] -= gone.length) === 0) delete this.statuses[400]
  }

  note(what) {
    this.statuses[what] = (this.statuses[what] ?? 0) + 1
  }

  get p50() {
    return p(this.kept, 0.5)
  }

  get p99() {
    return p(this.kept, 0.99)
  }

  get freshP50() {
    return p(this.fresh, 0.5)
  }

  /** Everything that was no answer: refusals, closed connections, silence. */
  get lacking() {
    return Object.entries(this.statuses).filter(([status]) => status !== '200')
  }
}

export class Good {
  #to
  #random
  #actors
  /** Open connections, by address: a client that always took the one used last would be a single one. */
  #wires = Array.from({ length: ADDRESSES }, () => [])
  #turn = 0

  constructor(port, actors, random) {
    this.#to = { port, host: '127.0.0.1' }
    this.#random = random
    this.#actors = actors
  }

  /** The next address, by its number. */
  #next() {
    return this.#turn++ % ADDRESSES
  }

  #open(number) {
    return new Wire({ ...this.#to, localAddress: `127.0.0.${11 + number}` })
  }

  /**
   * Asks for profiles, `rate` times a second, until `over` is true: on connections that stay open, and each fifth on one
   * of its own. None waits for another.
   */
  async browse(rate, over) {
    const spell = new Spell()
    const asked = []
    let [from, sent] = [performance.now(), 0]
    while (!over()) {
      await sleep(2)
      const due = ((performance.now() - from) * rate) / 1000
      for (; sent < due; sent++) asked.push(this.#ask(spell, sent % 5 === 0))
      // What is behind is the machine's fault, and made up for slowly.
      if (asked.length > 1000) await Promise.all(asked.splice(0, 500))
    }
    await Promise.all(asked)
    return spell
  }

  /** The same for some seconds. */
  browseFor(seconds, rate = 40) {
    const end = performance.now() + seconds * 1000
    return this.browse(rate, () => performance.now() > end)
  }

  async #ask(spell, fresh) {
    const actor = this.#random.pick(this.#actors)
    const path = `/xrpc/${PROFILE}?actor=${actor}`
    const number = this.#next()
    const wire = (!fresh && this.#wires[number].pop()) || this.#open(number)
    try {
      const { status, ms } = await wire.ask(path)
      spell.note(status)
      if (status === 400) spell.absent.push(actor)
      if (status === 200) (fresh ? spell.fresh : spell.kept).push(ms)
    } catch (error) {
      if (!(error instanceof Broken)) throw error
      spell.note(error.message)
    }
    if (fresh) wire.close()
    else this.#wires[number].push(wire)
  }

  /** Logs in: asks with a token until it is taken. Milliseconds, or what came instead. */
  async logIn(token, lxm, patienceMs) {
    const wire = this.#open(this.#next())
    const started = performance.now()
    let last
    try {
      while (performance.now() - started < patienceMs) {
        const { status, head } = await wire.ask(`/xrpc/${lxm}`, { headers: { authorization: `Bearer ${token}` } })
        if (status === 200) return { ms: performance.now() - started, last }
        last = status
        if (status !== 503) break
        await sleep(1000 * Number(head.match(/\nretry-after: *(\d+)/i)?.[1] ?? 1))
      }
    } catch (error) {
      if (!(error instanceof Broken)) throw error
      last = error.message
    } finally {
      wire.close()
    }
    return { last }
  }

  close() {
    for (const wire of this.#wires.flat()) wire.close()
  }
}
