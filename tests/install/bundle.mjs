// Fits the configuration of an unpacked image to tests/install/run: the network of this machine, other ports, no cgroups.
import fs from 'node:fs'

const [file, env, port] = process.argv.slice(2)
const config = JSON.parse(fs.readFileSync(file, 'utf8'))
const more = fs.readFileSync(env, 'utf8').trim().split('\n')
config.process.env = config.process.env.filter((e) => !e.startsWith('AERIE_SERVER__LISTEN')).concat(more, `AERIE_SERVER__LISTEN=127.0.0.1:${port}`)
config.process.terminal = false
config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'network' && type !== 'cgroup')
delete config.linux.resources
config.mounts = config.mounts.filter(({ type }) => type !== 'cgroup' && type !== 'sysfs')
fs.writeFileSync(file, JSON.stringify(config))
