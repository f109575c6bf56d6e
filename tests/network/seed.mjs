// A small world in which every feature of the reading side occurs at least once.
// Times of records are a second apart and in the past, so that every order in a view is known beforehand.

const NAMES = ['alice', 'bob', 'carol', 'dan', 'eve', 'fred', 'greta', 'hank', 'ivy', 'judy', 'kim', 'leo']
const DISPLAY = { alice: 'Alice', bob: 'Bob', carol: 'Carol', dan: 'Dan', eve: 'Eve', fred: 'Fred', greta: 'Greta', leo: 'Leo' }
const PIXEL = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)

const ref = ({ uri, cid }) => ({ uri, cid })

/** One account with its session, and its way to write records into its repo. */
class Actor {
  constructor(name, agent, now) {
    Object.assign(this, { name, agent, now })
  }

  get did() {
    return this.agent.did
  }

  async create(collection, record, rkey) {
    const { data } = await this.agent.com.atproto.repo.createRecord({
      repo: this.did,
      collection,
      rkey,
      record: { $type: collection, createdAt: this.now(), ...record },
    })
    return ref(data)
  }

  async put(collection, rkey, record) {
    const { data } = await this.agent.com.atproto.repo.putRecord({
      repo: this.did,
      collection,
      rkey,
      record: { $type: collection, createdAt: this.now(), ...record },
    })
    return ref(data)
  }

  async delete({ uri }) {
    const [, , repo, collection, rkey] = uri.split('/')
    await this.agent.com.atproto.repo.deleteRecord({ repo, collection, rkey })
  }

  post = (text, rest, rkey) => this.create('app.bsky.feed.post', { text, ...rest }, rkey)
  reply = (text, root, parent = root, rest) => this.post(text, { reply: { root: ref(root), parent: ref(parent) }, ...rest })
  quote = (text, record) => this.post(text, { embed: { $type: 'app.bsky.embed.record', record: ref(record) } })
  like = (subject, via) => this.create('app.bsky.feed.like', { subject: ref(subject), ...(via && { via }) })
  repost = (subject) => this.create('app.bsky.feed.repost', { subject: ref(subject) })
  follow = (whom) => this.create('app.bsky.graph.follow', { subject: whom.did })
  block = (whom) => this.create('app.bsky.graph.block', { subject: whom.did })

  async list(name, purpose, members) {
    const list = await this.create('app.bsky.graph.list', { name, purpose: `app.bsky.graph.defs#${purpose}` })
    for (const member of members) {
      await this.create('app.bsky.graph.listitem', { subject: member.did, list: list.uri })
    }
    return list
  }

  gate(post, rules) {
    return this.create('app.bsky.feed.threadgate', { post: post.uri, ...rules }, post.uri.split('/').at(-1))
  }

  postgate(post, rules) {
    return this.create('app.bsky.feed.postgate', { post: post.uri, ...rules }, post.uri.split('/').at(-1))
  }

  async upload() {
    return (await this.agent.uploadBlob(PIXEL, { encoding: 'image/png' })).data.blob
  }
}

/** Makes the twelve accounts, without any record. */
export async function createCast(net) {
  let clock = Date.now() - 3600_000
  const now = () => new Date((clock += 1000)).toISOString()
  const cast = {}
  for (const name of NAMES) {
    const agent = net.anonymous()
    await agent.createAccount({ handle: `${name}.test`, email: `${name}@test.com`, password: `${name}-pass` })
    cast[name] = new Actor(name, agent, now)
  }
  return cast
}

/** What alice's timeline shows then, newest first. */
export const ALICE_TIMELINE = [
  'detachedQuote', 'badQuote', 'unquotable', 'hidden', 'hiding', 'followedCarol', 'followed', 'nobodyAlice', 'nobodyBob',
  'nobody', 'wide5', 'wide0', 'deep7', 'deep6', 'deep5', 'deep4', 'deep3', 'deep2', 'deep1', 'deep0', 'root',
  'rich by carol', 'hello by bob', 'quoteWithMedia', 'carolPost', 'rich', 'pictures', 'early', 'hello',
]

