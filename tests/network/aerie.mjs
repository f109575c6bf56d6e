// The aerie binary as a child process: writes its configuration, waits until it serves, knows when it has caught up.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const BINARY =
  process.env.AERIE_BIN ?? path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target'), 'debug/aerie')
const ADMIN_PASSWORD = 'admin-pass'
/** What is waited for comes within the limit where nothing else runs; a busy machine gets so many times as long. */
const PATIENCE = 4
export const adminHeaders = { authorization: `Basic ${Buffer.from(`admin:${ADMIN_PASSWORD}`).toString('base64')}` }

// JSON's strings, numbers and arrays are TOML as they stand; its objects are not.
const toml = (value) => {
  if (Array.isArray(value)) return `[${value.map(toml).join(', ')}]`
  if (typeof value !== 'object') return JSON.stringify(value)
  return `{ ${Object.entries(value).map(([k, v]) => `${k} = ${toml(v)}`).join(', ')} }`
}

/** What aerie needs to follow `net` and to answer its PDS, as sections of the configuration file. */
export const settingsFor = (net, dir) => ({
  server: {
    listen: `127.0.0.1:${net.appview.port}`,
    public_url: net.appview.url,
    did: net.appview.did,
    signing_key_file: path.join(dir, 'signing-key.hex'),
  },
  admin: { password: ADMIN_PASSWORD },
  store: { path: path.join(dir, 'data'), memory_budget: '256MB' },
  network: {
    upstreams: [net.firehose.url],
    plc_url: net.plc.url,
    allow_private_addresses: true,
    handle_overrides: [{ suffix: '.test', url: net.pds.url }],
  },
  labels: { labelers: [{ did: net.labeler.did, url: net.labeler.url }], default: [net.labeler.did] },
})

/** Writes the configuration for `net` into `dir`; `change` may alter the settings first. */
export function configure(net, { dir, change = () => {} }) {
  const settings = settingsFor(net, dir)
  change(settings)
  const sections = Object.entries(settings).map(
    ([name, keys]) => `[${name}]\n${Object.entries(keys).map(([k, v]) => `${k} = ${toml(v)}\n`).join('')}`,
  )
  fs.mkdirSync(dir, { recursive: true })
  fs.writeFileSync(path.join(dir, 'signing-key.hex'), net.appview.signingKeyHex, { mode: 0o600 })
  fs.writeFileSync(path.join(dir, 'config.toml'), sections.join('\n'))
  return { config: path.join(dir, 'config.toml'), settings }
}

export const temporaryDir = () => fs.mkdtempSync(path.join(os.tmpdir(), 'aerie-test-'))

/** Runs another command of the binary on the same configuration, to its end. */
export async function command(config, ...args) {
  const child = spawn(BINARY, [...args, '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data))
  const [code] = await once(child, 'close')
  return { code, output }
}

/** Starts aerie on `net` and, unless `ready` is false, waits until it answers. Its log goes to `dir`/aerie.log. */
export async function startAerie(net, { dir = temporaryDir(), change, binary = BINARY, ready = true } = {}) {
  const { config, settings } = configure(net, { dir, change })
  const url = net.appview.url
  const logFile = path.join(dir, 'aerie.log')
  const log = fs.openSync(logFile, 'a')
  const child = spawn(binary, ['serve', '--config', config], { stdio: ['ignore', log, log] })
  fs.closeSync(log)
  const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal }))
  const lastWords = () => fs.readFileSync(logFile, 'utf8').split('\n').slice(-20).join('\n')

  /** Polls until `condition` gives something, and fails with the log when that takes too long. */
  const until = async (what, condition, timeoutMs) => {
    const end = Date.now() + PATIENCE * timeoutMs
    for (;;) {
      const value = await condition().catch(() => undefined)
      if (value) return value
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`aerie ended before: ${what}\n${lastWords()}`)
      if (Date.now() > end) throw new Error(`not within ${PATIENCE * timeoutMs} ms: ${what}\n${lastWords()}`)
      await sleep(20)
    }
  }

  const status = async () => {
    const res = await fetch(`${url}/admin/status`, { headers: adminHeaders })
    if (!res.ok) throw new Error(`/admin/status: ${res.status}`)
    return res.json()
  }

  const stop = async (signal = 'SIGTERM') => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    return exited
  }

  if (ready) {
    const healthy = async () => (await fetch(`${url}/xrpc/_health`)).ok
    await until('GET /xrpc/_health', healthy, 30_000).catch(async (error) => {
      await stop('SIGKILL')
      throw error
    })
  }

  return {
    url,
    dir,
    config,
    store: settings.store.path,
    pid: child.pid,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    exited,
    status,
    until,
    stop,
    logText: () => fs.readFileSync(logFile, 'utf8'),
    /** Waits until every read shows all that firehose and labeler have sent so far. */
    async caughtUp(timeoutMs = 30_000) {
      const seq = await net.firehose.seq()
      const labels = net.labeler.seq
      await until(
        `caught up to ${seq}`,
        async () => {
          const s = await status()
          return (
            s.upstreams.every((u) => u.seq >= seq) && s.labelers.every((l) => (l.seq ?? 0) >= labels) && !s.pending
          )
        },
        timeoutMs,
      )
    },
    /** Stops it and removes its folder. */
    async close() {
      await stop()
      fs.rmSync(dir, { recursive: true, force: true })
    },
  }
}
