// Calls as clients make them: the methods in the shares of the app, by accounts in the order of their popularity, each call
// with a token of its own (as a PDS makes them) and asking for a compressed answer. The client does little but count, so
// that beside it the server is what is measured.
import { connect } from 'node:net'
import { setImmediate as breath } from 'node:timers/promises'
import { Random } from './hostile/random.mjs'
import { target } from './methods.mjs'

const ACTOR = 'app.bsky.actor.'
const FEED = 'app.bsky.feed.'
const GRAPH = 'app.bsky.graph.'
const NOTIFICATION = 'app.bsky.notification.'

/** Calls in a thousand, and their parameters. Whoever looks at notifications has seen them, now and then. */
const METHODS = [
  [240, `${FEED}getTimeline`, () => ({ limit: 50 })],
  [160, `${ACTOR}getProfile`, (w) => ({ actor: w.actor() })],
  [120, `${FEED}getPostThread`, (w) => ({ uri: w.post() })],
  [120, `${FEED}getAuthorFeed`, (w) => ({ actor: w.actor(), limit: 30 })],
  [100, `${FEED}getPosts`, (w) => ({ uris: w.posts(10) })],
  [70, `${NOTIFICATION}listNotifications`, () => ({ limit: 40 })],
  [10, `${NOTIFICATION}updateSeen`, undefined],
  [80, `${NOTIFICATION}getUnreadCount`, () => ({})],
  [30, `${ACTOR}getProfiles`, (w) => ({ actors: w.actors(10) })],
  [20, `${FEED}getLikes`, (w) => ({ uri: w.post() })],
  [20, `${GRAPH}getFollows`, (w) => ({ actor: w.actor() })],
  [20, `${GRAPH}getFollowers`, (w) => ({ actor: w.actor() })],
  [5, `${FEED}getRepostedBy`, (w) => ({ uri: w.post() })],
  [5, `${FEED}getQuotes`, (w) => ({ uri: w.post() })],
]
/** How fast popularity falls, as in the simulator's worlds. */
const ZIPF = 0.95
/** Tokens are asked for over so many connections. */
const MINTING = 16

/** Draws from `items`, the first ones most often. */
export function popular(items, random) {
  const sums = new Float64Array(items.length)
  let sum = 0
  items.forEach((_, i) => (sums[i] = sum += 1 / (i + 1) ** ZIPF))
  return () => {
    const at = random.below(1e9) / 1e9 * sum
    let [low, high] = [0, items.length - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if (sums[middle] < at) low = middle + 1
      else high = middle
    }
    return items[low]
  }
}

/**
 * `n` calls in the shares of `METHODS`, or all of the method `only`, ready to be sent; by accounts as they are popular, or by
 * each of `viewers` in turn.
 */
export async function calls(net, { dids, posts }, n, { seed, only, viewers, gzip = true }) {
  const random = new Random(seed)
  const [actor, post] = [dids, posts].map((items) => popular(items, random))
  const many = (of) => (k) => [...new Set(Array.from({ length: k }, of))]
  const w = { actor, post, actors: many(actor), posts: many(post) }
  const table = METHODS.filter(([, nsid]) => !only || nsid.endsWith(`.${only}`)).flatMap(([share, ...method]) => Array.from({ length: share }, () => method))
  const drawn = Array.from({ length: n }, (_, i) => [viewers ? viewers[i % viewers.length] : actor(), ...random.pick(table)])
  const made = new Array(n)
  const mint = async (first) => {
    for (let i = first; i < n; i += MINTING) {
      const [who, nsid, params] = drawn[i]
      // A token that ends at a time of its own is another one.
      const token = await net.token(who, nsid, 600 + (i % 3000))
      made[i] = { who, method: nsid.split('.').at(-1), bytes: request(nsid, params?.(w), token, gzip) }
    }
  }
  await Promise.all(Array.from({ length: MINTING }, (_, first) => mint(first)))
  return made
}

function request(nsid, params, token, gzip) {
  const body = params ? '' : JSON.stringify({ seenAt: new Date().toISOString() })
  const head = [
    `${params ? 'GET' : 'POST'} /xrpc/${nsid}${target(params)} HTTP/1.1`,
    'host: localhost',
    `authorization: Bearer ${token}`,
    ...(gzip ? ['accept-encoding: gzip'] : []),
    ...(body ? ['content-type: application/json', `content-length: ${body.length}`] : []),
  ]
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`)
}

/** Sends them over some connections, on each one after the other. */
export async function replay(port, list, connections = 8) {
  let next = 0
  const [times, statuses] = [{}, {}]
  let bytes = 0
  const one = () =>
    new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      let [call, sent, left] = []
      let head = ''
      const ask = () => {
        if (next === list.length) return socket.end(resolve)
        call = list[next++]
        ;[sent, left, head] = [performance.now(), undefined, '']
        socket.write(call.bytes)
      }
      const done = () => {
        ;(times[call.method] ??= []).push(performance.now() - sent)
        ask()
      }
      socket.on('connect', ask).on('error', reject).on('close', () => (next < list.length || left > 0) && reject(new Error('the connection was closed')))
      socket.on('data', (data) => {
        bytes += data.length
        if (left === undefined) {
          head += data.toString('latin1', 0, Math.min(data.length, 2048))
          const end = head.indexOf('\r\n\r\n')
          if (end < 0) return
          const status = head.slice(9, 12)
          statuses[status] = (statuses[status] ?? 0) + 1
          const length = Number(head.slice(0, end).match(/\r\ncontent-length: *(\d+)/i)?.[1] ?? 0)
          // An answer's head comes in one piece but for a broken server; what follows it in the piece is body.
          left = length - (data.length - (end + 4))
        } else {
          left -= data.length
        }
        if (left <= 0) done()
      })
    })
  const started = performance.now()
  await Promise.all(Array.from({ length: connections }, one))
  if (!statuses[200]) throw new Error(`no call was answered: ${JSON.stringify(statuses)}`)
  await breath()
  return { rate: list.length / ((performance.now() - started) / 1000), times, statuses, bytes: bytes / list.length }
}
