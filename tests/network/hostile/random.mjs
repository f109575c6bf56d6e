// Chance that a seed repeats: what a hostile party sends, and in which order, depends on nothing else.
import { createHash } from 'node:crypto'

const DIGITS = 'abcdefghijklmnopqrstuvwxyz234567'

export class Random {
  #state

  /** Each party of a run has its own, so that none changes what another one does. */
  constructor(...names) {
    const digest = createHash('sha256').update(names.join('/')).digest()
    this.#state = [0, 4, 8, 12].map((at) => digest.readUInt32LE(at))
  }

  /** 32 bits (sfc32). */
  next() {
    let [a, b, c, count] = this.#state
    const sum = (a + b + count) | 0
    count = (count + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + sum | 0
    this.#state = [a, b, c, count]
    return sum >>> 0
  }

  /** From 0 up to below `n`. */
  below(n) {
    return Math.floor((this.next() / 2 ** 32) * n)
  }

  pick(items) {
    return items[this.below(items.length)]
  }

  bytes(n) {
    const out = Buffer.allocUnsafe(n)
    for (let i = 0; i < n; i++) out[i] = this.next()
    return out
  }

  /** A did:plc that nobody has. */
  did() {
    return `did:plc:${Array.from({ length: 24 }, () => DIGITS[this.below(32)]).join('')}`
  }

  /** One of a thousand addresses of this machine: `127.N.x.y`. */
  loopback(n) {
    return `127.${n}.${this.below(10)}.${1 + this.below(100)}`
  }
}
