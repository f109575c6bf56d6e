// The dashboard in a browser: signing in and out, what it shows in both themes and two widths, the keyboard, its socket over a
// restart, and what is refused of pages that are not ours. AERIE_SHOTS=folder keeps pictures of it.
import assert from 'node:assert/strict'
import http from 'node:http'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { command, startAerie } from './aerie.mjs'
import { startChromium } from './chromium.mjs'
import { startNetwork } from './net.mjs'
import { createCast } from './seed.mjs'

const SHOTS = process.env.AERIE_SHOTS
let net, aerie, browser
/** Something that retention may take. */
const change = (settings) => (settings.scope = { mode: 'window', days: 30 })
const url = (page) => `${aerie.url}${page}`

before(async () => {
  net = await startNetwork()
  const { alice } = await createCast(net)
  aerie = await startAerie(net, { change })
  browser = await startChromium()
  for (let n = 1; n <= 5; n++) await alice.post(`Number ${n}`)
  await aerie.caughtUp()
})

after(async () => {
  await browser?.close()
  await aerie?.close()
  await net?.close()
})

const shell = async (...args) => {
  const { code, output } = await command(aerie.config, ...args)
  assert.equal(code, 0, output)
  return output
}
const link = async (role = 'admin') => JSON.parse(await shell('admin', 'login', '--role', role, '--json')).url
const sessions = async () => JSON.parse(await shell('session', 'list', '--json')).sessions

/** Waits until an expression is true in the page. */
const untilTrue = (tab, what, expression) => aerie.until(what, () => tab.read(expression), 30_000)

/** A tab whose reader is signed in, at the dashboard. */
async function signedIn(options, role) {
  const tab = await browser.tab(options)
  await tab.open(await link(role))
  await tab.click('main button')
  assert.equal(await tab.read('location.pathname'), '/admin')
  return tab
}

/** What holds on every page. */
async function check(tab, shot) {
  const about = await tab.read(`({
    h1: document.querySelectorAll('h1').length, cookies: document.cookie, wide: document.documentElement.scrollWidth > innerWidth,
    landmarks: ['header', 'main', 'nav'].filter((name) => !document.querySelector(name)),
    unlabelled: [...document.querySelectorAll('input:not([type=hidden]), select, button')].filter((e) => !e.labels?.length && !e.textContent.trim()).length,
    nameless: [...document.querySelectorAll('[tabindex]')].filter((e) => !e.getAttribute('aria-label')).length,
  })`)
  assert.deepEqual(about, { h1: 1, cookies: '', wide: false, landmarks: [], unlabelled: 0, nameless: 0 }, await tab.read('document.title'))
  assert.deepEqual(tab.complaints, [])
  const elsewhere = tab.requests.filter((asked) => new URL(asked).host !== new URL(aerie.url).host && asked !== 'about:blank')
  assert.deepEqual(elsewhere, [])
  if (SHOTS && shot) await tab.shoot(path.join(SHOTS, `${shot}.png`))
}

test('a link signs in once; the dashboard is readable in both themes and two widths', async () => {
  const used = await link()
  for (const [name, options] of Object.entries({
    'light-desktop': { width: 1280, height: 900 },
    'dark-desktop': { width: 1280, height: 900, dark: true },
    'light-phone': { width: 390, height: 844 },
    'dark-phone': { width: 390, height: 844, dark: true },
  })) {
    const tab = await browser.tab(options)
    await tab.open(name === 'light-desktop' ? used : await link())
    await check(tab, name === 'dark-phone' ? 'follow-dark-phone' : undefined)
    await tab.click('main button')
    await untilTrue(tab, 'it is live', `document.getElementById('live').textContent === 'Live'`)
    await check(tab, `dashboard-${name}`)
    const text = await tab.read('document.body.innerText')
    for (const part of [net.firehose.url, 'Connected', 'Disk full in', 'block-cache', net.labeler.did, 'signing_key_file', 'Sign out']) {
      assert.ok(text.includes(part), `${part} in ${text}`)
    }
    assert.ok(!text.includes('admin-pass'), 'the password is nowhere')
  }
  const again = await fetch(used)
  assert.equal(again.status, 410)
  assert.match(await again.text(), /aerie admin login/)
})

test('a password signs in; a wrong one is told so', async () => {
  const tab = await browser.tab()
  await tab.clearCookies()
  await tab.open(url('/admin'))
  assert.equal(await tab.read('location.pathname'), '/login')
  await check(tab, 'login')
  await tab.type('#password', 'not this')
  assert.equal(await tab.read(`document.querySelector('[role=alert]').innerText`), 'The name or the password is wrong.')
  // A browser notes the status.
  tab.complaints.length = 0
  await tab.type('#password', 'admin-pass')
  assert.equal(await tab.read('location.pathname'), '/admin')
  await tab.click('.leave button')
  assert.equal(await tab.read('location.pathname'), '/login')
  await tab.open(url('/admin'))
  assert.equal(await tab.read('location.pathname'), '/login')
})

