// Pages for people in a browser, over a real PDS: they show what they should, need no script, load nothing from elsewhere.
// AERIE_SHOTS=folder keeps pictures of them.
import assert from 'node:assert/strict'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startAerie } from './aerie.mjs'
import { startChromium } from './chromium.mjs'
import { startNetwork } from './net.mjs'
import { transitive } from './plc.mjs'
import { createCast } from './seed.mjs'

const { default: sharp } = await transitive('sharp')
const SHOTS = process.env.AERIE_SHOTS

let net, aerie, cast, browser, thread, adult
const url = (page) => `${aerie.url}${page}`
const pageOf = (author, { uri }) => `/profile/${author}.test/post/${uri.split('/').at(-1)}`

/** A picture that looks like something. */
const picture = async (actor, width, height, from, to) => {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><defs><linearGradient id="g" x2="1" y2="1">
    <stop stop-color="${from}"/><stop offset="1" stop-color="${to}"/></linearGradient></defs><rect width="100%" height="100%" fill="url(#g)"/>
    <circle cx="50%" cy="45%" r="${height / 4}" fill="#fff8"/></svg>`
  const bytes = await sharp(Buffer.from(svg)).jpeg().toBuffer()
  const { data } = await actor.agent.uploadBlob(bytes, { encoding: 'image/jpeg' })
  return data.blob
}

/** A post whose links, mentions and tags are found in its text. */
async function rich(actor, text, rest = {}) {
  const bytes = (part) => Buffer.byteLength(part)
  const facets = []
  for (const found of text.matchAll(/#(\w+)|@(\w+)\.test|(https:\/\/\S+)/g)) {
    const [whole, tag, name, uri] = found
    const kind = 'app.bsky.richtext.facet'
    const feature = tag
      ? { $type: `${kind}#tag`, tag }
      : name
        ? { $type: `${kind}#mention`, did: cast[name].did }
        : { $type: `${kind}#link`, uri }
    const byteStart = bytes(text.slice(0, found.index))
    facets.push({ index: { byteStart, byteEnd: byteStart + bytes(whole) }, features: [feature] })
  }
  return actor.post(text, { facets, langs: ['en'], ...rest })
}

before(async () => {
  net = await startNetwork()
  cast = await createCast(net)
  aerie = await startAerie(net)
  browser = await startChromium()
  const { alice, bob, carol, dan, eve, leo } = cast
  const colors = { alice: ['#0a7', '#0af'], bob: ['#e52', '#fc3'], carol: ['#63c', '#f6a'], dan: ['#234', '#8ac'] }
  for (const [name, [from, to]] of Object.entries(colors)) {
    const actor = cast[name]
    await actor.put('app.bsky.actor.profile', 'self', {
      displayName: `${name[0].toUpperCase()}${name.slice(1)} of the Orchard`,
      description: 'Apples, pears and the weather.\nAlso on https://orchard.example/about with @bob.test',
      avatar: await picture(actor, 400, 400, from, to),
      ...(name === 'alice' && { banner: await picture(actor, 1500, 500, '#063', '#9d6') }),
    })
  }
  await eve.put('app.bsky.actor.profile', 'self', {
    displayName: 'Eve of the Shadows',
    labels: { $type: 'com.atproto.label.defs#selfLabels', values: [{ val: '!no-unauthenticated' }] },
  })
  for (const actor of [bob, carol, dan]) await actor.follow(alice)
  const images = async (actor, ...alts) => ({
    $type: 'app.bsky.embed.images',
    images: await Promise.all(
      alts.map(async (alt, n) => ({
        alt,
        image: await picture(actor, 1200, 800, ['#294', '#924', '#429'][n % 3], ['#ce6', '#fb6', '#6cf'][n % 3]),
        aspectRatio: { width: 1200, height: 800 },
      })),
    ),
  })
  for (let n = 1; n <= 30; n++) await bob.post(`Note number ${n} from the shed.`)
  thread = await rich(alice, 'The first #harvest of the year is in. Thanks to @bob.test and @carol.test for the ladder! https://orchard.example/2026', {
    embed: await images(alice, 'A basket of green apples', 'The old tree behind the house'),
  })
  await rich(carol, 'Our #harvest is a week late: all rain, no sun.\n\nPears do not mind, though.')
  await rich(dan, 'Does anybody press their #harvest at home?', {
    embed: {
      $type: 'app.bsky.embed.external',
      external: {
        uri: 'https://press.example/how-to',
        title: 'How to press apples without a press',
        description: 'Two boards, a car jack and some patience.',
        thumb: await picture(dan, 1200, 630, '#a63', '#fe9'),
      },
    },
  })
  adult = await rich(leo, 'Not for everybody #harvest', {
    embed: await images(leo, 'nothing to see'),
    labels: { $type: 'com.atproto.label.defs#selfLabels', values: [{ val: 'porn' }] },
  })
  await rich(eve, 'In the dark, a #harvest too')
  const first = await bob.reply('You are welcome. Keep the ladder until Sunday.', thread)
  await alice.reply('Sunday it is, and a jar of jelly comes back with it.', thread, first)
  await carol.reply('What a tree!', thread)
  await eve.reply('I saw that', thread)
  const answer = await dan.reply('Which kind is it? <b>Boskoop</b>?', thread)
  await alice.reply('Boskoop, yes.', thread, answer)
  await bob.quote('This is why I lend ladders', thread)
  for (const actor of [bob, carol, dan, eve]) await actor.like(thread)
  await bob.repost(thread)
  await aerie.caughtUp()
})

