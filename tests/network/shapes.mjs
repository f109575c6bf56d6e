// A network of extremes for `scripts/bench`: long threads, accounts with thousands of follows, likes, lists and
// notifications, lists with thousands of members. It comes as a Jetstream, so no repo has to be signed; its directory
// gives every account the same key, so that anybody's token can be made.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { transitive } from './plc.mjs'
import { freePort } from './port.mjs'

const { encode } = await transitive('@atproto/lex-cbor')
const { Secp256k1Keypair } = await transitive('@atproto/crypto')
const { createServiceJwt } = await transitive('@atproto/xrpc-server')
const { default: WebSocket } = await transitive('ws')

const DIGITS = 'abcdefghijklmnopqrstuvwxyz234567'
/** How many accounts do nothing but follow, like and reply. */
export const CROWD = 6000
const STARS = 25
/** Bytes that wait for a slow reader. */
const MOST_WAITING = 8 << 20

/** A CID of SHA-256 in base32; `codec` is 0x55 for raw bytes and 0x71 for DAG-CBOR. */
export function cidOf(bytes, codec) {
  const binary = Buffer.concat([Buffer.from([1, codec, 0x12, 0x20]), createHash('sha256').update(bytes).digest()])
  let text = 'b'
  let [held, bits] = [0, 0]
  for (const byte of binary) {
    held = (held << 8) | byte
    for (bits += 8; bits >= 5; bits -= 5) text += DIGITS[(held >> (bits - 5)) & 31]
    held &= 255
  }
  return bits ? text + DIGITS[(held << (5 - bits)) & 31] : text
}

const tid = (micros) => {
  let n = BigInt(micros) << 10n
  let text = ''
  for (let i = 0; i < 13; i++, n >>= 5n) text = '234567abcdefghijklmnopqrstuvwxyz'[Number(n & 31n)] + text
  return text
}
const times = (n, make) => Array.from({ length: n }, (_, i) => make(i))

/** What all accounts wrote, in order: `put` gives the reference of a record. */
export function script() {
  const log = []
  const names = []
  const start = (Date.now() - 86_400_000) * 1000
  const account = (name) => {
    const digits = (n) => (n ? digits(n >> 5) + DIGITS[n & 31] : '')
    names.push(name)
    return `did:plc:${digits(names.length).padStart(24, 'a')}`
  }
  const put = (did, collection, record, key) => {
    const micros = start + (log.length + 1) * 100
    const [rev, createdAt] = [tid(micros), new Date(micros / 1000).toISOString()]
    const rkey = key ?? rev
    const whole = { $type: collection, createdAt, ...record }
    const cid = cidOf(encode(whole), 0x71)
    const commit = { rev, operation: 'create', collection, rkey, record: whole, cid }
    log.push({ time: micros, text: JSON.stringify({ did, time_us: micros, kind: 'commit', commit }) })
    return { uri: `at://${did}/${collection}/${rkey}`, cid }
  }
  const profile = (name, more = {}) => {
    const did = account(name)
    put(did, 'app.bsky.actor.profile', { displayName: name, description: `I am ${name}`, ...more }, 'self')
    return did
  }
  const post = (did, text, more) => put(did, 'app.bsky.feed.post', { text, ...more })
  const reply = (did, root, parent = root) => post(did, 'I have a view on that too', { reply: { root, parent } })
  const follow = (did, subject) => put(did, 'app.bsky.graph.follow', { subject })
  const list = (did, purpose, members) => {
    const made = put(did, 'app.bsky.graph.list', { name: 'a list', purpose: `app.bsky.graph.defs#${purpose}` })
    for (const subject of members) put(did, 'app.bsky.graph.listitem', { list: made.uri, subject })
    return made
  }
  let written = 0
  const rkey = () => tid((Date.now() - 60_000) * 1000 + written++)
  return { log, names, rkey, put, profile, post, reply, follow, list }
}

