// The check of answers against lexicons, tried on answers whose fault is known: when this fails, it says nothing.
import assert from 'node:assert/strict'
import http from 'node:http'
import { test } from 'node:test'
import { answered, violation } from './contract.mjs'

const JSON_TYPE = 'application/json; charset=utf-8'
const LIKES = 'app.bsky.feed.getLikes'
const good = { uri: 'at://did:plc:x/app.bsky.feed.post/3k', likes: [] }

test('answers that break their lexicon are found', () => {
  const cases = [
    [LIKES, 200, good, undefined],
    [LIKES, 200, { ...good, more: 1 }, undefined],
    [LIKES, 200, { likes: [] }, /must have the property "uri"/],
    [LIKES, 200, { ...good, uri: 'x' }, /at-uri/i],
    [LIKES, 200, { ...good, likes: [{ createdAt: 'today' }] }, /likes\/0/],
    [LIKES, 400, { error: 'InvalidRequest', message: 'Malformed cursor' }, undefined],
    [LIKES, 400, { error: 'InvalidRequest' }, /without error and message/],
    [LIKES, 500, { error: '', message: 'x' }, /without error and message/],
    ['app.bsky.graph.muteActor', 200, {}, /no lexicon foresees/],
  ]
  for (const [nsid, status, body, expected] of cases) {
    const found = violation(nsid, status, JSON_TYPE, JSON.stringify(body))
    if (expected) assert.match(found ?? 'nothing', expected)
    else assert.equal(found, undefined)
  }
  assert.equal(violation('app.bsky.graph.muteActor', 200, '', ''), undefined)
  assert.match(violation(LIKES, 502, 'text/html', '<p>'), /content type/)
  assert.match(violation(LIKES, 200, JSON_TYPE, '{'), /JSON/)
})

test('every fetch is looked at', async () => {
  const server = http.createServer((_, res) => res.setHeader('content-type', JSON_TYPE).end(JSON.stringify(good)))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const res = await fetch(`http://127.0.0.1:${server.address().port}/xrpc/${LIKES}?uri=${good.uri}`)
  assert.deepEqual(await res.json(), good)
  assert.equal(answered.get(LIKES), 1)
  server.close()
})
