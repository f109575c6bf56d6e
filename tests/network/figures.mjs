// Figures of the benchmarks, beside what they are aimed at.
import os from 'node:os'

const rows = []
export const note = (text) => console.log(`  ${text}`)
export const format = (n) => n.toLocaleString('en', { maximumFractionDigits: n < 100 ? 2 : 0 })

/** Records a figure; `at` is '<=' or '>='. */
export function figure(name, value, unit, at, target, more = '') {
  const reached = at === '<=' ? value <= target : value >= target
  rows.push({ name, value: `${format(value)} ${unit}`, target: `${at} ${format(target)} ${unit}`, reached })
  note(`${name}: ${format(value)} ${unit} (${at} ${format(target)}) ${reached ? 'ok' : 'SHORT'}${more}`)
}

/** Prints all of them once more, under the machine that they are of. */
export function printFigures() {
  console.log(`\n${os.cpus().length} x ${os.cpus()[0].model}\n`)
  const width = Math.max(...rows.map((row) => row.name.length))
  for (const { name, value, target, reached } of rows) {
    console.log(`${name.padEnd(width)}  ${value.padStart(18)}  target ${target.padEnd(18)} ${reached ? 'reached' : 'SHORT'}`)
  }
}