/** Everything at once: the accounts and records that the cases of the benchmark ask about. */
function extremes() {
  const s = script()
  const host = s.profile('host')
  const joined = s.put(host, 'app.bsky.graph.starterpack', { name: 'all join', list: s.list(host, 'referencelist', []).uri })
  const crowd = times(CROWD, (i) => s.profile(`crowd${i}`, { joinedViaStarterPack: joined }))
  const [heavy, giant, keen, replier, collector, blocker] =
    ['heavy', 'giant', 'keen', 'replier', 'collector', 'blocker'].map((name) => s.profile(name))
  const stars = times(STARS, (i) => s.profile(`star${i}`))
  const posts = crowd.flatMap((did) => [s.post(did, 'good morning'), s.post(did, 'good night')])

  // Follows: everybody the stars, `heavy` and `giant` nearly everybody, `keen` a thousand.
  for (const star of stars) for (const did of crowd) s.follow(did, star)
  for (const did of crowd.slice(0, 5000 - STARS)) s.follow(heavy, did)
  for (const star of stars) for (const did of [heavy, keen, giant]) s.follow(did, star)
  for (const did of crowd) s.follow(giant, did)
  for (const did of crowd.slice(0, 950)) s.follow(keen, did)
  for (const did of crowd.slice(0, 2000)) s.follow(did, heavy)

  // Threads: a thousand replies to one post, a thousand in a tree of ten, the author's own line, many more.
  const wide = s.post(stars[0], 'what does everybody think?')
  for (const did of crowd.slice(0, 1000)) s.reply(did, wide)
  const tall = s.post(stars[0], 'and of this?')
  const tree = [tall]
  for (let i = 0; i < 1000; i++) tree.push(s.reply(crowd[i], tall, tree[Math.floor(i / 10)]))
  const line = s.post(stars[0], 'a story of mine')
  for (let i = 0, parent = line; i < 200; i++) parent = s.reply(stars[0], line, parent)
  const huge = s.post(stars[1], 'and everybody?')
  for (const did of crowd) s.reply(did, huge)
  const quarrel = s.post(stars[2], 'who is blocked here?')

  // One account that only replies, far beyond what a filter passes over.
  for (let i = 0; i < 12_000; i++) s.reply(replier, posts[i % posts.length])

  // Likes, and the notifications that they are to `heavy`.
  const like = (did, subject) => s.put(did, 'app.bsky.feed.like', { subject })
  for (const subject of posts.slice(0, 9900)) like(heavy, subject)
  const own = times(4, (i) => s.post(heavy, `post ${i} of mine`))
  for (const subject of own) for (const did of crowd.slice(0, 5000)) like(did, subject)
  for (const did of crowd) {
    like(did, huge)
    s.put(did, 'app.bsky.feed.repost', { subject: huge })
  }
  for (const did of crowd.slice(0, 3000)) {
    s.post(did, 'look', { embed: { $type: 'app.bsky.embed.record', record: huge } })
  }

  // Lists: large, many, blocked, left.
  const large = s.list(host, 'curatelist', crowd.slice(0, 5000))
  const many = times(5000, () => s.list(collector, 'modlist', []))
  const left = s.list(host, 'referencelist', crowd.slice(0, 100))
  for (const did of crowd.slice(0, 100)) {
    for (let i = 0; i < 50; i++) s.put(did, 'app.bsky.graph.referencelistoptout', { subject: (i < 49 ? many[i] : large).uri })
  }
  const mods = times(20, (i) => s.list(stars[3], 'modlist', crowd.slice(3500 + i * 100, 3600 + i * 100)))
  for (const { uri } of mods) s.put(heavy, 'app.bsky.graph.listblock', { subject: uri })
  for (const { uri } of many.slice(0, 2000)) s.put(blocker, 'app.bsky.graph.listblock', { subject: uri })
  for (const did of crowd.slice(5500, 5900)) s.put(heavy, 'app.bsky.graph.block', { subject: did })
  s.reply(blocker, quarrel)

  // Feeds and starter packs.
  const feeds = times(60, (i) => s.put(host, 'app.bsky.feed.generator', { did: stars[4], displayName: `feed ${i}` }))
  const packs = times(100, (i) => {
    const { uri } = s.list(host, 'referencelist', crowd.slice(i * 50, i * 50 + 50))
    return s.put(host, 'app.bsky.graph.starterpack', { name: `pack ${i}`, list: uri, feeds: feeds.slice(i % 50, (i % 50) + 3).map(({ uri }) => ({ uri })) })
  })
  const club = s.list(host, 'curatelist', [heavy, ...crowd.slice(0, 50)])
  return {
    ...s, club, crowd, stars, posts, joined, wide, tall, line, huge, quarrel, large, left, feeds, packs, many, own,
    heavy, giant, keen, replier, collector, blocker, host,
  }
}

