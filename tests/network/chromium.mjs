// A headless Chromium, spoken to by its debugging protocol: what a page looks like, what it loads, what it may not do.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { temporaryDir } from './aerie.mjs'

const BINARY = process.env.CHROMIUM_BIN ?? 'chromium'
/** Nothing here takes that long but on a machine that has other things to do. */
const PATIENCE_MS = 120_000

/** Fails instead of waiting for ever. */
function within(what, promise) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${PATIENCE_MS} ms: ${what}`)), PATIENCE_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Starts it with a profile of its own, which goes with it. */
export async function startChromium() {
  const dir = temporaryDir()
  const flags = [
    '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-extensions', '--no-first-run',
    '--disable-background-networking', '--hide-scrollbars', `--user-data-dir=${dir}`, '--remote-debugging-port=0',
  ]
  const child = spawn(BINARY, [...flags, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'] })
  const address = within('chromium listens', new Promise((resolve, reject) => {
    let output = ''
    child.stderr.on('data', (data) => {
      output += data
      const found = /DevTools listening on (ws:\S+)/.exec(output)
      if (found) resolve(found[1])
    })
    child.on('error', reject)
    child.on('exit', (code) => reject(new Error(`chromium ended with ${code}\n${output}`)))
  }))
  const socket = new WebSocket(await address)
  await within('chromium answers', new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = () => reject(new Error('no connection to chromium'))
  }))

  let last = 0
  const waiting = new Map()
  const listeners = new Set()
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data)
    if (message.id === undefined) return listeners.forEach((listener) => listener(message))
    const { resolve, reject, what } = waiting.get(message.id)
    waiting.delete(message.id)
    message.error ? reject(new Error(`${what}: ${message.error.message}`)) : resolve(message.result)
  }
  const send = (method, params = {}, sessionId = undefined) =>
    within(method, new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject, what: method })
      socket.send(JSON.stringify({ id: last, method, params, sessionId }))
    }))

  return {
    /** A tab of a size, in light or dark. */
    async tab({ width = 1000, height = 900, dark = false } = {}) {
      const { targetId } = await send('Target.createTarget', { url: 'about:blank' })
      const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true })
      const ask = (method, params) => send(method, params, sessionId)
      const requests = []
      const complaints = []
      let loaded = () => {}
      listeners.add(({ method, params, sessionId: of }) => {
        if (of !== sessionId) return
        if (method === 'Network.requestWillBeSent') requests.push(params.request.url)
        if (method === 'Log.entryAdded') complaints.push(`${params.entry.text} ${params.entry.url ?? ''}`)
        if (method === 'Page.loadEventFired') loaded()
      })
      for (const domain of ['Page', 'Network', 'Log', 'Runtime']) await ask(`${domain}.enable`)
      await ask('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 })
      const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]
      await ask('Emulation.setEmulatedMedia', { features })

      /** What an expression gives in the page. */
      const read = async (expression) => {
        const { result, exceptionDetails } = await ask('Runtime.evaluate', { expression, returnByValue: true })
        if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`)
        return result.value
      }
      /** Does what leads to another page, and waits for it. */
      const leading = async (what, act) => {
        const there = new Promise((resolve) => (loaded = resolve))
        await act()
        await within(what, there)
      }
      /** Waits for all pictures, those too that are loaded only when they are looked at; what cannot be shown is no error. */
      const pictures = async () => {
        const all = `Promise.allSettled([...document.images].map((image) => ((image.loading = 'eager'), image.decode())))`
        await ask('Runtime.evaluate', { expression: all, awaitPromise: true })
      }
      /** Presses a key. */
      const press = async (name) => {
        const keys = {
          Tab: { key: 'Tab', code: 'Tab', windowsVirtualKeyCode: 9 },
          Enter: { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' },
        }
        for (const type of ['keyDown', 'keyUp']) await ask('Input.dispatchKeyEvent', { type, ...keys[name] })
      }
      return {
        requests,
        complaints,
        read,
        open: (url) => leading(url, () => ask('Page.navigate', { url })),
        click: (selector) => leading(selector, () => read(`document.querySelector(${JSON.stringify(selector)}).click()`)),
        /** Types into a field as a person does, and ends with Enter. */
        async type(selector, text) {
          await read(`document.querySelector(${JSON.stringify(selector)}).select()`)
          await ask('Input.insertText', { text })
          await leading(`what ${text} leads to`, () => press('Enter'))
        },
        pictures,
        press,
        leading,
        cookies: () => ask('Network.getCookies'),
        clearCookies: () => ask('Network.clearBrowserCookies'),
        /** From now on pages run no script of theirs. */
        withoutScript: () => ask('Emulation.setScriptExecutionDisabled', { value: true }),
        /** Waits until an expression is true. */
        async until(what, expression) {
          for (const end = Date.now() + PATIENCE_MS; Date.now() < end; ) {
            if (await read(expression)) return
          }
          throw new Error(`not within ${PATIENCE_MS} ms: ${what}`)
        },
        async shoot(file) {
          await pictures()
          const { data } = await ask('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true })
          fs.writeFileSync(file, Buffer.from(data, 'base64'))
        },
      }
    },
    async close() {
      socket.close()
      const ended = new Promise((resolve) => child.once('exit', resolve))
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL')
        await ended
      }
      fs.rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