after(async () => {
  await browser?.close()
  await aerie?.close()
  await net?.close()
})

/** What holds on every page; `shot` is the name of a picture of it. */
async function check(tab, shot) {
  const about = await tab.read(`({
    scripts: document.scripts.length, cookies: document.cookie, title: document.title, h1: document.querySelectorAll('h1').length,
    width: getComputedStyle(document.body).maxWidth, wide: document.documentElement.scrollWidth > innerWidth,
    landmarks: ['header', 'main', 'footer', 'nav', '[role=search]'].filter((name) => !document.querySelector(name)),
    nameless: [...document.querySelectorAll('a, button')].filter((a) => !a.textContent.trim() && !a.querySelector('img[alt]')
      && a.getAttribute('aria-hidden') !== 'true').length,
    undescribed: [...document.images].filter((image) => !image.hasAttribute('alt')).length,
  })`)
  const { title, ...rest } = about
  assert.deepEqual(rest, {
    scripts: 0, cookies: '', h1: 1, width: '640px', wide: false, landmarks: [], nameless: 0, undescribed: 0,
  }, title)
  assert.deepEqual(tab.complaints, [], title)
  const elsewhere = tab.requests.filter((asked) => new URL(asked).origin !== new URL(aerie.url).origin && asked !== 'about:blank')
  assert.deepEqual(elsewhere, [], title)
  if (SHOTS && shot) await tab.shoot(path.join(SHOTS, `${shot}.png`))
}

/** Opens a page again and again until it has a text: search follows the network by some seconds. */
async function openWith(tab, page, text) {
  await aerie.until(`${text} on ${page}`, async () => (await (await fetch(url(page), asBrowser)).text()).includes(text), 60_000)
  await tab.open(url(page))
}
const asBrowser = { headers: { accept: 'text/html' } }
const texts = (tab, selector) => tab.read(`[...document.querySelectorAll(${JSON.stringify(selector)})].map((e) => e.innerText)`)