/** Serves it, in the shape of a network that `startAerie` knows. */
export async function startShapes(world = extremes()) {
  const key = await Secp256k1Keypair.create({ exportable: true })
  const multibase = key.did().slice('did:key:'.length)
  const { log } = world
  const nameOf = (did) => world.names[[...did.slice(8)].reduce((n, c) => n * 32 + DIGITS.indexOf(c), 0) - 1]
  const didOf = (i) => {
    const digits = (n) => (n ? digits(n >> 5) + DIGITS[n & 31] : '')
    return `did:plc:${digits(i + 1).padStart(24, 'a')}`
  }
  const handles = new Map(world.names.map((name, i) => [`${name}.test`, didOf(i)]))
  const server = http.createServer((req, res) => {
    const url = new URL(req.url, 'http://x')
    const json = (value) => res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    if (url.pathname === '/.well-known/atproto-did') {
      const did = handles.get(req.headers.host.split(':')[0])
      return did ? res.writeHead(200).end(did) : res.writeHead(404).end()
    }
    if (url.pathname.endsWith('getFeedSkeleton')) {
      const limit = Number(url.searchParams.get('limit'))
      const from = Math.floor(Math.random() * (world.posts.length - limit))
      return json({ feed: world.posts.slice(from, from + limit).map(({ uri }) => ({ post: uri })), cursor: 'next' })
    }
    const did = decodeURIComponent(url.pathname.slice(1))
    const name = did.startsWith('did:plc:') ? nameOf(did) : undefined
    if (!name) return res.writeHead(404).end()
    json({
      '@context': ['https://www.w3.org/ns/did/v1'],
      id: did,
      alsoKnownAs: [`at://${name}.test`],
      verificationMethod: [{ id: `${did}#atproto`, type: 'Multikey', controller: did, publicKeyMultibase: multibase }],
      service: [
        { id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: origin },
        { id: '#bsky_fg', type: 'BskyFeedGenerator', serviceEndpoint: origin },
      ],
    })
  })
  const wss = new WebSocket.WebSocketServer({ server, path: '/subscribe' })
  wss.on('connection', async (ws, req) => {
    const cursor = Number(new URL(req.url, 'http://x').searchParams.get('cursor') ?? 0)
    for (const { time, text } of log) {
      if (time >= cursor) ws.send(text)
      while (ws.bufferedAmount > MOST_WAITING && ws.readyState === ws.OPEN) await sleep(1)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${server.address().port}`
  const port = await freePort()
  const appview = { port, url: `http://127.0.0.1:${port}`, did: 'did:web:appview.example', signingKeyHex: '01'.repeat(32) }
  return {
    world,
    plc: { url: origin },
    pds: { url: origin },
    firehose: { url: origin.replace('http', 'ws'), seq: async () => log.at(-1).time },
    labeler: { did: 'did:plc:bbbbbbbbbbbbbbbbbbbbbbbb', url: origin, seq: 0 },
    appview,
    /** A service token of anybody for one method. */
    token: (iss, lxm) => createServiceJwt({ iss, aud: appview.did, lxm, exp: Math.floor(Date.now() / 1000) + 3600, keypair: key }),
    async close() {
      for (const ws of wss.clients) ws.terminate()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
