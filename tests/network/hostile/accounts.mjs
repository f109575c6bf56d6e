// One account with a good token that asks for more than is good for others: everything that it may write, its exports,
// and pages that are dear to make.
import { Wires } from './wire.mjs'

const CID = 'bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a'
const LIMITED = ['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset', 'ratelimit-policy', 'retry-after']

/** Asks `rate` times a second with `token`, from `address`, and looks at how refusals are made. */
async function flood(party, request) {
  const { port, address, rate, token, connections } = party.options
  const wires = new Wires({ port, host: '127.0.0.1' }, [address], connections)
  party.ready()
  await party.pace(rate, async () => {
    const { path, body, headers } = request()
    const authorization = `Bearer ${token}`
    const answer = await wires.ask(party, path, { method: body ? 'POST' : 'GET', body, headers: { authorization, ...headers } })
    if (answer && answer.status !== 200) refusal(party, answer)
  })
}

function refusal(party, { status, head, body }) {
  const { error } = JSON.parse(body.toString() || '{}')
  party.count(`refused ${status} ${error}`)
  const lacks = status === 429 && LIMITED.some((name) => !head.toLowerCase().includes(`\n${name}:`))
  if (lacks) party.count('429 without RateLimit-*')
}

const write = (nsid, input) => ({ path: `/xrpc/${nsid}`, body: JSON.stringify(input) })

export const mutes = (party) => flood(party, () => write('app.bsky.graph.muteActor', { actor: party.random.did() }))

export const bookmarks = (party) =>
  flood(party, () => {
    const uri = `at://${party.random.did()}/app.bsky.feed.post/3k${'a'.repeat(11)}`
    return write('app.bsky.bookmark.createBookmark', { uri, cid: CID })
  })

export const subscriptions = (party) =>
  flood(party, () => {
    const activitySubscription = { post: true, reply: false }
    return write('app.bsky.notification.putActivitySubscription', { subject: party.random.did(), activitySubscription })
  })

export const exports = (party) => flood(party, () => ({ path: '/xrpc/alt.aerie.account.exportData' }))

/** The dearest page there is: compressed, with all the labelers that a request may name. */
export const feeds = (party) => {
  const labelers = Array.from({ length: 64 }, () => party.random.did()).join(', ')
  return flood(party, () => ({
    path: `/xrpc/app.bsky.feed.getAuthorFeed?limit=100&actor=${party.random.pick(party.options.actors)}`,
    headers: { 'accept-encoding': 'gzip', 'atproto-accept-labelers': labelers },
  }))
}
