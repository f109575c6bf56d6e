// Backups in a bucket of a server that asks for signed requests (of version 4): made by a server at work, listed, read, put back, taken away.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import S3rver from 's3rver'
import { BINARY, command, temporaryDir } from './aerie.mjs'

const dir = temporaryDir()
const config = path.join(dir, 'aerie.toml')
let bucket, port, server

const write = (key, more = '', data = 'data', place = 's3://mine/of/aerie') =>
  fs.writeFileSync(
    config,
    `[server]\nlisten = "127.0.0.1:0"\nsigning_key_file = "${dir}/signing_key"\n` +
      `[store]\npath = "${dir}/${data}"\nmemory_budget = "64MB"\n` +
      `[network]\nupstreams = []\nplc_url = "http://127.0.0.1:9"\nallow_private_addresses = true\n` +
      `[backup]\nwhere = "${place}"\nevery = "0s"\nprivate = "0s"\n` +
      `endpoint = "http://127.0.0.1:${port}"\naccess_key = "${key}"\nsecret_key = "S3RVER"\n${more}`,
  )

const ran = async (...args) => {
  const child = spawn(BINARY, [...args, '--json', '--config', config], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data) => (output += data))
  const [code] = await once(child, 'close')
  assert.equal(code, 0, output)
  return JSON.parse(output)
}

before(async () => {
  bucket = new S3rver({
    port: 0,
    address: '127.0.0.1',
    silent: true,
    directory: path.join(dir, 's3'),
    configureBuckets: [{ name: 'mine' }],
  })
  port = (await bucket.run()).port
  write('S3RVER')
  server = spawn(BINARY, ['serve', '--config', config], { stdio: 'ignore' })
  while ((await command(config, 'status')).code !== 0) await sleep(50)
})

after(async () => {
  server?.kill('SIGKILL')
  await bucket?.close()
})

test('a backup goes into the bucket and comes back', async () => {
  const member = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
  assert.equal((await command(config, 'member', 'add', member)).code, 0)
  const made = await ran('backup', 'create')
  assert.ok(made.brought > 0)
  const again = await ran('backup', 'create')
  assert.ok(again.brought < made.brought, 'tables that are there are not brought again')
  const alone = await ran('backup', 'create', '--private')
  assert.deepEqual((await ran('backup', 'list')).map(({ kind, error }) => [kind, error]), [
    ['whole', null],
    ['whole', null],
    ['private', null],
  ])
  for (const { id } of [made, again, alone]) assert.deepEqual((await ran('backup', 'verify', id)).damaged, [])
  server.kill()
  await once(server, 'exit')
  const opened = await ran('backup', 'verify', '--open')
  assert.ok(opened.rows.meta_1 > 0)
  write('S3RVER', '', 'restored')
  await ran('backup', 'restore')
  assert.equal((await ran('db', 'check')).clean, true)
  write('S3RVER', '', 'anew')
  assert.equal((await command(config, 'backup', 'restore', '--private')).code, 0)
  const { output } = await command(config, 'private', 'export')
  assert.ok(output.includes(member), output)
  write('S3RVER')
  const pruned = await ran('backup', 'prune', '--keep', '1', '--older-than', '0')
  assert.deepEqual(pruned.removed, [made.id])
  assert.deepEqual((await ran('backup', 'verify', again.id)).damaged, [])
})

test('a wrong key and a bucket that is not there are sentences', async () => {
  write('wrong')
  const refused = await command(config, 'backup', 'list')
  assert.equal(refused.code, 1)
  assert.match(refused.output, /s3:\/\/mine\/of\/aerie: list backups: .*InvalidAccessKeyId/s)
  assert.doesNotMatch(refused.output, /S3RVER/)
  write('S3RVER', '', 'data', 's3://nobodys/of/aerie')
  const absent = await command(config, 'backup', 'list')
  assert.equal(absent.code, 1)
  assert.match(absent.output, /s3:\/\/nobodys\/of\/aerie/)
})
