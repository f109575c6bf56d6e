// A labeler: a did:plc with #atproto_labeler, a signed stream (subscribeLabels) and nothing else.
import http from 'node:http'
import { register, transitive } from './plc.mjs'

const { Secp256k1Keypair } = await transitive('@atproto/crypto')
const { encode } = await transitive('@atproto/lex-cbor')
const { WebSocketServer } = (await transitive('ws')).default

const frame = (header, body) => Buffer.concat([encode(header), encode(body)])
const labelsFrame = ({ seq, label }) => frame({ op: 1, t: '#labels' }, { seq, labels: [label] })

/** Starts a labeler on a random port; `emit` signs a label and sends it to every subscriber. */
export async function startLabeler(plcUrl) {
  const key = await Secp256k1Keypair.create({ exportable: true })
  const log = []
  const subscribers = new Set()

  const server = http.createServer((_req, res) => {
    res.writeHead(501, { 'content-type': 'application/json' })
    res.end(JSON.stringify({ error: 'MethodNotImplemented', message: 'Method Not Implemented' }))
  })
  const wss = new WebSocketServer({ server, path: '/xrpc/com.atproto.label.subscribeLabels' })
  wss.on('connection', (ws, req) => {
    const cursor = new URL(req.url, 'http://labeler').searchParams.get('cursor')
    if (Number(cursor) > log.length) {
      ws.send(frame({ op: -1 }, { error: 'FutureCursor', message: 'Cursor in the future.' }))
      return ws.close()
    }
    if (cursor !== null) for (const entry of log.slice(Number(cursor))) ws.send(labelsFrame(entry))
    subscribers.add(ws)
    ws.on('close', () => subscribers.delete(ws))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://localhost:${server.address().port}`

  const did = await register(plcUrl, key, {
    verificationMethods: { atproto: key.did(), atproto_label: key.did() },
    services: { atproto_labeler: { type: 'AtprotoLabeler', endpoint: url } },
  })

  return {
    did,
    url,
    get seq() {
      return log.length
    },
    async emit({ uri, cid, val, neg, exp, cts = new Date().toISOString() }) {
      const unsigned = { ver: 1, src: did, uri, val, cts, ...(cid && { cid }), ...(neg && { neg }), ...(exp && { exp }) }
      const entry = { seq: log.length + 1, label: { ...unsigned, sig: await key.sign(encode(unsigned)) } }
      log.push(entry)
      for (const ws of subscribers) ws.send(labelsFrame(entry))
      return entry.label
    },
    async close() {
      for (const ws of subscribers) ws.terminate()
      wss.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
