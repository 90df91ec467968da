/**
 * `npm run chaos` runs real nodes, clients and servers, causes faults that follow from a seed, and checks all answers. It
 * exits with 0 if no answer broke a promise and, in a run of 2 minutes or more, every kind of fault happened. With `--naive`
 * it exits with 0 if the checker found violations.
 */
import { writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { type ChaosOptions, parseOptions, usage } from './options.js'
import { textOf } from './report.js'
import { type Progress, runChaos } from './run.js'

const lineEveryMs = 15_000

function readOptions(): ChaosOptions {
  try {
    return parseOptions(process.argv.slice(2))
  } catch (error) {
    console.error(`chaos: ${(error as Error).message}\n\n${usage}`)
    process.exit(2)
  }
}

if (process.argv.includes('--help')) {
  console.log(usage)
  process.exit(0)
}
const options = readOptions()
const interrupt = new AbortController()
let signalled: NodeJS.Signals | undefined
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    // At the second signal this process exits at once, and the reaper cleans up.
    if (signalled) process.exit(128 + constants.signals[signal])
    signalled = signal
    interrupt.abort()
  })
}

let nextLineAt = 0
function show({ phase, elapsedMs, records, faults, active }: Progress): void {
  const seconds = Math.round(elapsedMs / 1_000)
  const line = `${String(seconds).padStart(4)} s  ${phase}  ${records} records  ${faults} faults  ${active.join(', ')}`
  if (process.stderr.isTTY) {
    process.stderr.write(`\r\u001b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`)
  } else if (elapsedMs >= nextLineAt) {
    nextLineAt = elapsedMs + lineEveryMs
    console.error(line)
  }
}

try {
  const { report, passed, historyPath } = await runChaos(options, interrupt.signal, show)
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
  if (options.report !== undefined) writeFileSync(options.report, `${JSON.stringify(report, null, 2)}\n`)
  if (historyPath !== undefined) console.log(`history: ${historyPath}`)
  console.log(textOf(report))
  process.exit(passed ? 0 : 1)
} catch (error) {
  console.error(`chaos: ${(error as Error).message}`)
  process.exit(signalled ? 128 + constants.signals[signalled] : 1)
}
