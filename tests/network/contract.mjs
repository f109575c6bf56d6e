// Holds every answer that a suite gets under /xrpc/ to its lexicon, whatever the suite asserts. Import it first: it wraps
// fetch, which clients take when they are made. The lexicons are aerie's own.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { after } from 'node:test'
import { transitive } from './plc.mjs'

const { Lexicons, jsonToLex } = await transitive('@atproto/lexicon')

const dir = new URL('../../lexicons/', import.meta.url)
const documents = fs
  .readdirSync(dir, { recursive: true })
  .filter((name) => name.endsWith('.json'))
  .map((name) => JSON.parse(fs.readFileSync(new URL(name, dir), 'utf8')))
const lexicons = new Lexicons(documents)

/** How often each method answered. */
export const answered = new Map()
const violations = []

/** What is wrong with an answer, or nothing. Errors are JSON with a name and a message, whatever the lexicon says. */
export function violation(nsid, status, type, text) {
  const output = lexicons.getDefOrThrow(nsid).output
  const isJson = /^application\/json\b/.test(type)
  if (status === 200 && output?.encoding !== 'application/json') return text && isJson ? 'a body that no lexicon foresees' : undefined
  if (!isJson) return `content type ${type || 'missing'}`
  let body
  try {
    body = JSON.parse(text)
    if (status === 200) lexicons.assertValidXrpcOutput(nsid, jsonToLex(body))
  } catch (error) {
    return error.message
  }
  if (status === 200) return
  const named = [body.error, body.message].every((value) => typeof value === 'string' && value)
  return named ? undefined : 'an error without error and message'
}

async function check(url, response) {
  const [, nsid] = new URL(url).pathname.match(/^\/xrpc\/((?:app\.bsky|com\.atproto\.label|alt\.aerie|community\.blacksky)\.[\w.]+)$/) ?? []
  if (!nsid || !lexicons.get(nsid)) return
  answered.set(nsid, (answered.get(nsid) ?? 0) + 1)
  const type = response.headers.get('content-type') ?? ''
  const text = await response.clone().text()
  const wrong = violation(nsid, response.status, type, text)
  if (wrong) violations.push(`${nsid}: ${wrong}: ${response.status} ${text.slice(0, 300)}`)
}

const plain = globalThis.fetch
globalThis.fetch = async (input, init) => {
  const response = await plain(input, init)
  if ((init?.method ?? input.method ?? 'GET').toUpperCase() !== 'HEAD') await check(input.url ?? input, response)
  return response
}

after(() => {
  assert.ok(answered.size > 0, 'no answer was checked')
  assert.deepEqual(violations, [])
})
