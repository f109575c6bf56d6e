// Makes the CAR of one repository with very many records, faster than a PDS could.
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { encode } from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { create as multihash } from 'multiformats/hashes/digest'

const sha256 = (bytes) => createHash('sha256').update(bytes).digest()
const link = (bytes) => CID.createV1(0x71, multihash(0x12, sha256(bytes)))
const varint = (n) => {
  const out = []
  for (; n > 127; n = Math.floor(n / 128)) out.push((n & 127) | 128)
  return Buffer.from([...out, n])
}
const DIGITS = '234567abcdefghijklmnopqrstuvwxyz'
/** The TID of a time in microseconds. */
const tid = (us) => {
  let n = BigInt(us) << 10n
  let text = ''
  for (let i = 0; i < 13; i++, n >>= 5n) text = DIGITS[Number(n & 31n)] + text
  return text
}
/** Half the leading zero bits of a key's hash: how high it stands in the tree. */
const layer = (key) => {
  const hash = sha256(key)
  const byte = hash.findIndex((b) => b !== 0)
  return byte * 4 + Math.floor((Math.clz32(hash[byte]) - 24) / 2)
}

const START = Date.UTC(2024, 0, 1)
const did = (n) => `did:plc:${n.toString(2).padStart(24, 'a').replaceAll('0', 'b').replaceAll('1', 'c')}`
const TEXT = 'the quick brown fox jumps over the lazy dog and tells everybody what it saw on the way '

/** Record `i`: two thirds likes of posts of a few thousand accounts, the rest posts. */
function record(i, likes) {
  const at = START + i * 37
  const createdAt = new Date(at).toISOString()
  if (i < likes) {
    const author = i * 7919 % 5000
    const uri = `at://${did(author)}/app.bsky.feed.post/${tid((START - author * 1000 - i % 40) * 1000)}`
    const subject = { uri, cid: link(Buffer.from(uri)).toString() }
    return [`app.bsky.feed.like/${tid(at * 1000)}`, encode({ $type: 'app.bsky.feed.like', subject, createdAt })]
  }
  const text = `${i} ${TEXT.repeat(3).slice(i % 80, 80 + (i * 31) % 180)}`
  return [`app.bsky.feed.post/${tid(at * 1000)}`, encode({ $type: 'app.bsky.feed.post', text, langs: ['en'], createdAt })]
}

/** Writes the repo of `of`, signed with `key`, with so many records; gives its bytes. */
export async function writeRepo(file, of, key, records) {
  const likes = Math.floor(records * 2 / 3)
  const keys = []
  for (let i = 0; i < records; i++) {
    const [path, block] = record(i, likes)
    keys.push({ path: Buffer.from(path), layer: layer(path), cid: link(block) })
  }
  const nodes = []
  /** The node of keys `from` to `to`, the highest of which are at `at`. */
  const node = (from, to, at) => {
    const subtree = (from, to) => (from === to ? null : node(from, to, at - 1))
    const own = []
    for (let i = from; i < to; i++) if (keys[i].layer === at) own.push(i)
    const l = subtree(from, own[0] ?? to)
    let last = Buffer.alloc(0)
    const e = own.map((i, n) => {
      const { path, cid } = keys[i]
      let p = 0
      while (p < last.length && last[p] === path[p]) p++
      last = path
      return { p, k: path.subarray(p), v: cid, t: subtree(i + 1, own[n + 1] ?? to) }
    })
    const block = encode({ l, e })
    nodes.push(block)
    return link(block)
  }
  const top = keys.reduce((most, k) => Math.max(most, k.layer), 0)
  const data = node(0, records, top)
  const unsigned = { did: of, version: 3, data, rev: tid((START + records * 37) * 1000), prev: null }
  const commit = encode({ ...unsigned, sig: await key.sign(encode(unsigned)) })
  const out = fs.openSync(file, 'w')
  let [parts, held, bytes] = [[], 0, 0]
  const write = (...pieces) => {
    for (const piece of pieces) [held, bytes] = [held + piece.length, bytes + piece.length]
    parts.push(...pieces)
    if (held < 1 << 20) return
    fs.writeSync(out, Buffer.concat(parts))
    parts = []
    held = 0
  }
  const section = (block, cid = link(block)) => write(varint(cid.bytes.length + block.length), cid.bytes, block)
  const header = encode({ version: 1, roots: [link(commit)] })
  write(varint(header.length), header)
  section(commit)
  nodes.reverse().forEach((block) => section(block))
  for (let i = 0; i < records; i++) section(record(i, likes)[1], keys[i].cid)
  fs.writeSync(out, Buffer.concat(parts))
  fs.closeSync(out)
  return bytes
}
