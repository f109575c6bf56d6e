// A relay between the PDS and aerie that misbehaves on demand: it repeats the PDS's frames under its own numbers,
// slips hostile ones in between, cuts connections or lets them hang, and forgets what it has sent.
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { transitive } from './plc.mjs'

const { decodeAll, encode } = await transitive('@atproto/lex-cbor')
const { default: WebSocket } = await transitive('ws')

const PATH = '/xrpc/com.atproto.sync.subscribeRepos'
const frame = (header, body) => Buffer.concat([encode(header), encode(body)])

const flipped = (bytes, at) => {
  const copy = Uint8Array.from(bytes)
  copy[at] ^= 1
  return copy
}

const commit = (seq, body) => frame({ op: 1, t: '#commit' }, { ...body, seq })

/** What is made of an honest commit `b` of another account than `other`; each breaks one thing. */
export const HOSTILE = {
  'a byte of the CAR flipped': (seq, b) => commit(seq, { ...b, blocks: flipped(b.blocks, b.blocks.length - 20) }),
  'a CAR cut short': (seq, b) => commit(seq, { ...b, blocks: b.blocks.slice(0, b.blocks.length >> 1) }),
  'no blocks at all': (seq, b) => commit(seq, { ...b, blocks: new Uint8Array() }),
  'in the name of another account': (seq, b, other) => commit(seq, { ...b, repo: other }),
  'an account nobody knows': (seq, b) => commit(seq, { ...b, repo: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' }),
  'not a DID': (seq, b) => commit(seq, { ...b, repo: 'did:../../etc/passwd' }),
  'a rev that is not that of the commit': (seq, b) => commit(seq, { ...b, rev: '3zzzzzzzzzzzz' }),
  'an operation without its record': (seq, b) =>
    commit(seq, { ...b, ops: b.ops.map((op) => ({ ...op, path: `${op.path}x` })) }),
  'a thousand operations': (seq, b) => commit(seq, { ...b, ops: Array(1000).fill(b.ops[0]) }),
  'blocks of three megabytes': (seq, b) => commit(seq, { ...b, blocks: new Uint8Array(3 << 20) }),
  'fields of the wrong type': (seq) => commit(seq, { repo: 7, blocks: 'x', ops: {}, rev: null }),
  'the same commit again': (seq, b) => commit(seq, b),
  'a type of the future': (seq) => frame({ op: 1, t: '#brandNew' }, { seq, hello: 'world' }),
  'an operation of the future': (seq) => frame({ op: 9 }, { seq }),
  'nested a hundred thousand deep': () => Buffer.concat([Buffer.alloc(100_000, 0x81), Buffer.from([0])]),
  'not CBOR': () => Buffer.from('GET / HTTP/1.1\r\n\r\n'),
  'an empty frame': () => Buffer.alloc(0),
}

/** Starts the relay on `upstream`, with what comes after the cursor `after`. After `hostile(names)` one of these follows every honest commit, in turn. */
export async function startRelay(upstream, { after = 0 } = {}) {
  const log = []
  const subscribers = new Set()
  const sent = Object.fromEntries(Object.keys(HOSTILE).map((name) => [name, 0]))
  let names = []
  let turn = 0
  let taken = after
  let honest = true
  /** Frames up to this number are not had any more. */
  let oldest = 0
  let away = false
  const repos = []

  const append = (bytes) => {
    log.push(bytes)
    for (const ws of subscribers) ws.send(bytes)
  }

  const source = new WebSocket(`${upstream.url}${PATH}?cursor=${after}`)
  source.on('message', (data) => {
    const [header, body] = decodeAll(data)
    append(frame(header, { ...body, seq: log.length + 1 }))
    honest = true
    if (header.t === '#commit' && body.ops.length > 0) {
      if (repos.at(-1) !== body.repo) repos.push(body.repo)
      if (names.length > 0) {
        const name = names[turn++ % names.length]
        append(HOSTILE[name](log.length + 1, body, repos.at(-2) ?? body.repo))
        sent[name]++
        honest = false
      }
    }
    taken = body.seq
  })
  await new Promise((resolve, reject) => {
    source.once('open', resolve)
    source.once('error', reject)
  })

  const server = http.createServer((_req, res) => res.writeHead(404).end())
  const wss = new WebSocket.WebSocketServer({ server, path: PATH })
  wss.on('connection', (ws, req) => {
    const cursor = Number(new URL(req.url, 'http://relay').searchParams.get('cursor') ?? log.length)
    if (away) return ws.terminate()
    if (cursor > log.length) {
      ws.send(frame({ op: -1 }, { error: 'FutureCursor', message: 'Cursor in the future.' }))
      return ws.close()
    }
    if (cursor < oldest) ws.send(frame({ op: 1, t: '#info' }, { name: 'OutdatedCursor', message: 'Gone.' }))
    for (const bytes of log.slice(Math.max(cursor, oldest))) ws.send(bytes)
    subscribers.add(ws)
    ws.on('close', () => subscribers.delete(ws))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))

  return {
    url: `ws://localhost:${server.address().port}`,
    /** How often each kind of hostile frame was sent. */
    sent,
    /** How many connections there are. */
    connections: () => subscribers.size,
    /** The last number sent, once all of upstream has come through; the frame with it is always an honest one. */
    async seq() {
      const want = await upstream.seq()
      while (taken < want) await sleep(5)
      if (!honest) {
        append(frame({ op: 1, t: '#identity' }, { seq: log.length + 1, did: repos.at(-1), time: new Date().toISOString() }))
        honest = true
      }
      return log.length
    },
    hostile(list) {
      names = list
    },
    /** Cuts every connection, in the middle of a frame if `half`. */
    cut({ half = false } = {}) {
      for (const ws of subscribers) {
        if (half) ws._socket.write(Buffer.from([0x82, 0x7e, 0xff, 0xff, 0x01]))
        ws._socket.destroy()
      }
    },
    /** Leaves every connection open and never reads or writes it again. */
    stall() {
      for (const ws of subscribers) ws._socket.pause()
      subscribers.clear()
    },
    /** Cuts every connection and takes no new one, until `away(false)`. */
    away(yes) {
      away = yes
      if (yes) this.cut()
    },
    /** Old frames are not sent again, as a relay's window passes them by. */
    trim() {
      oldest = log.length
    },
    /** Counts from one again, as a relay that was set up anew. */
    forget() {
      log.length = 0
      oldest = 0
    },
    async close() {
      source.terminate()
      for (const ws of wss.clients) ws.terminate()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
