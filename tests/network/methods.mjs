// The calls of `scripts/bench methods`: every method that is served, about busy and ordinary subjects, at the usual and
// at the largest page; and some shapes that a made-up world has few of.
import http from 'node:http'

const PAGE = 'limit'
/** Pages of feeds and long threads may take longer than the rest. */
export const TARGET_MS = { usual: 10, long: 30 }
const THREAD = /\.getPostThread(V2)?$/
const LONG_THREAD = 100
const FEED = /\.get(Timeline|AuthorFeed|ListFeed|Feed|ActorLikes|Quotes|CommunityTimeline|CommunityFeed)$/

/** Every third of `items`, so that neighbours of one kind mix; any number of calls goes round. */
const turn = (items) => (i) => items[(i * 3 + Math.floor((i * 3) / items.length)) % items.length]
const some = (items, n) => (i) => Array.from({ length: n }, (_, k) => items[(i * 7 + k) % items.length])

/**
 * Parameters by query. `w` has viewers, dids, posts (of busy threads first), lists, feeds, packs, labelers, handles.
 * What is missing of a world is left out.
 */
export function queries(w) {
  const [actor, did, post, list, feed, pack] = [w.dids, w.dids, w.posts, w.lists, w.feeds, w.packs].map(turn)
  const filters = ['posts_with_replies', 'posts_no_replies', 'posts_with_media', 'posts_with_video', 'posts_and_author_threads']
  // A handle, its beginning, and with two letters swapped.
  const typed = (i) => {
    const [label] = turn(w.handles)(i).split('.')
    return [label, label.slice(0, 4), label.slice(0, 2) + label.slice(3, 4) + label.slice(2, 3) + label.slice(4)][i % 3]
  }
  const record = (uri) => {
    const [, , repo, collection, rkey] = uri.split('/')
    return { repo, collection, rkey }
  }
  return {
    'alt.aerie.account.getStatus': () => ({}),
    'app.bsky.actor.getProfile': (i) => ({ actor: i % 4 ? actor(i) : turn(w.handles)(i) }),
    'app.bsky.actor.getProfiles': (i) => ({ actors: some(w.dids, 25)(i) }),
    'app.bsky.actor.getSuggestions': () => ({}),
    'app.bsky.actor.searchActors': (i) => ({ q: typed(i) }),
    'app.bsky.actor.searchActorsTypeahead': (i) => ({ q: typed(i).slice(0, 1 + (i % 7)) }),
    'app.bsky.ageassurance.getConfig': () => ({}),
    'app.bsky.ageassurance.getState': () => ({ countryCode: 'GB' }),
    'app.bsky.bookmark.getBookmarks': () => ({}),
    'app.bsky.draft.getDrafts': () => ({}),
    'app.bsky.embed.getEmbedExternalView': (i) => ({ url: 'https://example.com/', uris: [post(i)] }),
    'app.bsky.feed.getActorFeeds': (i) => ({ actor: turn(w.feeds.map((uri) => record(uri).repo))(i) }),
    'app.bsky.feed.getActorLikes': (i, viewer) => ({ actor: viewer }),
    'app.bsky.feed.getAuthorFeed': (i) => ({ actor: actor(i), filter: filters[i % filters.length], includePins: true }),
    'app.bsky.feed.getFeedGenerators': (i) => ({ feeds: some(w.feeds, 25)(i) }),
    'app.bsky.feed.getLikes': (i) => ({ uri: post(i) }),
    'app.bsky.feed.getListFeed': (i) => ({ list: list(i) }),
    'app.bsky.feed.getPostThread': (i) => ({ uri: post(i), depth: i % 2 ? 6 : 10 }),
    'app.bsky.feed.getPosts': (i) => ({ uris: some(w.posts, 25)(i) }),
    'app.bsky.feed.getQuotes': (i) => ({ uri: post(i) }),
    'app.bsky.feed.getRepostedBy': (i) => ({ uri: post(i) }),
    'app.bsky.feed.getSuggestedFeeds': () => ({}),
    'app.bsky.feed.getTimeline': () => ({}),
    'app.bsky.graph.getActorStarterPacks': (i) => ({ actor: turn(w.packs.map((uri) => record(uri).repo))(i) }),
    'app.bsky.graph.getBlocks': () => ({}),
    'app.bsky.graph.getFollowers': (i) => ({ actor: actor(i) }),
    'app.bsky.graph.getFollows': (i) => ({ actor: actor(i) }),
    'app.bsky.graph.getKnownFollowers': (i) => ({ actor: actor(i) }),
    'app.bsky.graph.getList': (i) => ({ list: list(i) }),
    'app.bsky.graph.getListBlocks': () => ({}),
    'app.bsky.graph.getListMutes': () => ({}),
    'app.bsky.graph.getLists': (i) => ({ actor: turn(w.lists.map((uri) => record(uri).repo))(i) }),
    'app.bsky.graph.getListsWithMembership': (i) => ({ actor: actor(i) }),
    'app.bsky.graph.getMutes': () => ({}),
    'app.bsky.graph.getRelationships': (i) => ({ actor: actor(i), others: some(w.dids, 30)(i) }),
    'app.bsky.graph.getStarterPack': (i) => ({ starterPack: pack(i) }),
    'app.bsky.graph.getStarterPacks': (i) => ({ uris: some(w.packs, 25)(i) }),
    'app.bsky.graph.getStarterPacksWithMembership': (i) => ({ actor: actor(i) }),
    'app.bsky.graph.getSuggestedFollowsByActor': (i) => ({ actor: actor(i) }),
    'app.bsky.graph.searchStarterPacks': (i) => ({ q: ['*', 'pack', 'people'][i % 3] }),
    'app.bsky.graph.searchStarterPacksV2': (i) => ({ q: ['*', 'pack', 'people'][i % 3] }),
    'app.bsky.labeler.getServices': (i) => ({ dids: w.labelers, detailed: i % 2 === 0 }),
    'app.bsky.notification.getPreferences': () => ({}),
    'app.bsky.notification.getUnreadCount': () => ({}),
    'app.bsky.notification.listActivitySubscriptions': () => ({}),
    'app.bsky.notification.listNotifications': (i) => (i % 4 ? {} : { reasons: ['reply', 'mention', 'quote'] }),
    'app.bsky.unspecced.getAgeAssuranceState': () => ({}),
    'app.bsky.unspecced.getConfig': () => ({}),
    'app.bsky.unspecced.getPopularFeedGenerators': (i) => (i % 2 ? { query: 'feed' } : {}),
    'app.bsky.unspecced.getPostThreadOtherV2': (i) => ({ anchor: post(i) }),
    'app.bsky.unspecced.getPostThreadV2': (i) => ({ anchor: post(i), sort: ['oldest', 'newest', 'top'][i % 3], ...(i % 2 && { below: 10, branchingFactor: 100 }) }),
    'app.bsky.unspecced.getSuggestedStarterPacks': () => ({}),
    'app.bsky.unspecced.getSuggestedUsers': () => ({}),
    'app.bsky.unspecced.getTaggedSuggestions': () => ({}),
    'app.bsky.unspecced.getTrendingTopics': () => ({}),
    'app.bsky.unspecced.getTrends': () => ({}),
    'com.atproto.admin.getAccountInfos': (i) => ({ dids: some(w.dids, 25)(i) }),
    'com.atproto.admin.getSubjectStatus': (i) => (i % 2 ? { did: did(i) } : { uri: post(i) }),
    'com.atproto.identity.resolveHandle': (i) => ({ handle: turn(w.handles)(i) }),
    'com.atproto.label.queryLabels': (i) => ({ uriPatterns: [[post(i)], ['*'], [`at://${did(i)}/*`]][i % 3], sources: w.labelers }),
    'com.atproto.repo.getRecord': (i) => (record([post, list, feed][i % 3](i))),
  }
}