test('the keyboard alone reaches every action, and does them', async () => {
  const tab = await signedIn()
  const wanted = await tab.read(`[...document.querySelectorAll('.actions button, .actions select, .actions input:not([type=hidden])')].length`)
  assert.ok(wanted >= 8, `${wanted}`)
  const reached = new Set()
  const focused = `(() => { const all = [...document.querySelectorAll('.actions button, .actions select, .actions input:not([type=hidden])')]; return all.indexOf(document.activeElement) })()`
  /** Presses Tab until something has the focus. */
  const tabTo = async (what, condition) => {
    for (let n = 0; n < 100; n++) {
      await tab.press('Tab')
      reached.add(await tab.read(focused))
      if (await tab.read(condition)) return
    }
    assert.fail(`${what} is not reached`)
  }
  await tabTo('the last action', `${focused} === ${wanted - 1}`)
  reached.delete(-1)
  assert.equal(reached.size, wanted)
  const act = async (id, says) => {
    await tab.open(url('/admin'))
    await tabTo(id, `document.activeElement.id === '${id}'`)
    await tab.leading(id, () => tab.press('Enter'))
    assert.match(await tab.read(`document.querySelector('[role=status]').innerText`), says)
  }
  await act('pause', /^Nothing new is taken in/)
  await tab.click('main a')
  await untilTrue(tab, 'the page says so', `document.getElementById('now').innerText.includes('paused by the operator')`)
  await check(tab, 'paused')
  await act('resume', /taken in again/)
  await aerie.until('it is connected again', async () => (await aerie.status()).upstreams[0]?.connected, 30_000)
  await act('retention-plan', /being counted/)
  await act('reload', /being read again/)
  await aerie.until('it was reloaded', async () => (await aerie.status()).reloads === 1, 30_000)
  await tab.open(url('/admin'))
  await tab.type('#repo', 'alice.test')
  assert.match(await tab.read(`document.querySelector('[role=status]').innerText`), /repo of alice\.test is fetched anew/)
  await tab.open(url('/admin'))
  await tab.type('#repo', 'nobody.test')
  assert.equal(await tab.read(`document.querySelector('h1').innerText`), 'That was not done')
  const before = (await aerie.status()).upstreams[0].reconnects
  await tab.open(url('/admin'))
  await tab.click('form[action$=reconnect] button')
  await aerie.until('it reconnected', async () => (await aerie.status()).upstreams[0].reconnects > before, 30_000)
  await tab.open(url('/admin'))
  await untilTrue(tab, 'the events say who did it', `/well=true.*link [0-9a-f]{12}|who="?link/.test(document.getElementById('events').innerText)`)
})

test('without script everything is there, and actions work', async () => {
  const tab = await browser.tab()
  await tab.withoutScript()
  await tab.open(await link())
  await tab.click('main button')
  const text = await tab.read('document.body.innerText')
  for (const part of [net.firehose.url, 'Disk', 'Memory', 'Configuration', 'Pause ingest']) assert.ok(text.includes(part), part)
  await tab.click('form[action$=retention-plan] button')
  assert.match(await tab.read('document.body.innerText'), /Done/)
})

test('the socket survives a restart of the server, and ends with its session', async () => {
  const tab = await signedIn()
  await untilTrue(tab, 'it is live', `document.getElementById('live').textContent === 'Live'`)
  assert.deepEqual(await aerie.stop(), { code: 0, signal: null })
  await tab.until('it says so', `document.getElementById('live').textContent.startsWith('Not connected')`)
  aerie = await startAerie(net, { dir: aerie.dir, change })
  await untilTrue(tab, 'it is live again', `document.getElementById('live').textContent === 'Live'`)
  const [{ id }] = (await sessions()).filter((one) => one.kind === 'session')
  await shell('session', 'revoke', id)
  await untilTrue(tab, 'it leads to the login', `location.pathname === '/login'`)
  assert.ok(!(await sessions()).some((one) => one.id === id))
})

test('a viewer sees no actions; pages elsewhere can neither act nor listen', async () => {
  const tab = await signedIn({}, 'viewer')
  assert.equal(await tab.read(`document.querySelectorAll('.actions').length`), 0)
  const { cookies } = await tab.cookies()
  const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
  assert.deepEqual(cookies.map(({ name, httpOnly, sameSite }) => [name, httpOnly, sameSite]), [['aerie', true, 'Lax']])
  const post = (origin, path = '/admin/do/pause') =>
    fetch(url(path), { method: 'POST', headers: { cookie, ...(origin && { origin }) }, redirect: 'manual' })
  for (const origin of ['https://evil.example', 'null', undefined]) assert.equal((await post(origin)).status, 403, origin)
  assert.equal((await post(aerie.url)).status, 403, 'no token')
  /** The status of an upgrade. */
  const upgrade = (headers) =>
    new Promise((resolve, reject) => {
      const handshake = {
        connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      }
      const request = http.get(url('/admin/live'), { headers: { ...handshake, ...headers } }, (res) => {
        res.resume()
        resolve(res.statusCode)
      })
      request.on('upgrade', (res, socket) => {
        socket.destroy()
        resolve(res.statusCode)
      })
      request.on('error', reject)
    })
  assert.equal(await upgrade({ cookie, origin: aerie.url }), 101)
  assert.equal(await upgrade({ cookie, origin: 'https://evil.example' }), 403)
  assert.equal(await upgrade({ cookie }), 403)
  assert.equal(await upgrade({ origin: aerie.url }), 401)
})
