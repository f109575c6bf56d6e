// Ports for servers that are told where to listen.
import { createServer } from 'node:net'

// Below those that the system gives to connections, one of which could have it by the time that it is listened on.
const [FIRST, COUNT] = [16_000, 16_000]
let next = process.pid

const isFree = (port) =>
  new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })

/** A port that was free a moment ago. */
export async function freePort() {
  for (;;) {
    const port = FIRST + (next++ % COUNT)
    if (await isFree(port)) return port
  }
}