/** Inputs by procedure, in an order in which each finds something to do. */
export function procedures(w) {
  const [actor, post] = [w.dids, w.posts].map(turn)
  const draft = { posts: [{ text: 'I have been meaning to say this for a while' }] }
  const cid = 'bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a'
  const push = (i, aud) => ({ serviceDid: aud, token: `https://push.example/${i}`, platform: 'web', appId: 'app.example' })
  return {
    'app.bsky.graph.muteActor': (i) => ({ actor: turn(w.others)(i) }),
    'app.bsky.graph.muteActorList': (i) => ({ list: w.lists[i % 10] }),
    'app.bsky.graph.muteThread': (i) => ({ root: post(i) }),
    'app.bsky.bookmark.createBookmark': (i) => ({ uri: post(i), cid }),
    'app.bsky.draft.createDraft': () => ({ draft }),
    'app.bsky.draft.updateDraft': (i) => ({ draft: { id: '3kaaaaaaaaaaa', draft } }),
    'app.bsky.notification.putActivitySubscription': (i) => ({ subject: actor(i), activitySubscription: { post: true, reply: false } }),
    'app.bsky.notification.putPreferences': () => ({ priority: false }),
    'app.bsky.notification.putPreferencesV2': () => ({ like: { include: 'all', list: true, push: false } }),
    'app.bsky.notification.registerPush': (i, aud) => push(i, aud),
    'app.bsky.notification.unregisterPush': (i, aud) => push(i, aud),
    'app.bsky.notification.updateSeen': () => ({ seenAt: new Date().toISOString() }),
  }
}

