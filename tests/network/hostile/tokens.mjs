// Forged tokens: well-formed, for the right audience and method, of issuers that take work to find out about, with a
// signature that is none.
import net from 'node:net'
import { once } from 'node:events'
import { Wires } from './wire.mjs'

const base64url = (data) => Buffer.from(data).toString('base64url')
const HEADER = base64url(JSON.stringify({ typ: 'JWT', alg: 'ES256K' }))
const METHOD = 'app.bsky.notification.getUnreadCount'

/**
 * `rate` a second, from `addresses` of them. Issuers by chance: a did:plc that nobody has, a did:web at an address that
 * accepts connections and is silent, one where nothing listens, and one of `known`, whose key is another.
 */
export async function forged(party) {
  const { port, aud, rate, addresses = 1, known = [] } = party.options
  const { random } = party
  const silent = await silentPort()
  const web = (port) => `did:web:${random.loopback(200)}%3A${port}`
  const issuers = [() => random.did(), () => web(silent), () => web(9), () => random.pick(known) ?? random.did()]
  const sources = Array.from({ length: addresses }, (_, i) => `127.1.${Math.floor(i / 200)}.${1 + (i % 200)}`)
  const wires = new Wires({ port, host: '127.0.0.1' }, sources)
  party.ready()
  await party.pace(rate, () => {
    const exp = Math.floor(Date.now() / 1000) + 60
    const claims = { iss: random.pick(issuers)(), aud, lxm: METHOD, exp, jti: String(random.next()) }
    const token = `${HEADER}.${base64url(JSON.stringify(claims))}.${base64url(random.bytes(64))}`
    wires.ask(party, `/xrpc/${METHOD}`, { headers: { authorization: `Bearer ${token}` } })
  })
}

/** A port, at every address of this machine, that takes connections and says nothing. */
async function silentPort() {
  const server = net.createServer((socket) => socket.on('error', () => {}).resume())
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  return server.address().port
}
