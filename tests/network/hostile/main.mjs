// `scripts/bench hostile`: strangers of every kind against a server under load, and what a good client gets meanwhile.
import { parseArgs } from 'node:util'
import { note } from '../figures.mjs'
import { alone } from './alone.mjs'
import { mixed } from './mixed.mjs'
import { ELSEWHERE, ROWS } from './rows.mjs'

const USAGE = `hostile [${Object.keys(ROWS).join('|')}|mixed]... [--seed N] [--minutes N]`

export async function hostile(args) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { seed: { type: 'string' }, minutes: { type: 'string', default: '60' } },
  })
  for (const name of positionals) if (!(name in ROWS) && name !== 'mixed') throw new Error(`no row ${name}; usage: ${USAGE}`)
  await alone()
  const seed = values.seed ?? String(Math.floor(Math.random() * 1e9))
  console.log(`seed ${seed}: the same again with --seed ${seed}`)
  for (const name of positionals.length ? positionals : Object.keys(ROWS)) {
    console.log(`\n== hostile ${name}`)
    if (name === 'mixed') await mixed({ seed, minutes: Number(values.minutes) })
    else await ROWS[name]({ seed })
  }
  for (const [what, tests] of ELSEWHERE) note(`${what}: held by ${tests}`)
}
