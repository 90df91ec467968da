import { writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { startLocalStack } from '../tools/local-stack/index.js'
import type { Bench } from './comparison.js'
import type { Row } from './row.js'
import type { Suite } from './suite.js'
import { suites } from './suites/index.js'
import { formatRow, formatSummary } from './table.js'

const usage = `npm run bench -- [SUITE …] [--rounds 5] [--quick] [--json FILE] [--profile FOLDER]

Suites (default: all):
${suites.map(({ name, about }) => `  ${name.padEnd(12)} ${about}`).join('\n')}

--quick     short rounds, to see that all works: no figures to quote
--json      where to write everything that was measured; default: dist/bench/results.json
--profile   have V8 write a CPU profile of each of our own entrants there`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'string', default: 'dist/bench/results.json' },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
const chosen = chooseSuites(positionals)
const rounds = Number(values.rounds ?? (values.quick ? 1 : 5))
if (values.help || typeof chosen === 'string' || !Number.isInteger(rounds) || rounds < 1) {
  if (typeof chosen === 'string') console.error(chosen)
  console.log(usage)
  process.exitCode = values.help ? 0 : 2
} else process.exitCode = await run(chosen)

async function run(chosen: readonly Suite[]): Promise<number> {
  const rows: Row[] = []
  const failures: string[] = []
  for (const suite of chosen) {
    // Servers of its own, which flush to disk as in production: no suite inherits another's dead rows.
    const stack = await startLocalStack({ fsync: true, env: { PATH: process.env.PATH } })
    try {
      if (!stack.redisUrl) throw new Error('The benchmarks need a redis-server or valkey-server on the PATH')
      const bench: Bench = {
        stack,
        rounds,
        quick: values.quick,
        profileFolder: values.profile,
        progress: (text) => progress(`${suite.name}: ${text}`),
      }
      const found = await suite.run(bench)
      progress('')
      for (const row of found) console.log(`${formatRow(row)}\n`)
      rows.push(...found)
    } catch (error) {
      progress('')
      failures.push(suite.name)
      console.error(`${suite.name} failed: ${error instanceof Error ? error.message : error}\n`)
    } finally {
      await stack.stop()
    }
  }
  console.log(formatSummary(rows))
  writeFileSync(
    values.json,
    JSON.stringify({ machine: machine(), rounds, quick: values.quick, rows }, null, 2),
  )
  const missed = rows.filter(({ met }) => !met).length
  console.log(`\n${rows.length} rows, ${missed} short of what is wanted; all figures in ${values.json}`)
  if (failures.length > 0) console.error(`failed: ${failures.join(', ')}`)
  return failures.length > 0 ? 1 : 0
}

/** An error message, in one line, if a suite is not known. */
function chooseSuites(names: readonly string[]): readonly Suite[] | string {
  const unknown = names.find((name) => !suites.some((suite) => suite.name === name))
  if (unknown !== undefined) return `There is no suite "${unknown}"`
  return names.length === 0 ? suites : suites.filter(({ name }) => names.includes(name))
}

function machine(): Readonly<Record<string, unknown>> {
  const [cpu] = cpus()
  return {
    cores: cpus().length,
    model: cpu?.model,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    kernel: release(),
  }
}

/** One line, overwritten by the next where there is a terminal; nothing elsewhere but the suites' results. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
  else if (text.endsWith('warming up')) process.stderr.write(`${text}\n`)
}
