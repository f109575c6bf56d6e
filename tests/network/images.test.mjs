// Images the whole way: uploaded to a real PDS, shown under the URLs of views, hidden by takedowns, kept over a restart.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { adminHeaders, command, startAerie } from './aerie.mjs'
import { startNetwork } from './net.mjs'
import { transitive } from './plc.mjs'

const { default: sharp } = await transitive('sharp')

let net, aerie, agent, post, avatar

const make = (width, height, background) => sharp({ create: { width, height, channels: 3, background } })
const shown = async (url, init) => {
  const res = await fetch(url, init)
  return { status: res.status, headers: res.headers, bytes: Buffer.from(await res.arrayBuffer()) }
}
const status = async (url) => (await shown(url)).status
const size = async (bytes) => {
  const { format, width, height } = await sharp(bytes).metadata()
  return [format, width, height]
}
const views = async () => {
  const { data } = await agent.app.bsky.feed.getPosts({ uris: [post.uri] })
  return { ...data.posts[0].embed.images[0], avatar: data.posts[0].author.avatar }
}
const takedown = (subject, applied) =>
  net.anonymous(aerie.url).com.atproto.admin.updateSubjectStatus(
    { subject, takedown: { applied, ref: 'test' } },
    { headers: adminHeaders, encoding: 'application/json' },
  )

before(async () => {
  net = await startNetwork()
  aerie = await startAerie(net)
  agent = net.anonymous()
  await agent.createAccount({ handle: 'ida.test', email: 'ida@test.com', password: 'ida-pass' })
  const upload = async (image, encoding) => (await agent.uploadBlob(await image.toBuffer(), { encoding })).data.blob
  avatar = await upload(make(300, 200, 'red').png(), 'image/png')
  // Lies on its side: 800 x 600 in the file, 600 x 800 for the eye.
  const picture = await upload(make(800, 600, 'blue').jpeg().withMetadata({ orientation: 6 }), 'image/jpeg')
  await agent.upsertProfile(() => ({ displayName: 'Ida', avatar }))
  post = await agent.post({
    text: 'look',
    embed: { $type: 'app.bsky.embed.images', images: [{ alt: 'blue', image: picture }] },
  })
  await aerie.caughtUp()
})

after(async () => {
  await aerie?.close()
  await net?.close()
})

test('the URLs of views give images in their sizes', async () => {
  const { thumb, fullsize, avatar } = await views()
  for (const [url, expect] of [
    [fullsize, ['webp', 600, 800]],
    [`${fullsize}@jpeg`, ['jpeg', 600, 800]],
    [thumb, ['webp', 600, 800]],
    [avatar, ['webp', 1000, 1000]],
    [avatar.replace('/avatar/', '/avatar_thumbnail/'), ['webp', 128, 128]],
    [avatar.replace('/avatar/', '/banner/'), ['webp', 3000, 1000]],
  ]) {
    const first = await shown(url)
    assert.deepEqual([first.status, first.headers.get('x-cache')], [200, 'miss'], url)
    assert.deepEqual(await size(first.bytes), expect)
    assert.equal(first.headers.get('cache-control'), 'public, max-age=31536000')
    assert.equal(first.headers.get('access-control-allow-origin'), '*')
    assert.equal(first.headers.get('content-type'), `image/${expect[0]}`)

    const second = await shown(url)
    assert.equal(second.headers.get('x-cache'), 'hit')
    assert.deepEqual(second.bytes, first.bytes)
    // Without the second header, fetch asks for a reload.
    const headers = { 'if-none-match': first.headers.get('etag'), 'cache-control': 'max-age=0' }
    const unchanged = await shown(url, { headers })
    assert.deepEqual([unchanged.status, unchanged.bytes.length], [304, 0])
    const head = await shown(url, { method: 'HEAD' })
    assert.equal(Number(head.headers.get('content-length')), first.bytes.length)
  }
  const { images } = await aerie.status()
  assert.deepEqual([images.requests, images.hits, images.resized, images.cache_files], [24, 12, 6, 6])
  assert.ok(images.cache_bytes > 0)
})

test('a blob comes as it was uploaded and cannot act as a page', async () => {
  const cid = avatar.ref.toString()
  const blob = await shown(`${aerie.url}/blob/${agent.did}/${cid}`)
  assert.deepEqual(await size(blob.bytes), ['png', 300, 200])
  assert.equal(blob.headers.get('content-type'), 'image/png')
  assert.equal(blob.headers.get('content-security-policy'), `default-src 'none'; sandbox`)
  assert.equal(blob.headers.get('x-content-type-options'), 'nosniff')
  assert.equal(blob.headers.get('content-disposition'), `attachment; filename="${cid}"`)
})

test('what there is not is not found, what is no path is refused', async () => {
  const { avatar: url } = await views()
  const missing = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'
  assert.equal(await status(url.replace(/bafkrei\w+/, missing)), 404)
  assert.equal(await status(url.replace(agent.did, 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa')), 404)
  assert.equal(await status(url.replace('/avatar/', '/poster/')), 400)
  assert.equal(await status(`${url}@gif`), 400)
  assert.equal(await status(`${aerie.url}/blob/${agent.did}/${missing}`), 404)
})

test('takedowns and deactivation hide images that are cached', async () => {
  const { avatar: url, fullsize } = await views()
  const cid = avatar.ref.toString()
  const both = async () => [await status(url), await status(`${aerie.url}/blob/${agent.did}/${cid}`), await status(fullsize)]
  const blob = { $type: 'com.atproto.admin.defs#repoBlobRef', did: agent.did, cid }
  const account = { $type: 'com.atproto.admin.defs#repoRef', did: agent.did }
  assert.deepEqual(await both(), [200, 200, 200])
  await takedown(blob, true)
  assert.deepEqual(await both(), [404, 404, 200])
  await takedown(blob, false)
  await takedown(account, true)
  assert.deepEqual(await both(), [404, 404, 404])
  await takedown(account, false)
  assert.deepEqual(await both(), [200, 200, 200])

  await agent.com.atproto.server.deactivateAccount({})
  await aerie.caughtUp()
  assert.deepEqual(await both(), [404, 404, 404])
  await agent.com.atproto.server.activateAccount()
  await aerie.caughtUp()
  assert.deepEqual(await both(), [200, 200, 200])
})

test('a restart keeps the cache, and another CDN can be named', async () => {
  const { fullsize } = await views()
  const before = await shown(fullsize)
  const { cache_files: files, cache_bytes: bytes } = (await aerie.status()).images
  await aerie.stop()
  aerie = await startAerie(net, {
    dir: aerie.dir,
    change: (settings) => {
      settings.images = { cdn_base: 'https://cdn.example/img', video_base: 'https://video.example/watch' }
    },
  })
  const again = await shown(fullsize)
  assert.equal(again.headers.get('x-cache'), 'hit')
  assert.deepEqual(again.bytes, before.bytes)
  await aerie.until('the cache is counted', async () => (await aerie.status()).images.cache_files === files, 10_000)
  assert.equal((await aerie.status()).images.cache_bytes, bytes)
  assert.ok((await views()).fullsize.startsWith('https://cdn.example/img/feed_fullsize/plain/'))
})

test('pictures leave the cache with an account that opts out', async () => {
  assert.ok((await aerie.status()).images.cache_files > 0)
  const { code, output } = await command(aerie.config, 'account', 'opt-out', 'add', '--yes', agent.did)
  assert.equal(code, 0, output)
  await aerie.until('the cache is empty', async () => (await aerie.status()).images.cache_files === 0, 20_000)
})
