// A hostile PDS: repositories of millions of tiny blocks.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { Random } from './random.mjs'

const BLOCKS = 5_900_000
/** Length, CID and five bytes of content, which are a small CBOR text. */
const BLOCK = 42
const PREFIX = Buffer.from('01711220', 'hex')

/** A CAR whose blocks are different, right, and reached from nowhere; its root is the last of them. */
export function tinyBlocksFile(dir, seed, blocks = BLOCKS) {
  const file = path.join(dir, `tiny-${seed}-${blocks}.car`)
  if (fs.existsSync(file)) return file
  const random = new Random(seed, 'tiny blocks')
  const block = (n) => Buffer.from([0x44, n >>> 24, n >>> 16, n >>> 8, n])
  const cid = (content) => Buffer.concat([PREFIX, createHash('sha256').update(content).digest()])
  const first = random.next()
  const root = cid(block((first + blocks - 1) >>> 0))
  // {"roots": [CID], "version": 1} as DAG-CBOR.
  const header = Buffer.concat([Buffer.from('a265726f6f747381d82a582500', 'hex'), root, Buffer.from('6776657273696f6e01', 'hex')])
  const out = fs.openSync(`${file}.part`, 'w')
  fs.writeSync(out, Buffer.concat([Buffer.from([header.length]), header]))
  for (let done = 0; done < blocks; ) {
    const parts = []
    for (const end = Math.min(done + 50_000, blocks); done < end; done++) {
      const content = block((first + done) >>> 0)
      parts.push(Buffer.from([BLOCK - 1]), cid(content), content)
    }
    fs.writeSync(out, Buffer.concat(parts))
  }
  fs.closeSync(out)
  fs.renameSync(`${file}.part`, file)
  return file
}

/** Serves that file as everybody's repository, at each address of this machine: to whom it serves it is one host each. */
export async function tinyBlocks(party) {
  const file = tinyBlocksFile(party.options.dir, party.options.seed)
  const server = http.createServer((req, res) => {
    if (!req.url.startsWith('/xrpc/com.atproto.sync.getRepo?')) {
      return res.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"InvalidRequest"}')
    }
    party.count('repos asked for')
    res.writeHead(200, { 'content-type': 'application/vnd.ipld.car' })
    const stream = fs.createReadStream(file, { highWaterMark: 256 << 10 })
    stream.on('data', (data) => party.count('bytes sent', data.length))
    stream.on('end', () => party.count('repos sent whole'))
    res.on('close', () => stream.destroy())
    stream.pipe(res)
  })
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  party.ready({ port: server.address().port })
}

/** Serves pictures of `side` by `side` pixels as blobs, as many as `count`, and tells their CIDs. */
export async function pictures(party) {
  const { transitive } = await import('../plc.mjs')
  const { cidOf } = await import('../shapes.mjs')
  const { default: sharp } = await transitive('sharp')
  const { side, count = 1 } = party.options
  const picture = await sharp({ create: { width: side, height: side, channels: 3, background: 'grey' } })
    .png({ compressionLevel: 9 })
    .toBuffer()
  // Bytes after its end make each a blob of its own.
  const blobs = new Map(
    Array.from({ length: count }, (_, i) => Buffer.concat([picture, Buffer.from(String(i))])).map((bytes) => [cidOf(bytes, 0x55), bytes]),
  )
  const server = http.createServer((req, res) => {
    const blob = blobs.get(new URL(req.url, 'http://pds').searchParams.get('cid'))
    if (!blob) return res.writeHead(404).end()
    party.count('blobs asked for')
    res.writeHead(200, { 'content-type': 'image/png' }).end(blob)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  party.ready({ url: `http://127.0.0.1:${server.address().port}`, cids: [...blobs.keys()] })
}
