// A hostile upstream: well-formed events about accounts that are not its own, faster than anybody could look into them.
import { ANY, binary, farAhead, frame, handful, PLACE, serveStream } from './stream.mjs'

const time = () => new Date().toISOString()
const event = (type, body) => frame({ op: 1, t: type }, { ...body, time: time() })

/** `known` are accounts that the server holds. */
export async function upstream(party) {
  const { known } = party.options
  const { random } = party
  let seq = 0
  const account = (status) => {
    const body = { seq: ++seq, did: random.pick(known), active: status === undefined }
    return event('#account', status === undefined ? body : { ...body, status })
  }
  const states = ['takendown', 'suspended', 'deactivated', undefined]
  await serveStream(party, '/xrpc/com.atproto.sync.subscribeRepos', {
    ...ANY,
    deletions: () => handful(() => account('deleted')),
    accounts: () => handful(() => account(random.pick(states))),
    identities: () => handful(() => event('#identity', { seq: ++seq, did: random.did() })),
    'sequence numbers': () => binary(farAhead(event('#identity', { seq: PLACE, did: random.pick(known) }))),
  })
}
