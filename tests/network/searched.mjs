// `scripts/bench search`: posts in twelve languages and accounts, what their index costs, and how long searches of them take.
// Words are invented, but as long and as rare as those of the languages.
import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { command, startAerie } from './aerie.mjs'
import { figure, format, note } from './figures.mjs'
import { p } from './hostile/good.mjs'
import { Random } from './hostile/random.mjs'
import { Client } from './methods.mjs'
import { popular } from './mix.mjs'
import { transitive } from './plc.mjs'
import { cidOf, startShapes } from './shapes.mjs'
import { cpuSeconds, finish, folder, peakMb, remove } from './simulator.mjs'

const { encode } = await transitive('@atproto/lex-cbor')

const POSTS = Number(process.env.BENCH_POSTS ?? 1_000_000)
const ACCOUNTS = Math.max(1000, Math.floor(POSTS / 5))
const QUERIES = 1000
const DAYS = 60

const syllables = (text) => text.split(' ')
const LATIN = syllables('ba ce di fo gu ha ke li mo nu pa re si to va we xi yo za che sho tra ple')
/** Of a hundred posts, so many; what words are made of; a sign between them; syllables of a word. */
const LANGUAGES = {
  en: [50, LATIN, ' '],
  pt: [10, LATIN, ' '],
  de: [5, [...LATIN, 'ü', 'ß'], ' '],
  es: [4, [...LATIN, 'ñ', 'á'], ' '],
  fr: [3, [...LATIN, 'é', 'ç'], ' '],
  tr: [2, [...LATIN, 'ı', 'ş'], ' '],
  ja: [18, [...'日本語東京都学生今天気新聞読書行見食飲人大小中国会社電車のにはをがでとたしますいるからなれう'], ''],
  zh: [2, [...'的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可'], ''],
  ko: [3, [...'가나다라마바사아자차카타파하거너더러머버서어저처고노도로모보소오조은는이를에의한국'], ' '],
  th: [1, [...'กขคงจชซญดตถทนบปผพฟมยรลวสหอะาิีึุูเแโใไ'], ''],
  ar: [1, syllables('كت سل مد رح عل قم نص بح جم طي فه خر'), ' '],
  hi: [1, syllables('क म ल र त न प स ह ज द ब ग च का की मे'), ' '],
}

/** The posts of `n` accounts, made again each time that they are read. */
function world() {
  const random = new Random('search')
  const digits = 'abcdefghijklmnopqrstuvwxyz234567'
  const numbered = (n) => (n ? numbered(n >> 5) + digits[n & 31] : '')
  const dids = Array.from({ length: ACCOUNTS }, (_, i) => `did:plc:${numbered(i + 1).padStart(24, 'a')}`)
  const tongues = Object.entries(LANGUAGES).map(([lang, [share, parts, between]]) => {
    const word = () => Array.from({ length: 2 + random.below(3) }, () => random.pick(parts)).join('')
    const words = Array.from({ length: between ? 30_000 : 5000 }, word)
    return { lang, share, between, words, next: popular(words, random) }
  })
  const author = popular(dids, random)
  const start = (Date.now() - DAYS * 86_400_000) * 1000
  const step = Math.floor((DAYS * 86_400_000_000) / (POSTS + ACCOUNTS) / 1024) * 1024
  const last = start + (POSTS + ACCOUNTS - 1) * step
  const tid = (us) => {
    let [n, text] = [BigInt(us) << 10n, '']
    for (let i = 0; i < 13; i++, n >>= 5n) text = '234567abcdefghijklmnopqrstuvwxyz'[Number(n & 31n)] + text
    return text
  }
  const tongue = (i) => {
    let at = (i * 7919) % 100
    return tongues.find(({ share }) => (at -= share) < 0)
  }
  /** The words of post `i`, always the same: an own chance of each. */
  const text = (i) => {
    const of = tongue(i)
    const own = new Random('post', String(i))
    const n = 4 + own.below(24)
    return { lang: of.lang, of, words: Array.from({ length: n }, () => of.words[Math.floor(of.words.length ** (own.below(1e6) / 1e6)) - 1]) }
  }
  const name = (i) => [0, 1].map((n) => tongues[0].words[(i * (n ? 31 : 7)) % 30_000]).join(' ')
  const message = (i) => {
    const time = start + i * step
    const createdAt = new Date(time / 1000).toISOString()
    const profile = i < ACCOUNTS
    const did = profile ? dids[i] : author()
    const { lang, of, words } = profile ? {} : text(i)
    const collection = profile ? 'app.bsky.actor.profile' : 'app.bsky.feed.post'
    const record = profile ? { displayName: name(i), description: '' } : { text: words.join(of.between), langs: [lang] }
    const whole = { $type: collection, createdAt, ...record }
    const cid = cidOf(encode(whole), 0x71)
    const commit = { rev: tid(time), operation: 'create', collection, rkey: profile ? 'self' : tid(time), record: whole, cid }
    return { time, text: JSON.stringify({ did, time_us: time, kind: 'commit', commit }) }
  }
  const log = {
    at: () => ({ time: last }),
    *[Symbol.iterator]() {
      for (let i = 0; i < POSTS + ACCOUNTS; i++) yield message(i)
    },
  }
  const names = dids.map((_, i) => `a${i}`)
  return { names, log, dids, text: (n) => text(ACCOUNTS + n), name, posts: [] }
}