test('a search by typing, its order, and the post that it leads to', async () => {
  const tab = await browser.tab()
  await openWith(tab, '/search?q=harvest&sort=latest', 'a week late')
  await check(tab, 'search')
  const found = await texts(tab, 'article .text')
  assert.equal(found.length, 4, `${found}`)
  assert.deepEqual(await texts(tab, '.total'), ['4 posts'])
  assert.ok(!found.some((text) => text.includes('In the dark')), 'who wants no strangers is not found')
  await tab.type('#q', '"the ladder"')
  assert.match(await tab.read('location.search'), /q=%22the\+ladder%22/)
  assert.deepEqual((await texts(tab, 'article .text')).map((text) => text.slice(0, 9)).sort(), ['The first', 'You are w'])
  await tab.click('.tabs a:not([aria-current])')
  assert.equal(await tab.read('document.querySelector(".tabs [aria-current]").innerText'), 'Latest')
  await tab.click('article .when')
  assert.match(await tab.read('location.pathname'), /^\/profile\/(alice|bob)\.test\/post\//)
  await check(tab)
})

test('a post in its thread, on a phone in the dark', async () => {
  const tab = await browser.tab({ width: 390, height: 844, dark: true })
  await tab.open(url(pageOf('alice', thread)))
  await check(tab, 'post-dark-phone')
  const page = await tab.read('document.body.innerText')
  for (const part of ['The first #harvest', 'You are welcome', 'Sunday it is', 'What a tree!', '<b>Boskoop</b>', '4 likes', '1 quote']) {
    assert.ok(page.includes(part), `${part} in ${page}`)
  }
  for (const hidden of ['I saw that', 'Shadows']) assert.ok(!page.includes(hidden), hidden)
  const links = await tab.read(`[...document.querySelector('article.main .text').querySelectorAll('a')].map((a) => a.getAttribute('href') + ' ' + a.rel)`)
  assert.deepEqual(links, [
    '/hashtag/harvest ', `/profile/${cast.bob.did} `, `/profile/${cast.carol.did} `, 'https://orchard.example/2026 nofollow noopener ugc',
  ])
  assert.equal(await tab.read('getComputedStyle(document.documentElement).backgroundColor'), 'rgb(16, 22, 29)')
  await tab.pictures()
  const pictures = await tab.read(`[...document.querySelectorAll('.main .pictures img')].map((i) => [i.alt, i.naturalWidth > 0])`)
  assert.deepEqual(pictures, [['A basket of green apples', true], ['The old tree behind the house', true]])
})

test('a profile, page by page, and its feed', async () => {
  const tab = await browser.tab()
  await tab.open(url('/profile/alice.test'))
  await check(tab, 'profile')
  assert.equal(await tab.read('document.querySelector("h1").innerText'), 'Alice of the Orchard')
  assert.match(await tab.read('document.querySelector(".who").innerText'), /3 followers/)
  const bob = await browser.tab({ width: 390, height: 844 })
  await bob.open(url('/profile/bob.test'))
  await check(bob, 'profile-phone')
  const seen = await texts(bob, 'article')
  while (await bob.read('!!document.querySelector("a.next")')) {
    await bob.click('a.next')
    await check(bob)
    seen.push(...(await texts(bob, 'article')))
  }
  for (let n = 1; n <= 30; n++) {
    assert.equal(seen.filter((text) => text.includes(`Note number ${n} `)).length, 1, `number ${n}`)
  }
  assert.ok(seen.some((text) => text.startsWith('Reposted by Bob of the Orchard')))
  const feed = await (await fetch(url('/profile/alice.test/rss'))).text()
  assert.match(feed, /^<\?xml[^]*<rss version="2.0"[^]*<title>@alice.test - Alice of the Orchard<\/title>[^]*The first #harvest/)
  assert.equal(feed.match(/<media:content /g).length, 2)
  assert.ok(!feed.includes('<item>\n<title>'))
})

test('a tag; adult pictures are not shown, nor who wants no strangers, nor who is taken down', async () => {
  const tab = await browser.tab({ dark: true })
  await openWith(tab, '/hashtag/harvest?sort=latest', 'Not for everybody')
  await check(tab, 'hashtag-dark')
  const page = await tab.read('document.body.innerText')
  assert.ok(page.includes('Pictures are not shown: adult content.') && !page.includes('In the dark'), page)
  assert.equal(await tab.read(`[...document.images].filter((i) => i.alt === 'nothing to see').length`), 0)
  await tab.open(url(pageOf('leo', adult)))
  assert.equal(await tab.read('document.images.length'), 0)
  const status = async (page) => (await fetch(url(page), asBrowser)).status
  assert.equal(await status('/profile/eve.test'), 403)
  assert.equal(await status('/profile/eve.test/rss'), 403)
  assert.equal(await status('/profile/nobody.test'), 404)
  await net.takeDownAccount(cast.carol.did)
  await aerie.caughtUp()
  assert.equal(await status('/profile/carol.test'), 404)
  await net.takeDownAccount(cast.carol.did, false)
})

test('the first page, what trends, and an address that leads nowhere', async () => {
  const tab = await browser.tab()
  for (const [page, headline] of [['/', 'localhost'], ['/trending', 'Trending'], ['/search', 'Search']]) {
    await tab.open(url(page))
    await check(tab, page === '/' ? 'home' : undefined)
    assert.ok((await tab.read('document.querySelector("h1").innerText')).startsWith(headline), page)
  }
  const nowhere = await fetch(url('/no/such/page'), asBrowser)
  assert.equal(nowhere.status, 404)
  assert.match(await nowhere.text(), /<h1>Not found<\/h1>/)
  const programs = await fetch(url('/'), { headers: { accept: 'application/json' } })
  assert.match(await programs.text(), /app\.bsky\.feed\.getPosts/)
})