/** Undoes it, once the queries have shown it. */
export const afterwards = (w) => ({
  'app.bsky.graph.unmuteActor': (i) => ({ actor: turn(w.others)(i) }),
  'app.bsky.graph.unmuteActorList': (i) => ({ list: w.lists[i % 10] }),
  'app.bsky.graph.unmuteThread': (i) => ({ root: turn(w.posts)(i) }),
  'app.bsky.bookmark.deleteBookmark': (i) => ({ uri: turn(w.posts)(i) }),
  'app.bsky.draft.deleteDraft': () => ({ id: '3kaaaaaaaaaaa' }),
})

/** The parameters of a query, as they stand behind its path. */
export function target(params) {
  if (!params) return ''
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(params)) for (const one of [value].flat()) query.append(name, one)
  return `?${query}`
}

/** One request at a time over one connection. */
export class Client {
  #agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  #net
  #tokens = new Map()

  constructor(net) {
    this.#net = net
  }

  async #headers(nsid, viewer, more) {
    if (!viewer) return more
    const key = `${viewer} ${nsid}`
    if (!this.#tokens.has(key)) this.#tokens.set(key, await this.#net.token(viewer, nsid))
    return { authorization: `Bearer ${this.#tokens.get(key)}`, ...more }
  }

  /** Asks, and says how long it took until the last byte. */
  async ask(nsid, { params, input, viewer, headers = {} }) {
    const body = input && JSON.stringify(input)
    const whole = await this.#headers(nsid, viewer, { ...headers, ...(body && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }) })
    const path = `/xrpc/${nsid}${target(params)}`
    return new Promise((resolve, reject) => {
      const started = performance.now()
      const req = http.request({ port: this.#net.appview.port, host: '127.0.0.1', path, method: body ? 'POST' : 'GET', agent: this.#agent, headers: whole }, (res) => {
        const chunks = []
        res.on('data', (chunk) => chunks.push(chunk))
        res.on('end', () => resolve({ status: res.statusCode, ms: performance.now() - started, body: Buffer.concat(chunks) }))
        res.on('error', reject)
      })
      req.on('error', reject)
      req.end(body)
    })
  }

  close() {
    this.#agent.destroy()
  }
}

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]

