// Hostile upstreams and labelers beside the honest ones of a server.

/** Some key: what the labeler sends is signed with none. */
const SIGNING_KEY = 'did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme'

/** Each flood, and the reason that ends its connection; what may be true may go on as long as it costs nothing. */
const ANY = { pings: /pings and pongs|does not read/, 'sequence numbers': /leaps/, 'empty fragments': /pieces/, garbage: /could not be read/ }
const FLOODS = {
  upstream: { ...ANY, deletions: null, identities: null, accounts: null },
  labeler: { ...ANY, 'forged labels': null },
}

/** Hostile upstreams and labelers, one a flood, silent until they are told; `prepare` for a scene. */
export function hostileStreams() {
  const parties = []
  const prepare = async (scene) => {
    for (const [kind, floods] of Object.entries(FLOODS)) {
      for (const [flood, reason] of Object.entries(floods)) {
        const did = `did:plc:${'a'.repeat(22)}${String.fromCharCode(98 + parties.length)}a`
        const party = await scene.launch(kind, { name: flood, known: scene.known, did })
        const { port } = party.info
        const status = ({ upstreams, labelers }) =>
          kind === 'upstream' ? upstreams.find(({ url }) => url.endsWith(`:${port}`)) : labelers.find((one) => one.did === did)
        parties.push({ kind, flood, reason, did, party, port, status })
      }
    }
    return (s) => {
      for (const { kind, port, did } of parties) {
        if (kind === 'upstream') s.network.upstreams.push(`ws://127.0.0.1:${port}`)
        else s.labels.labelers.push({ did, url: `http://127.0.0.1:${port}`, signing_key: SIGNING_KEY })
      }
    }
  }
  return { parties, prepare }
}
