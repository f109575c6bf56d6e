// The network that the other suites stand on, tried without aerie: when this fails, their failures say nothing.
import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, test } from 'node:test'
import { startNetwork } from './net.mjs'
import { transitive } from './plc.mjs'

const { default: WebSocket } = await transitive('ws')

let net
let stub
const calls = []

before(async () => {
  stub = http.createServer((req, res) => {
    calls.push(req)
    res.writeHead(200, { 'content-type': 'application/json' })
    res.end(JSON.stringify({ feed: [] }))
  })
  await new Promise((resolve) => stub.listen(0, '127.0.0.1', resolve))
  net = await startNetwork({ appviewPort: stub.address().port })
})

after(async () => {
  await net?.close()
  stub.close()
})

test('the AppView has a DID document that points to it', async () => {
  const document = await (await fetch(`${net.plc.url}/${net.appview.did}`)).json()
  assert.deepEqual(
    document.service.map((s) => [s.id, s.serviceEndpoint]),
    [
      ['#bsky_appview', net.appview.url],
      ['#bsky_notif', net.appview.url],
    ],
  )
})

test('the PDS proxies a reading call with a service token for the AppView', async () => {
  const agent = net.anonymous()
  const before = await net.firehose.seq()
  await agent.createAccount({ handle: 'zoe.test', email: 'zoe@test.com', password: 'zoe-pass' })
  assert.ok((await net.firehose.seq()) > before)
  await agent.getTimeline()
  const request = calls.at(-1)
  const claims = JSON.parse(Buffer.from(request.headers.authorization.split('.')[1], 'base64url'))
  assert.match(request.url, /^\/xrpc\/app\.bsky\.feed\.getTimeline/)
  assert.deepEqual([claims.iss, claims.aud, claims.lxm], [agent.did, net.appview.did, 'app.bsky.feed.getTimeline'])
})

test('the labeler replays from a cursor and streams what is new', async () => {
  await net.labeler.emit({ uri: 'did:plc:one', val: 'first' })
  await net.labeler.emit({ uri: 'did:plc:two', val: 'second' })
  const ws = new WebSocket(`${net.labeler.url.replace('http', 'ws')}/xrpc/com.atproto.label.subscribeLabels?cursor=1`)
  const frames = []
  await new Promise((resolve, reject) => {
    ws.on('error', reject)
    ws.on('message', (data) => {
      frames.push(data.toString('latin1'))
      if (frames.length === 1) net.labeler.emit({ uri: 'did:plc:three', val: 'third' })
      if (frames.length === 2) resolve()
    })
  })
  ws.terminate()
  assert.ok(frames[0].includes('second') && frames[1].includes('third'))
  assert.equal(net.labeler.seq, 3)
})
