// A real AT Protocol network on loopback, in this process: PLC directory, PDS, labeler, feed generator.
// The PDS sends the app.bsky.* calls of its accounts to the AppView whose port is given.
process.env.LOG_ENABLED ??= 'false'

import fs from 'node:fs'
import { AtpAgent } from '@atproto/api'
import { startLabeler } from './labeler.mjs'
import { register, transitive } from './plc.mjs'
import { freePort } from './port.mjs'

const { TestFeedGen, TestPds, TestPlc, mockNetworkUtilities } = await import('@atproto/dev-env')
const { Secp256k1Keypair } = await transitive('@atproto/crypto')

/** Starts the network; ports that are left out are random. */
export async function startNetwork({ appviewPort, plcPort, pdsPort } = {}) {
  appviewPort ??= await freePort()
  const plc = await TestPlc.create({ ...(plcPort && { port: plcPort }) })
  // Its database is in memory, where the package leaves the export out: the same query, over what it holds.
  const operations = plc.ctx.db.contents
  plc.ctx.db.exportOps = async (count, after) =>
    Object.values(operations)
      .flat()
      .filter((op) => !after || op.createdAt > after)
      .sort((a, b) => a.createdAt - b.createdAt)
      .slice(0, count)
      .map((op) => ({ ...op, cid: op.cid.toString() }))

  const appviewUrl = `http://localhost:${appviewPort}`
  const key = await Secp256k1Keypair.create({ exportable: true })
  const appview = {
    port: appviewPort,
    url: appviewUrl,
    signingKeyHex: Buffer.from(await key.export()).toString('hex'),
    did: await register(plc.url, key, {
      alsoKnownAs: ['at://appview.test'],
      services: {
        bsky_appview: { type: 'BskyAppView', endpoint: appviewUrl },
        bsky_notif: { type: 'BskyNotificationService', endpoint: appviewUrl },
      },
    }),
  }

  const startPds = async ({ port, domain } = {}) => {
    const pds = await TestPds.create({
      ...(port && { port }),
      ...(domain && { serviceHandleDomains: [domain] }),
      didPlcUrl: plc.url,
      bskyAppViewUrl: appview.url,
      bskyAppViewDid: appview.did,
      bskyAppViewCdnUrlPattern: `${appview.url}/img/%s/plain/%s/%s`,
    })
    mockNetworkUtilities(pds)
    return pds
  }
  const firehoseOf = (pds) => ({
    url: pds.url.replace('http', 'ws'),
    /** The last sequence number sent. */
    seq: async () => (await pds.ctx.sequencer.curr()) ?? 0,
  })
  const pds = await startPds({ port: pdsPort })
  const others = []

  const labeler = await startLabeler(plc.url)
  const admin = pds.getAgent()
  const asAdmin = { headers: pds.adminAuthHeaders(), encoding: 'application/json' }
  const feeds = {}
  // Clients ask for this labeler's labels with redact, as the app does for its own moderation service.
  AtpAgent.configure({ appLabelers: [labeler.did] })
  const feedGen = await TestFeedGen.create(plc.url, feeds)

  return {
    /** `operations` is the directory's database: by DID, the oldest first. */
    plc: { url: plc.url, operations },
    pds: {
      url: pds.url,
      rotationKey: pds.ctx.plcRotationKey,
      /** Where the key of an account is, and what says that it changed, or that the account did. */
      keyFile: async (did) => (await pds.ctx.actorStore.getLocation(did)).keyLocation,
      announceIdentity: (did) => pds.ctx.sequencer.sequenceIdentity(did),
      announceAccount: (did, status) => pds.ctx.sequencer.sequenceAccount(did, status),
      /** The key that an account signs its commits and service tokens with. */
      async signingKey(did) {
        const { keyLocation } = await pds.ctx.actorStore.getLocation(did)
        return Secp256k1Keypair.import(fs.readFileSync(keyLocation))
      },
    },
    /** What aerie follows: the PDS itself, unless a test puts something between. */
    firehose: firehoseOf(pds),
    appview,
    labeler,
    /** Feed URI to skeleton: `feeds[uri] = ({ params }) => ({ feed: [{ post }], cursor })`. */
    feedGen: {
      did: feedGen.did,
      serve(uri, skeleton) {
        feeds[uri] = (args) => ({ encoding: 'application/json', body: skeleton(args) })
      },
    },
    /** A client without a session: of the PDS, or of another service. */
    anonymous: (service = pds.url) => new AtpAgent({ service }),
    /** Another PDS of the network, with handles under `domain`; `asked` has the paths that it was asked for. */
    async anotherPds(domain) {
      const other = await startPds({ domain })
      others.push(other)
      const asked = []
      other.server.server.on('request', (req) => asked.push(req.originalUrl ?? req.url))
      return { url: other.url, firehose: firehoseOf(other), asked, did: other.ctx.cfg.service.did }
    },
    deleteAccount: (did) => admin.com.atproto.admin.deleteAccount({ did }, asAdmin),
    takeDownAccount: (did, applied = true) =>
      admin.com.atproto.admin.updateSubjectStatus(
        { subject: { $type: 'com.atproto.admin.defs#repoRef', did }, takedown: { applied, ref: 'test' } },
        asAdmin,
      ),
    async close() {
      await Promise.allSettled([labeler.close(), feedGen.close()])
      await Promise.allSettled(others.map((other) => other.close()))
      await pds.close()
      await plc.close()
    },
  }
}
