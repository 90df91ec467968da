import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startLocalStack } from '../tools/local-stack/index.js'
import type { Bench } from './comparison.js'
import type { Series } from './curves/curve.js'
import { curves } from './curves/index.js'
import { plot } from './curves/plot.js'
import type { HostNode } from './node-of-image.js'
import type { Row } from './row.js'
import { suites } from './suites/index.js'
import { formatCurve, formatRow, formatSummary } from './table.js'

const usage = `npm run bench -- [SUITE …] [--rounds 5] [--quick] [--json FILE] [--profile FOLDER]
npm run bench -- --plot [CURVE …] [--charts FOLDER]

Suites (default: all):
${suites.map(({ name, about }) => `  ${name.padEnd(14)} ${about}`).join('\n')}

Curves (default: all):
${curves.map(({ name, title }) => `  ${name.padEnd(14)} ${title}`).join('\n')}

--quick     short rounds, to see that all works: no figures to quote
--json      where to write everything that was measured; default: dist/bench/results.json
--profile   have V8 write a CPU profile of each of our own entrants there
--plot      measure how cost grows, and draw it
--charts    where the charts go, as SVG; default: docs/charts`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'string', default: 'dist/bench/results.json' },
    profile: { type: 'string' },
    plot: { type: 'boolean', default: false },
    charts: { type: 'string', default: 'docs/charts' },
    help: { type: 'boolean', default: false },
  },
})
/** `launch.ts` sets it. */
const hostNode: HostNode | undefined = JSON.parse(process.env.BENCH_HOST_NODE || 'null') ?? undefined
const rounds = Number(values.rounds ?? (values.quick ? 1 : values.plot ? 3 : 5))
const unknown = unknownName(values.plot ? curves : suites)
if (values.help || unknown !== undefined || !Number.isInteger(rounds) || rounds < 1) {
  if (unknown !== undefined) console.error(`There is no ${values.plot ? 'curve' : 'suite'} "${unknown}"`)
  console.log(usage)
  process.exitCode = values.help ? 0 : 2
} else process.exitCode = await (values.plot ? drawCurves() : runSuites())

async function runSuites(): Promise<number> {
  const rows: Row[] = []
  const failed = await forEachChosen(suites, async (suite, bench) => {
    const found = await suite.run(bench)
    progress('')
    for (const row of found) console.log(`${formatRow(row)}\n`)
    rows.push(...found)
  })
  console.log(formatSummary(rows))
  write({ rows })
  const missed = rows.filter(({ met }) => !met).length
  console.log(`\n${rows.length} rows, ${missed} short of what is wanted; all figures in ${values.json}`)
  return failed
}

async function drawCurves(): Promise<number> {
  const drawn: { readonly name: string; readonly series: readonly Series[] }[] = []
  mkdirSync(values.charts, { recursive: true })
  const failed = await forEachChosen(curves, async (curve, bench) => {
    const series = await curve.run(bench)
    progress('')
    console.log(`${formatCurve(curve, series)}\n`)
    drawn.push({ name: curve.name, series })
    writeFileSync(join(values.charts, `${curve.name}.svg`), await plot(curve, series))
  })
  write({ curves: drawn })
  console.log(`${drawn.length} charts in ${values.charts}; all figures in ${values.json}`)
  return failed
}

/**
 * Each with servers of its own, which flush to disk as in production: nothing inherits another's dead rows.
 *
 * @returns the exit code: 1 if any of them failed
 */
async function forEachChosen<Named extends { readonly name: string }>(
  all: readonly Named[],
  work: (one: Named, bench: Bench) => Promise<void>,
): Promise<number> {
  const failures: string[] = []
  for (const one of all.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
    const stack = await startLocalStack({ fsync: true, env: { PATH: process.env.PATH } })
    try {
      if (!stack.redisUrl) throw new Error('the benchmarks need a redis-server or valkey-server on the PATH')
      await work(one, {
        stack,
        rounds,
        quick: values.quick,
        profileFolder: values.profile,
        hostNode,
        progress: (text) => progress(`${one.name}: ${text}`),
      })
    } catch (error) {
      progress('')
      failures.push(one.name)
      console.error(`${one.name} failed: ${error instanceof Error ? error.message : error}\n`)
    } finally {
      await stack.stop()
    }
  }
  if (failures.length > 0) console.error(`failed: ${failures.join(', ')}`)
  return failures.length > 0 ? 1 : 0
}

function write(figures: object): void {
  writeFileSync(
    values.json,
    JSON.stringify({ machine: machine(), rounds, quick: values.quick, ...figures }, null, 2),
  )
}

function unknownName(all: readonly { readonly name: string }[]): string | undefined {
  return positionals.find((name) => !all.some((one) => one.name === name))
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
