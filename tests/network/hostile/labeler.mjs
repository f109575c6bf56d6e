// A hostile labeler: labels that it did not sign, and the floods of any stream.
import { ANY, binary, farAhead, frame, handful, PLACE, serveStream } from './stream.mjs'

export async function labeler(party) {
  const { known, did } = party.options
  const { random } = party
  let seq = 0
  const label = () => ({ ver: 1, src: did, uri: random.pick(known), val: 'spam', cts: new Date().toISOString(), sig: random.bytes(64) })
  const labels = (at, some) => frame({ op: 1, t: '#labels' }, { seq: at, labels: some })
  await serveStream(party, '/xrpc/com.atproto.label.subscribeLabels', {
    ...ANY,
    'forged labels': () => handful(() => labels(++seq, [label()])),
    'sequence numbers': () => binary(farAhead(labels(PLACE, []))),
  })
}
