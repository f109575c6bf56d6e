// A connection that asks one thing at a time over HTTP/1.1, with as little of its own work as can be, so that what is
// measured is the server.
import { connect } from 'node:net'

const END = Buffer.from('\r\n\r\n')
const LAST_CHUNK = Buffer.from('0\r\n\r\n')

/** Why there is no answer: the connection was refused, closed, or is silent. */
export class Broken extends Error {}

export class Wire {
  #to
  #socket
  #waiting
  #held = []
  #head

  /** `to` is `{ port, host, localAddress }`; the connection is made with the first question. */
  constructor(to, { patience = 30_000 } = {}) {
    this.#to = to
    this.patience = patience
  }

  get isOpen() {
    return this.#socket !== undefined
  }

  get isBusy() {
    return this.#waiting !== undefined
  }

  /** Asks, and says what came and how long it took until its last byte. */
  ask(path, { method = 'GET', headers = {}, body } = {}) {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
    const length = body === undefined ? '' : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`
    const text = `${method} ${path} HTTP/1.1\r\nhost: localhost\r\n${lines}${length}\r\n${body ?? ''}`
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail('timeout'), this.patience)
      this.#waiting = { resolve, reject, timer, started: performance.now() }
      if (!this.#socket) this.#open()
      this.#socket.write(text)
    })
  }

  close() {
    this.#socket?.destroy()
    this.#socket = undefined
  }

  #open() {
    const socket = connect({ ...this.#to, noDelay: true })
    socket.on('data', (data) => this.#read(data))
    socket.on('error', (error) => this.#socket === socket && this.#fail(error.code))
    socket.on('close', () => this.#socket === socket && this.#fail('closed'))
    this.#socket = socket
  }

  #fail(why) {
    const waiting = this.#waiting
    this.#waiting = undefined
    this.close()
    this.#held = []
    this.#head = undefined
    if (!waiting) return
    clearTimeout(waiting.timer)
    waiting.reject(new Broken(why))
  }

  #read(data) {
    this.#held.push(data)
    if (!this.#head) {
      const all = this.#held.length > 1 ? Buffer.concat(this.#held) : data
      const end = all.indexOf(END)
      this.#held = [all]
      if (end < 0) return
      const text = all.toString('latin1', 0, end)
      const length = text.match(/\ncontent-length: *(\d+)/i)
      this.#head = { text, length: length && Number(length[1]) }
      this.#held = [all.subarray(end + 4)]
    }
    const { text, length } = this.#head
    const had = this.#held.reduce((sum, part) => sum + part.length, 0)
    if (length === null ? !this.#held.at(-1).subarray(-5).equals(LAST_CHUNK) : had < length) return
    const waiting = this.#waiting
    const body = Buffer.concat(this.#held)
    this.#waiting = undefined
    this.#held = []
    this.#head = undefined
    clearTimeout(waiting.timer)
    waiting.resolve({ status: Number(text.slice(9, 12)), head: text, body, ms: performance.now() - waiting.started })
    if (/\nconnection: close/i.test(text)) this.close()
  }
}

/** Connections of one address; more are closed. */
const EACH = 60

/** Connections of many addresses, of which any that is free asks next. */
export class Wires {
  #free = []

  constructor(to, sources, each = EACH) {
    for (let i = 0; i < each; i++) for (const localAddress of sources) this.#free.push(new Wire({ ...to, localAddress }))
  }

  /** Asks, and counts for `party` what came of it; that nobody was free too. */
  async ask(party, path, request) {
    const wire = this.#free.shift()
    if (!wire) return party.count('not sent: all connections wait')
    party.count('sent')
    let answer
    try {
      answer = await wire.ask(path, request)
      party.count(`answered ${answer.status}`)
    } catch (error) {
      if (!(error instanceof Broken)) throw error
      party.count(`broken: ${error.message}`)
    }
    this.#free.push(wire)
    return answer
  }
}
