// DIDs on the local PLC directory, and packages that only dev-env depends on.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const fromDevEnv = createRequire(import.meta.resolve('@atproto/dev-env'))

/** Imports a package the way dev-env would, so that no second version of it is pulled in. */
export const transitive = (name) => import(pathToFileURL(fromDevEnv.resolve(name)).href)

const plc = await transitive('@did-plc/lib')

/** Registers a did:plc whose only rotation key is `key`, and gives its DID. */
export async function register(plcUrl, key, { verificationMethods, services, alsoKnownAs = [] }) {
  const operation = await plc.signOperation(
    {
      type: 'plc_operation',
      verificationMethods: verificationMethods ?? { atproto: key.did() },
      rotationKeys: [key.did()],
      alsoKnownAs,
      services,
      prev: null,
    },
    key,
  )
  const did = await plc.didForCreateOp(operation)
  await new plc.Client(plcUrl).sendOperation(did, operation)
  return did
}
