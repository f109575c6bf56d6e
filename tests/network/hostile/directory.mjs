// The PLC directory between the server and the simulator: it counts what it is asked, has accounts of its own, and turns
// hostile when told.
import { once } from 'node:events'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { transitive } from '../plc.mjs'

const { Secp256k1Keypair } = await transitive('@atproto/crypto')
const { createServiceJwt } = await transitive('@atproto/xrpc-server')

/** How it answers when told; the simulator's answer is given otherwise. */
const MOODS = {
  refuses: (res) => res.writeHead(429, { 'retry-after': '300' }).end(),
  slow: async (res, honest) => {
    await sleep(2000)
    return honest()
  },
  silent: () => {},
  garbage: (res, _honest, random) => res.writeHead(200, { 'content-type': 'application/json' }).end(random.bytes(2000)),
}

/** A directory in front of the one at `origin`; `random` makes the keys and names of its own accounts. */
export async function startDirectory(origin, random) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 })
  const own = new Map()
  const counts = { found: 0, 'nobody has it': 0, newcomers: 0 }
  let mood

  const forward = (req, res) => {
    const upstream = http.get(origin + req.url, { agent }, (answer) => {
      counts[answer.statusCode === 200 ? 'found' : 'nobody has it']++
      res.writeHead(answer.statusCode, answer.headers)
      answer.pipe(res)
    })
    upstream.on('error', () => res.destroy())
  }
  const honest = (req, res) => {
    const account = own.get(decodeURIComponent(req.url.slice(1)))
    if (!account) return forward(req, res)
    counts.newcomers++
    res.writeHead(200, { 'content-type': 'application/json' }).end(account.document)
  }
  const server = http.createServer((req, res) => {
    // As the PDS of its own accounts it has no repositories.
    if (req.url.startsWith('/xrpc/')) {
      return res.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"RepoNotFound","message":"none"}')
    }
    if (!mood) return honest(req, res)
    counts[mood] = (counts[mood] ?? 0) + 1
    MOODS[mood](res, () => honest(req, res), random)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}`

  return {
    url,
    counts,
    /** `refuses`, `slow`, `silent`, `garbage`, or nothing to be honest again. */
    become(name) {
      mood = name
    },
    /** An account that nobody has seen yet, at a PDS; `token(lxm)` signs for it. */
    async newcomer(pds = url) {
      const key = await Secp256k1Keypair.import(random.bytes(32))
      const did = random.did()
      const verificationMethod = [{ id: `${did}#atproto`, type: 'Multikey', controller: did, publicKeyMultibase: key.did().slice(8) }]
      const service = [{ id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: pds }]
      own.set(did, { document: JSON.stringify({ id: did, verificationMethod, service }) })
      return { did, token: (aud, lxm) => createServiceJwt({ iss: did, aud, lxm, keypair: key }) }
    },
    close() {
      server.closeAllConnections()
      server.close()
      agent.destroy()
    },
  }
}
