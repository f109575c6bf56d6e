// The simulator as the network of a benchmark, and what the system says of a process.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { format, note } from './figures.mjs'
import { freePort } from './port.mjs'

export const { ATSIM, BENCH_DIR } = process.env
// The cursor belongs to the upstream's URL, so a store that is used again must find it at the same port.
export const SIMULATOR_PORT = process.env.BENCH_PORT ?? '2590'
const TICKS_PER_SECOND = Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout)
fs.mkdirSync(BENCH_DIR, { recursive: true })

/** A world file of the simulator, made once; `shape` names its options. */
export function world(name, events, options = []) {
  const file = path.join(BENCH_DIR, `${name}-${events}.bin`)
  const facts = `${file}.json`
  if (!fs.existsSync(facts)) {
    note(`making the world ${name} of ${format(events)} events`)
    const made = spawnSync(ATSIM, ['gen', '--out', file, '--events', String(events), ...options], { encoding: 'utf8' })
    if (made.status !== 0) throw new Error(`atsim gen: ${made.stderr}`)
    fs.writeFileSync(facts, made.stdout.trim().split('\n').at(-1))
  }
  return { file, ...JSON.parse(fs.readFileSync(facts, 'utf8')) }
}

/**
 * The simulator serving a world, in the shape of a network that `startAerie` knows. With `past` it knows the cursor of a
 * store that has the world already, or has it up to that number; otherwise it would send everything again, beside what is
 * measured.
 */
export async function simulate({ file }, { rate = 'max', past = false, port = SIMULATOR_PORT, options = [] } = {}) {
  const url = `http://127.0.0.1:${port}`
  const args = ['serve', '--from', file, '--port', port, '--rate', String(rate), '--no-oracle', ...options]
  if (past) args.push('--prehistory', past === true ? 'all' : String(past))
  const child = spawn(ATSIM, args, { stdio: 'ignore' })
  const ask = () => fetch(`${url}/sim/state`).then((r) => r.json())
  let state
  while (!state) {
    await sleep(100)
    if (child.exitCode !== null) throw new Error('atsim serve ended')
    state = await ask().catch(() => undefined)
  }
  const appviewPort = await freePort()
  return {
    plc: { url },
    pds: { url },
    firehose: { url: url.replace('http', 'ws'), seq: async () => state.lastSeq },
    labeler: { did: state.labeler, url, seq: 0 },
    actors: state.actors,
    /** The last number sent so far. */
    released: async () => (await ask()).seq,
    token: async (iss, lxm, exp = 3600) => {
      const query = new URLSearchParams({ iss, lxm, aud: 'did:web:appview.example', exp: String(exp) })
      return (await fetch(`${url}/sim/serviceAuth?${query}`).then((r) => r.json())).token
    },
    appview: {
      port: appviewPort,
      url: `http://127.0.0.1:${appviewPort}`,
      did: 'did:web:appview.example',
      signingKeyHex: '01'.repeat(32),
    },
    lastSeq: state.lastSeq,
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill()
      await once(child, 'exit')
    },
  }
}

export const folder = () => fs.mkdtempSync(path.join(BENCH_DIR, 'run-'))
export const remove = (dir) => fs.rmSync(dir, { recursive: true, force: true })

export const proc = (pid, file) => fs.readFileSync(`/proc/${pid}/${file}`, 'utf8')
const status = (pid, name) => Number(proc(pid, 'status').match(new RegExp(`${name}:\\s+(\\d+)`))[1]) / 1024
export const peakMb = (pid) => status(pid, 'VmHWM')
export const residentMb = (pid) => status(pid, 'VmRSS')
/** Bytes that it gave to the disk. */
export const writtenBytes = (pid) => Number(proc(pid, 'io').match(/\nwrite_bytes: (\d+)/)[1])
export const cpuSeconds = (pid) => {
  const fields = proc(pid, 'stat').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}
export const position = async (aerie) => (await aerie.status()).upstreams[0].seq ?? 0

export async function finish({ net, aerie }) {
  await aerie.stop()
  await net.close()
}