/** What people type: words of posts that are there, side by side or not, parts of words where there are no spaces. */
function queries(w, random) {
  const some = () => w.text(random.below(POSTS))
  const two = () => {
    const { of, words } = some()
    const at = random.below(words.length - 1)
    return { of, pair: words.slice(at, at + 2) }
  }
  return {
    'one word': () => ({ q: random.pick(some().words) }),
    'two words': () => ({ q: two().pair.join(' ') }),
    'a phrase': () => {
      const { of, pair } = two()
      return { q: `"${pair.join(of.between)}"` }
    },
    'two words, the best': () => ({ q: two().pair.join(' '), sort: 'top' }),
    'one word, the best': () => ({ q: random.pick(some().words), sort: 'top' }),
    'a word of somebody': () => ({ q: `from:${w.dids[random.below(100)]} ${random.pick(some().words)}` }),
    'a word and not another': () => {
      const { pair } = two()
      return { q: `${pair[0]} -${pair[1]}` }
    },
    'what nobody wrote': () => ({ q: `${two().pair.join('')}qqq ${random.pick(some().words)}` }),
    everything: () => ({ q: '*' }),
  }
}

const typed = (w, random) => ({
  'the beginning of a name': () => w.name(random.below(ACCOUNTS)).slice(0, 1 + random.below(8)),
  'a name with a slip': () => {
    const name = w.name(random.below(ACCOUNTS))
    const at = 1 + random.below(3)
    return name.slice(0, at) + 'q' + name.slice(at + 1)
  },
})

export async function searched() {
  const w = world()
  const net = await startShapes(w)
  const dir = folder()
  const change = (s) => {
    s.store.memory_budget = '512MB'
    s.network.verify = false
    s.network.jetstream = s.network.upstreams.splice(0)
    s.labels = { labelers: [], default: [] }
  }
  const began = performance.now()
  const aerie = await startAerie(net, { dir, change })
  await aerie.caughtUp(3_600_000)
  const rate = (1000 * (POSTS + ACCOUNTS)) / (performance.now() - began)
  note(`${format(POSTS)} posts of ${format(ACCOUNTS)} accounts at ${format(rate)}/s, peak memory ${format(peakMb(aerie.pid))} MB`)
  const last = await net.firehose.seq()
  await aerie.until('all can be searched', async () => (await aerie.status()).search_seq >= last, 3_600_000)
  note(`searchable ${format((performance.now() - began) / 1000)} s after the start`)

  const before = { cpu: cpuSeconds(aerie.pid), at: performance.now() }
  const rebuilt = await command(aerie.config, 'search', 'rebuild')
  if (rebuilt.code !== 0) throw new Error(rebuilt.output)
  const cpu = cpuSeconds(aerie.pid) - before.cpu
  note(`made anew in ${format((performance.now() - before.at) / 1000)} s: ${rebuilt.output.trim().split('\n').at(-1)}`)
  figure('documents for a second of CPU, made anew', (POSTS + ACCOUNTS) / cpu, '', '>=', 60_000)
  // Merges go on for a while.
  for (let segments = 0, same = 0; same < 5; ) {
    await sleep(1000)
    const { search } = await aerie.status()
    same = search.segments === segments ? same + 1 : 0
    segments = search.segments
  }
  const used = spawnSync('du', ['-sb', `${aerie.store}/search`], { encoding: 'utf8' }).stdout
  figure('bytes of index for a post', Number(used.split('\t')[0]) / POSTS, 'B', '<=', 85)

  const client = new Client(net)
  const random = new Random('queries')
  const ask = async (what, nsid, make, most) => {
    const times = []
    let found = 0
    for (let i = 0; i < QUERIES; i++) {
      const answer = await client.ask(nsid, { params: { limit: 25, ...make() } })
      if (answer.status !== 200) throw new Error(`${what}: ${answer.status} ${answer.body}`)
      times.push(answer.ms)
      found += /"(uri|did)"/.test(answer.body) ? 1 : 0
    }
    figure(`${what}, p99`, p(times, 0.99), 'ms', '<=', most, `; p50 ${format(p(times, 0.5))}, ${format((100 * found) / QUERIES)} % found something`)
  }
  for (const [what, make] of Object.entries(queries(w, random))) await ask(what, 'app.bsky.feed.searchPosts', make, 5)
  for (const [what, make] of Object.entries(typed(w, random))) {
    await ask(what, 'app.bsky.actor.searchActorsTypeahead', () => ({ q: make(), limit: 10 }), 5)
  }
  client.close()
  figure('peak memory', peakMb(aerie.pid), 'MB', '<=', 1.2 * 512)
  await finish({ net, aerie })
  remove(dir)
}