/** What `answers` took and held. */
export function summary(answers) {
  const ms = answers.map((answer) => answer.ms).sort((a, b) => a - b)
  const statuses = {}
  for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1
  const bytes = answers.reduce((sum, { body }) => sum + body.length, 0) / answers.length
  return { p50: at(ms, 0.5), p99: at(ms, 0.99), max: ms.at(-1), bytes, statuses }
}

/** Calls one query `times` times at its largest page or its usual one; every second call asks for the next page of the one before. */
export async function page(client, nsid, make, { times, limit, viewers, headers }) {
  const answers = []
  let [next, before] = []
  for (let i = 0; i < times; i++) {
    const viewer = viewers?.[i % viewers.length]
    const call = next ? { ...before, params: { ...before.params, cursor: next } } : { params: { ...make(i, viewer), ...(limit && { [PAGE]: limit }) }, viewer, headers }
    const answer = await client.ask(nsid, call)
    const cursor = !next && answer.status === 200 ? JSON.parse(answer.body).cursor : undefined
    ;[next, before] = [cursor || undefined, call]
    answers.push(answer)
  }
  return answers
}

/** Answers to a query by what they may take at most: name, milliseconds, answers. What a thread may take goes by its posts. */
export function promises(nsid, limit, answers) {
  const name = limit ? `${nsid}, ${limit}` : nsid
  if (!THREAD.test(nsid)) return [[name, limit && FEED.test(nsid) ? TARGET_MS.long : TARGET_MS.usual, answers]]
  const isLong = ({ body }) => (body.toString().match(/"replyCount":/g) ?? []).length > LONG_THREAD
  return [
    [`${name}, up to ${LONG_THREAD} posts`, TARGET_MS.usual, answers.filter((answer) => !isLong(answer))],
    [`${name}, more than ${LONG_THREAD} posts`, TARGET_MS.long, answers.filter(isLong)],
  ]
}

/** Busy and ordinary subjects of the simulator's world, as aerie shows them. */
export async function discover(client, net) {
  const sample = async (cursor, limit) => {
    const res = await fetch(`${net.pds.url}/sim/actors?cursor=${cursor}&limit=${limit}`)
    return (await res.json()).actors.filter(({ active }) => active).map(({ did }) => did)
  }
  const get = async (nsid, params) => JSON.parse((await client.ask(nsid, { params })).body)
  const dids = await sample(1, 400)
  for (let at = 1000; at < net.actors; at += Math.ceil(net.actors / 20)) dids.push(...(await sample(at, 30)))
  const profiles = []
  for (let i = 0; i < dids.length; i += 25) {
    profiles.push(...(await get('app.bsky.actor.getProfiles', { actors: dids.slice(i, i + 25) })).profiles)
  }
  const most = (count, n, of = profiles) => [...of].sort((a, b) => count(b) - count(a)).slice(0, n)
  const busy = most((p) => p.followersCount + p.postsCount, 20)
  const ordinary = profiles.filter((p) => !busy.includes(p) && p.postsCount > 0).filter((_, i, all) => i % Math.ceil(all.length / 40) === 0)
  const subjects = [...busy, ...ordinary].map(({ did }) => did)
  const posts = []
  for (const actor of subjects) {
    const { feed = [] } = await get('app.bsky.feed.getAuthorFeed', { actor, limit: 100 })
    posts.push(...feed.map(({ post }) => post))
  }
  const loud = most((p) => p.likeCount + 10 * p.replyCount + 10 * p.quoteCount, 60, posts)
  const quiet = posts.filter((_, i) => i % Math.ceil(posts.length / 120) === 0)
  const records = async (what, nsid, key) => {
    const owners = most((p) => p.associated?.[what] ?? 0, 40)
    const all = []
    for (const { did } of owners) all.push(...((await get(nsid, { actor: did }))[key] ?? []).map(({ uri }) => uri))
    return all
  }
  return {
    viewers: [...most((p) => p.followsCount, 2), ...most((p) => p.followersCount, 1), ...ordinary.slice(0, 2)].map(({ did }) => did),
    dids: subjects,
    others: profiles.filter(({ did }) => !subjects.includes(did)).map(({ did }) => did),
    handles: profiles.filter(({ handle }) => handle !== 'handle.invalid').slice(0, 60).map(({ handle }) => handle),
    posts: [...new Set([...loud, ...quiet].map(({ uri }) => uri))],
    lists: await records('lists', 'app.bsky.graph.getLists', 'lists'),
    feeds: await records('feedgens', 'app.bsky.feed.getActorFeeds', 'feeds'),
    packs: await records('starterPacks', 'app.bsky.graph.getActorStarterPacks', 'starterPacks'),
    labelers: [net.labeler.did],
  }
}

