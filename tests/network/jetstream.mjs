// A Jetstream (https://github.com/bluesky-social/jetstream) of the PDS's firehose: JSON, one message for each operation,
// microseconds as cursor, and what lies at the cursor itself is sent again.
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { transitive } from './plc.mjs'

const { decode, decodeAll } = await transitive('@atproto/lex-cbor')
const { lexToJson } = await transitive('@atproto/lex-json')
const { readCarWithRoot } = await transitive('@atproto/repo')
const { default: WebSocket } = await transitive('ws')

/** The messages that a frame of the firehose becomes, without their time. */
async function translate(header, body) {
  if (header.t === '#identity') return [{ did: body.did, kind: 'identity', identity: { did: body.did, handle: body.handle } }]
  if (header.t === '#account') {
    return [{ did: body.did, kind: 'account', account: { did: body.did, active: body.active, status: body.status } }]
  }
  if (header.t !== '#commit' || body.ops.length === 0) return []
  const { blocks } = await readCarWithRoot(body.blocks)
  return body.ops.map(({ action, path, cid }) => {
    const [collection, rkey] = path.split('/')
    const commit = { rev: body.rev, operation: action, collection, rkey }
    if (cid) Object.assign(commit, { record: lexToJson(decode(blocks.get(cid))), cid: cid.toString() })
    return { did: body.repo, kind: 'commit', commit }
  })
}

/** Starts a Jetstream of `upstream`. */
export async function startJetstream(upstream) {
  const log = []
  const subscribers = new Set()
  const cursors = []
  let taken = 0
  let last = 0
  let again = 0

  const send = (text) => {
    for (const ws of subscribers) ws.send(text)
  }
  const append = (message) => {
    last = Math.max(last + 1, Date.now() * 1000)
    const text = JSON.stringify({ ...message, time_us: last })
    log.push({ time: last, text })
    send(text)
  }

  const source = new WebSocket(`${upstream.url}/xrpc/com.atproto.sync.subscribeRepos?cursor=0`)
  let turn = Promise.resolve()
  source.on('message', (data) => {
    turn = turn.then(async () => {
      const [header, body] = decodeAll(data)
      for (const message of await translate(header, body)) append(message)
      taken = body.seq
    })
  })
  await new Promise((resolve, reject) => {
    source.once('open', resolve)
    source.once('error', reject)
  })

  const server = http.createServer((_req, res) => res.writeHead(404).end())
  const wss = new WebSocket.WebSocketServer({ server, path: '/subscribe' })
  wss.on('connection', (ws, req) => {
    const cursor = new URL(req.url, 'http://jetstream').searchParams.get('cursor')
    cursors.push(cursor === null ? undefined : Number(cursor))
    if (cursor !== null) for (const { time, text } of log) if (time >= Number(cursor) - again) ws.send(text)
    subscribers.add(ws)
    ws.on('close', () => subscribers.delete(ws))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))

  return {
    url: `ws://localhost:${server.address().port}`,
    /** The cursor of each connection. */
    cursors,
    /** The time of the last message, once all of upstream has come through. */
    async seq() {
      const want = await upstream.seq()
      while (taken < want) await sleep(5)
      return last
    },
    append,
    /** Sends text as it is. */
    send,
    /** From now on a connection gets what lies so many microseconds before its cursor once more. */
    repeat(microseconds) {
      again = microseconds
    },
    async close() {
      source.terminate()
      for (const ws of wss.clients) ws.terminate()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