/** Writes the world's records, and gives the named ones as `{ uri, cid }`. */
export async function seed(net, cast) {
  const { alice, bob, carol, dan, eve, fred, greta, hank, ivy, judy, kim, leo } = cast
  const r = {}

  for (const [name, displayName] of Object.entries(DISPLAY)) {
    const avatar = name === 'alice' ? { avatar: await alice.upload() } : {}
    await cast[name].put('app.bsky.actor.profile', 'self', { displayName, description: `I am ${name}`, ...avatar })
  }
  await bob.put('app.bsky.actor.profile', 'self', { displayName: 'Bobby', description: 'changed' })

  const follows = [
    [alice, [bob, carol, eve, hank, ivy, judy]],
    [bob, [alice, carol]],
    [carol, [alice]],
    [dan, [alice, bob]],
    [eve, [alice]],
    [fred, [alice]],
    [greta, [alice, bob]],
    [leo, [alice]],
  ]
  for (const [from, to] of follows) for (const whom of to) await from.follow(whom)
  await dan.delete(await dan.follow(carol))

  // Posts, rich text, embeds. A like arrives before its post, under the key that the post will have.
  const early = { uri: `at://${alice.did}/app.bsky.feed.post/3kaaaaaaaaaa2`, cid: 'bafyreigxvsmbhdenvzaklcfnovbsjc542cu5pjmpqyyc64mdtqwsyimlvi' }
  await dan.like(early)
  r.hello = await alice.post('hello, I am alice')
  r.early = await alice.post('liked before it was written', {}, '3kaaaaaaaaaa2')
  r.pictures = await alice.post('two pictures', {
    embed: {
      $type: 'app.bsky.embed.images',
      images: [
        { image: await alice.upload(), alt: 'one' },
        { image: await alice.upload(), alt: 'two', aspectRatio: { width: 1, height: 1 } },
      ],
    },
  })
  r.rich = await bob.post('hi @carol.test see https://example.com #rust', {
    facets: [
      { index: { byteStart: 3, byteEnd: 14 }, features: [{ $type: 'app.bsky.richtext.facet#mention', did: carol.did }] },
      { index: { byteStart: 19, byteEnd: 38 }, features: [{ $type: 'app.bsky.richtext.facet#link', uri: 'https://example.com' }] },
      { index: { byteStart: 39, byteEnd: 44 }, features: [{ $type: 'app.bsky.richtext.facet#tag', tag: 'rust' }] },
    ],
    embed: {
      $type: 'app.bsky.embed.external',
      external: { uri: 'https://example.com', title: 'Example', description: 'An example' },
    },
  })
  r.carolPost = await carol.post('carol writes 日本語 👩‍👩‍👧‍👦', { langs: ['ja'] })
  r.quote = await dan.quote('dan quotes alice', r.hello)
  r.quoteWithMedia = await eve.post('eve quotes alice, with a picture', {
    embed: {
      $type: 'app.bsky.embed.recordWithMedia',
      record: { $type: 'app.bsky.embed.record', record: ref(r.hello) },
      media: { $type: 'app.bsky.embed.images', images: [{ image: await eve.upload(), alt: 'eve' }] },
    },
  })

  // Likes and reposts; judy's go with her account, hank's and ivy's stay but are not shown.
  await judy.post('soon deleted with the account')
  await judy.like(r.hello)
  await net.deleteAccount(judy.did)
  r.bobRepost = await bob.repost(r.hello)
  await dan.repost(r.hello)
  await carol.repost(r.rich)
  for (const who of [bob, carol, dan, fred, greta, hank, ivy, leo]) await who.like(r.hello)
  await eve.like(r.hello, r.bobRepost)
  await bob.delete(await bob.like(r.carolPost))
  await alice.like(r.carolPost)
  // A true duplicate, which the PDS would clean away in createRecord: the second counts when the first goes.
  for (const rkey of ['3kbbbbbbbbbb2', '3kbbbbbbbbbb3']) {
    await alice.agent.com.atproto.repo.applyWrites({
      repo: alice.did,
      writes: [
        {
          $type: 'com.atproto.repo.applyWrites#create',
          collection: 'app.bsky.feed.like',
          rkey,
          value: { $type: 'app.bsky.feed.like', subject: ref(r.rich), createdAt: alice.now() },
        },
      ],
    })
  }
  await alice.delete({ uri: `at://${alice.did}/app.bsky.feed.like/3kbbbbbbbbbb2` })

  // A thread: eight deep between two accounts, six wide, one reply deleted from under its own reply.
  r.root = await eve.post('root of the long thread')
  let parent = r.root
  for (let i = 0; i < 8; i++) {
    parent = await (i % 2 ? eve : bob).reply(`deep ${i}`, r.root, parent)
    r[`deep${i}`] = parent
  }
  for (const [i, who] of [carol, dan, fred, greta, leo, eve].entries()) r[`wide${i}`] = await who.reply(`wide ${i}`, r.root)
  r.gone = await carol.reply('a reply that is deleted', r.root)
  r.orphan = await dan.reply('a reply to what was deleted', r.root, r.gone)
  await carol.delete(r.gone)

  // Gates.
  r.nobody = await alice.post('nobody may reply')
  await alice.gate(r.nobody, { allow: [] })
  r.nobodyBob = await bob.reply('bob replies anyway', r.nobody)
  r.nobodyAlice = await alice.reply('the author may', r.nobody)
  r.followed = await alice.post('those I follow may reply')
  await alice.gate(r.followed, { allow: [{ $type: 'app.bsky.feed.threadgate#followingRule' }] })
  r.followedCarol = await carol.reply('carol is followed', r.followed)
  r.followedDan = await dan.reply('dan is not', r.followed)
  r.hiding = await alice.post('one reply will be hidden')
  r.hidden = await bob.reply('this one', r.hiding)
  r.shown = await dan.reply('not this one', r.hiding)
  await alice.gate(r.hiding, { hiddenReplies: [r.hidden.uri] })
  r.unquotable = await bob.post('nobody may quote this')
  await bob.postgate(r.unquotable, { embeddingRules: [{ $type: 'app.bsky.feed.postgate#disableRule' }] })
  r.badQuote = await carol.quote('carol quotes it anyway', r.unquotable)
  r.detachedQuote = await eve.quote('bob will detach this', r.rich)
  await bob.postgate(r.rich, { detachedEmbeddingUris: [r.detachedQuote.uri] })

  // Blocks, direct and by list.
  r.fredPost = await fred.post('before the block')
  r.danReply = await dan.reply('dan replies to fred', r.fredPost)
  r.danQuote = await dan.quote('dan quotes fred', r.fredPost)
  await fred.block(dan)
  r.modlist = await greta.list('blocked by those who subscribe', 'modlist', [leo])
  r.curatelist = await greta.list('worth reading', 'curatelist', [alice, bob, carol])
  r.listblock = await carol.create('app.bsky.graph.listblock', { subject: r.modlist.uri })

  // A feed of another server, and an account that labels.
  r.feed = await alice.create('app.bsky.feed.generator', { did: net.feedGen.did, displayName: 'Picked', description: 'by hand' })
  net.feedGen.serve(r.feed.uri, () => ({ feed: [r.hello, r.carolPost, r.fredPost, r.quote].map(({ uri }) => ({ post: uri })) }))
  await bob.like(r.feed)

  // Labels: plain, negated, expired, on an account, and a takedown of a record.
  r.leoPost = await leo.post('spam, spam, spam')
  r.removed = await leo.post('removed by a label')
  await net.labeler.emit({ uri: r.leoPost.uri, cid: r.leoPost.cid, val: 'spam' })
  await net.labeler.emit({ uri: r.leoPost.uri, cid: r.leoPost.cid, val: 'rude' })
  await net.labeler.emit({ uri: r.leoPost.uri, cid: r.leoPost.cid, val: 'rude', neg: true })
  await net.labeler.emit({ uri: r.hello.uri, val: 'old', exp: new Date(Date.now() - 1000).toISOString() })
  await net.labeler.emit({ uri: leo.did, val: 'spammer' })
  await net.labeler.emit({ uri: r.removed.uri, cid: r.removed.cid, val: '!takedown' })

  // Account states.
  r.ivyPost = await ivy.post('before deactivation')
  r.hankPost = await hank.post('before takedown')
  r.hankReply = await hank.reply('hank replies', r.hello)
  await ivy.agent.com.atproto.server.deactivateAccount({})
  await net.takeDownAccount(hank.did)
  await kim.agent.updateHandle({ handle: 'kimberly.test' })
  r.last = await kim.post('the seed is complete')
  return r
}
