// Keeps the dashboard current: the server says every two seconds which parts have changed. Without it the page is as of
// when it was opened.
(() => {
  const state = document.getElementById('live')
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:'
  let wait = 1000
  let last = null
  const time = (date) => date.toLocaleTimeString()
  const say = (text, fresh) => {
    if (state.textContent !== text) state.textContent = text
    document.body.classList.toggle('stale', !fresh)
  }
  // What somebody is in the middle of, by keyboard or by selecting text, stays.
  const isInUse = (place) => {
    const active = document.activeElement
    const chosen = getSelection()
    return (active !== place && place.contains(active)) || (chosen.type === 'Range' && place.contains(chosen.anchorNode))
  }
  const open = () => {
    const socket = new WebSocket(`${scheme}//${location.host}/admin/live`)
    socket.onmessage = ({ data }) => {
      for (const [name, html] of Object.entries(JSON.parse(data))) {
        const place = document.getElementById(name)
        if (place && !isInUse(place)) place.innerHTML = html
      }
      wait = 1000
      last = new Date()
      say('Live', true)
    }
    socket.onclose = ({ code, reason }) => {
      if (code === 1008 && reason === 'you are signed out') return location.reload()
      say(last ? `Not connected: this is as of ${time(last)}` : 'Not connected: this is as of when it was opened', false)
      setTimeout(open, wait)
      wait = Math.min(wait * 2, 15000)
    }
  }
  open()
})()
