// `scripts/run --local`: a seeded network and aerie as its AppView, until Ctrl-C; prints what to try.
import fs from 'node:fs'
import { parseArgs } from 'node:util'
import { startAerie, temporaryDir } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { createCast, seed } from './seed.mjs'

const { values: options } = parseArgs({
  options: {
    binary: { type: 'string' },
    port: { type: 'string', default: '2584' },
    'pds-port': { type: 'string', default: '2583' },
    'plc-port': { type: 'string', default: '2582' },
  },
})

const started = performance.now()
const progress = (text) => console.log(`[${((performance.now() - started) / 1000).toFixed(1)} s] ${text}`)
const dir = temporaryDir()
let net
let aerie
let ending = false

async function end(code) {
  if (ending) return
  ending = true
  progress('stopping')
  await aerie?.stop()
  await net?.close().catch(() => {})
  fs.rmSync(dir, { recursive: true, force: true })
  process.exit(code)
}
process.on('SIGINT', () => end(0))
process.on('SIGTERM', () => end(0))

try {
  await main()
} catch (error) {
  if (!ending) console.error(error.message)
  await end(1)
}

async function main() {
  net = await startNetwork({
    appviewPort: Number(options.port),
    pdsPort: Number(options['pds-port']),
    plcPort: Number(options['plc-port']),
  })
  progress(`PLC directory ${net.plc.url}, PDS ${net.pds.url}, labeler ${net.labeler.url}`)
  aerie = await startAerie(net, { dir, binary: options.binary })
  aerie.exited.then(({ code, signal }) => {
    if (ending) return
    console.error(`aerie ended (${signal ?? code}):\n${aerie.logText()}`)
    end(1)
  })
  progress(`aerie ${aerie.url}, its log and data in ${dir}`)
  const cast = await createCast(net)
  const refs = await seed(net, cast)
  progress(`12 accounts seeded, firehose at ${await net.firehose.seq()}`)
  await aerie.caughtUp()
  progress('indexed')
  console.log(commands(cast, refs))
}

function commands({ alice }, { root }) {
  const xrpc = (base, method, params) => `${base}/xrpc/${method}?${new URLSearchParams(params)}`
  const token = `TOKEN=$(curl -s ${net.pds.url}/xrpc/com.atproto.server.createSession -H 'content-type: application/json' \\
    -d '{"identifier":"alice.test","password":"alice-pass"}' | sed 's/.*"accessJwt":"\\([^"]*\\)".*/\\1/')`
  return `
Every account NAME.test has the password NAME-pass. To try, in another shell:

  # a profile, an author feed, a thread: from aerie itself, without an account
  curl -s '${xrpc(aerie.url, 'app.bsky.actor.getProfile', { actor: 'alice.test' })}'
  curl -s '${xrpc(aerie.url, 'app.bsky.feed.getAuthorFeed', { actor: alice.did, limit: 5 })}'
  curl -s '${xrpc(aerie.url, 'app.bsky.feed.getPostThread', { uri: root.uri })}'

  # alice's timeline and notifications, the way her app reads them: through her PDS
  ${token}
  curl -s -H "authorization: Bearer $TOKEN" '${xrpc(net.pds.url, 'app.bsky.feed.getTimeline', { limit: 10 })}'
  curl -s -H "authorization: Bearer $TOKEN" '${xrpc(net.pds.url, 'app.bsky.notification.listNotifications', { limit: 10 })}'

  # what aerie is doing
  curl -s -u admin:admin-pass ${aerie.url}/admin/status

Ctrl-C ends it and removes its data.`
}
