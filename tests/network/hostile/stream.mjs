// What a hostile upstream and a hostile labeler have in common: a WebSocket that is silent until it is told to flood.
import { once } from 'node:events'
import http from 'node:http'
import { transitive } from '../plc.mjs'

const { encode } = await transitive('@atproto/lex-cbor')
const { WebSocketServer } = (await transitive('ws')).default

export const frame = (header, body) => Buffer.concat([encode(header), encode(body)])

/** A message of the WebSocket protocol as a server writes it: type, whether it is the last piece, content. */
function message(opcode, content, last = true) {
  const first = (last ? 0x80 : 0) | opcode
  const head = Buffer.alloc(content.length < 126 ? 2 : content.length < 65_536 ? 4 : 10)
  head[0] = first
  if (head.length === 2) head[1] = content.length
  else if (head.length === 4) [head[1], head[2], head[3]] = [126, content.length >> 8, content.length & 255]
  else {
    head[1] = 127
    head.writeBigUInt64BE(BigInt(content.length), 2)
  }
  return Buffer.concat([head, content])
}
export const binary = (content) => message(2, content)

const times = (n, make) => Buffer.concat(Array.from({ length: n }, make))
/** As many as go out in one write. */
const HANDFUL = 100

const EMPTY = Buffer.alloc(0)
/** Two bytes each, so there are many more of them than of anything else. */
const PIECES = times(50 * HANDFUL, () => message(0, EMPTY, false))

/** Floods that need no stream to be known: each makes the bytes of a handful. */
export const ANY = {
  pings(party, connection) {
    // Answers are not read, so whoever queues them queues for ever.
    connection.socket.pause()
    return times(HANDFUL, () => message(9, party.random.bytes(125)))
  },
  'empty fragments'(_party, connection) {
    const begin = connection.begun ? EMPTY : message(2, EMPTY, false)
    connection.begun = true
    return Buffer.concat([begin, PIECES])
  },
  garbage: ({ random }) => times(HANDFUL, () => binary(random.bytes(60))),
}

/** 2^63-1 is more than a number here can be: it is written over another of the same width. */
export function farAhead(bytes) {
  const at = bytes.indexOf(Buffer.from('1b001fffffffffffff', 'hex'))
  if (at < 0) throw new Error('no number to write over')
  bytes.writeBigInt64BE(2n ** 63n - 1n, at + 1)
  return bytes
}
export const PLACE = Number.MAX_SAFE_INTEGER

/**
 * Serves `path`. When it is told `{ flood, rate, seconds }` it sends so many messages of that kind a second to whoever is
 * connected, and comes back with the same to whoever connects again.
 */
export async function serveStream(party, path, floods) {
  const server = http.createServer((_req, res) => res.writeHead(404).end())
  const wss = new WebSocketServer({ server, path })
  const connections = new Set()
  wss.on('connection', (ws) => {
    party.count('connections')
    const connection = { socket: ws._socket, begun: false }
    connections.add(connection)
    ws.on('error', () => {})
    ws._socket.on('error', () => {})
    ws._socket.on('close', () => {
      party.count('connections ended')
      connections.delete(connection)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  let [make, left] = [undefined, 0]
  party.onTell(({ flood, seconds }) => {
    make = floods[flood]
    if (!make) throw new Error(`no flood ${flood}`)
    left = performance.now() + seconds * 1000
  })
  party.ready({ port: server.address().port })
  // Paced by handfuls; a connection that takes no more is left alone.
  await party.pace((party.options.rate ?? 20_000) / HANDFUL, () => {
    if (!make) return
    if (performance.now() > left) {
      make = undefined
      return party.done()
    }
    for (const connection of connections) {
      if (connection.socket.writableLength > 4 << 20) continue
      party.count('messages', HANDFUL)
      connection.socket.write(make(party, connection))
    }
  })
}

export const handful = (make) => times(HANDFUL, () => binary(make()))