/** What a made-up world has none of: name, method, parameters, who asks, and at most how many milliseconds if there is a promise. */
export function extremes(w) {
  const { usual, long } = TARGET_MS
  const thread = 'app.bsky.feed.getPostThread'
  const v2 = 'app.bsky.unspecced.getPostThreadV2'
  const feed = (filter) => ['app.bsky.feed.getAuthorFeed', { actor: w.replier, filter, limit: 100 }, w.keen, long]
  const stars = w.stars.slice(0, 25)
  const pages = (nsid, params, viewer, ms = usual) => [
    [`${nsid.split('.').at(-1)}, 50`, nsid, params, viewer, usual],
    [`${nsid.split('.').at(-1)}, 100`, nsid, { ...params, limit: 100 }, viewer, ms],
  ]
  return [
    ['1,000 replies to one post', thread, { uri: w.wide.uri }, w.heavy, long],
    ['1,000 replies, anonymous', thread, { uri: w.wide.uri }, undefined, long],
    ['1,000 replies in a tree', thread, { uri: w.tall.uri, depth: 10 }, w.heavy, long],
    ['1,000 replies to one post, V2', v2, { anchor: w.wide.uri, below: 20, branchingFactor: 100 }, w.heavy, long],
    ['1,000 replies in a tree, V2', v2, { anchor: w.tall.uri, below: 20, branchingFactor: 100 }, w.heavy, long],
    ["an author's own line of 200", v2, { anchor: w.line.uri, below: 20 }, w.heavy, long],
    ['1,000 replies, the others', 'app.bsky.unspecced.getPostThreadOtherV2', { anchor: w.wide.uri }, w.heavy, long],
    ['6,000 replies', thread, { uri: w.huge.uri }, w.heavy],
    ['a reply by a blocker of 2,000 lists', thread, { uri: w.quarrel.uri }, w.heavy, usual],
    ...pages('app.bsky.feed.getTimeline', {}, w.heavy, long).map(([name, ...rest]) => [`${name}, 5,000 follows`, ...rest]),
    ...pages('app.bsky.feed.getTimeline', {}, w.giant, long).map(([name, ...rest]) => [`${name}, 6,000 follows`, ...rest]),
    ...['posts_with_replies', 'posts_no_replies', 'posts_with_media', 'posts_and_author_threads'].map((filter) => [`12,000 replies, ${filter}`, ...feed(filter)]),
    ...pages('app.bsky.feed.getListFeed', { list: w.large.uri }, w.heavy, long).map(([name, ...rest]) => [`${name}, 5,000 members`, ...rest]),
    ...pages('app.bsky.feed.getActorLikes', { actor: w.heavy }, w.heavy, long).map(([name, ...rest]) => [`${name} of 9,900`, ...rest]),
    ['a list of 5,000', 'app.bsky.graph.getList', { list: w.large.uri, limit: 100 }, w.heavy, usual],
    ['a list that 100 left among others', 'app.bsky.graph.getList', { list: w.left.uri, limit: 100 }, w.heavy, usual],
    ['5,000 follows', 'app.bsky.graph.getFollows', { actor: w.heavy, limit: 100 }, w.keen, usual],
    ['6,000 followers', 'app.bsky.graph.getFollowers', { actor: w.stars[0], limit: 100 }, w.heavy, usual],
    ['6,000 likes', 'app.bsky.feed.getLikes', { uri: w.huge.uri, limit: 100 }, w.heavy, usual],
    ['6,000 reposts', 'app.bsky.feed.getRepostedBy', { uri: w.huge.uri, limit: 100 }, w.heavy, usual],
    ['3,000 quotes', 'app.bsky.feed.getQuotes', { uri: w.huge.uri, limit: 100 }, w.heavy, long],
    ['a star, by 5,000 follows', 'app.bsky.actor.getProfile', { actor: w.stars[0] }, w.heavy, usual],
    ['a star, by 6,000 follows', 'app.bsky.actor.getProfile', { actor: w.stars[0] }, w.giant, usual],
    ['a star, by 1,000 follows', 'app.bsky.actor.getProfile', { actor: w.stars[0] }, w.keen, usual],
    ['25 stars, by 1,000 follows', 'app.bsky.actor.getProfiles', { actors: stars }, w.keen, usual],
    ['25 stars, by 5,000 follows', 'app.bsky.actor.getProfiles', { actors: stars }, w.heavy, usual],
    ['25 stars, by 6,000 follows', 'app.bsky.actor.getProfiles', { actors: stars }, w.giant, usual],
    ['known among 6,000', 'app.bsky.graph.getKnownFollowers', { actor: w.stars[1], limit: 100 }, w.heavy, usual],
    ['20,000 unseen', 'app.bsky.notification.getUnreadCount', {}, w.heavy, usual],
    ['20,000 unseen', 'app.bsky.notification.listNotifications', { limit: 100 }, w.heavy, usual],
    ['20,000 unseen, replies only', 'app.bsky.notification.listNotifications', { limit: 100, reasons: ['reply'] }, w.heavy, usual],
    ['20,000 unseen, priority', 'app.bsky.notification.listNotifications', { limit: 100, priority: true }, w.heavy, usual],
    ...pages('app.bsky.graph.getStarterPacksWithMembership', { actor: w.crowd[3] }, w.host).map(([name, ...rest]) => [`${name} packs`, ...rest]),
    ['100 packs', 'app.bsky.graph.getActorStarterPacks', { actor: w.host, limit: 100 }, w.heavy, usual],
    ['joined by 6,000 within a week', 'app.bsky.graph.getStarterPack', { starterPack: w.joined.uri }, w.heavy, usual],
    ...pages('app.bsky.graph.getLists', { actor: w.collector }, w.heavy).map(([name, ...rest]) => [`${name} of 5,000`, ...rest]),
    ['5,000 lists, none of the purpose', 'app.bsky.graph.getLists', { actor: w.collector, purposes: ['curatelist'] }, w.heavy, usual],
    ['5,000 lists', 'app.bsky.graph.getListsWithMembership', { actor: w.heavy, limit: 100 }, w.collector, usual],
    ['2,000 lists blocked', 'app.bsky.graph.getListBlocks', { limit: 100 }, w.blocker, usual],
    ['a profile, by a blocker of 2,000 lists', 'app.bsky.actor.getProfile', { actor: w.stars[5] }, w.blocker, usual],
    ['a timeline, by a blocker of 2,000 lists', 'app.bsky.feed.getAuthorFeed', { actor: w.heavy, limit: 100 }, w.blocker, long],
    ['100 posts of a generator', 'app.bsky.feed.getFeed', { feed: w.feeds[0].uri, limit: 100 }, w.heavy, long],
    ['30 posts of a generator', 'app.bsky.feed.getFeed', { feed: w.feeds[0].uri, limit: 30 }, w.heavy, usual],
    ['a generator', 'app.bsky.feed.getFeedGenerator', { feed: w.feeds[0].uri }, w.heavy, usual],
    ['posts of the community', 'community.blacksky.feed.getCommunityTimeline', { limit: 100 }, w.heavy, long],
    ['posts of one of the community', 'community.blacksky.feed.getCommunityFeed', { actor: w.crowd[0], limit: 100 }, w.heavy, long],
  ]
}
