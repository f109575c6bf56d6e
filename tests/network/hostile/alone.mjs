// Runs a command where every address is this machine's: a network namespace of its own, with nothing but loopback, in
// which attackers may come from anywhere. Needs `unshare` and `ip`, and root or user namespaces; without them those
// attacks that need other addresses are left out.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

const SETUP = `ip link set lo up && ip -6 route add local 2001:db8::/32 dev lo && echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind && exec "$@"`

/** Runs this script again in there and ends with it, unless that was done already or cannot be. */
export async function alone() {
  if (process.env.BENCH_ALONE !== undefined) return
  const unshare = [['--net'], ['--map-root-user', '--net']].find(
    (how) => spawnSync('unshare', [...how, 'sh', '-c', SETUP, 'sh', 'true']).status === 0,
  )
  process.env.BENCH_ALONE = unshare ? '1' : '0'
  if (!unshare) return console.log('  no network of its own can be had here (unshare): attacks by a /64 are left out')
  const child = spawn('unshare', [...unshare, 'sh', '-c', SETUP, 'sh', process.execPath, ...process.execArgv, ...process.argv.slice(1)], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
  const [code, signal] = await once(child, 'exit')
  process.exit(signal ? 1 : code)
}
