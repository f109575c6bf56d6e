// A PLC directory, a PDS and a labeler for tests/install/run, until it is ended; prints where they are, for a shell.
import { startNetwork } from '../network/net.mjs'

const net = await startNetwork({ appviewPort: Number(process.argv[2]) })
for (const [name, value] of Object.entries({
  RELAY: net.firehose.url,
  PLC: net.plc.url,
  LABELER: net.labeler.did,
  LABELER_URL: net.labeler.url,
})) console.log(`${name}=${value}`)
process.on('SIGTERM', async () => {
  await net.close()
  process.exit(0)
})
