/**
 * Has Spin check the model: no promise is broken, one is without each guard, and what matters is reached at all.
 * Run by `npm run test:protocol`.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'

const model = 'protocol.pml'

/** Breadth first, where an error is expected: the trace is then the shortest there is. */
const whole = { compile: ['-O2', '-DSAFETY'], run: [] }
const shortest = { compile: ['-O1', '-DSAFETY', '-DBFS'], run: [] }
/** Acceptance cycles under weak fairness; assertions are not looked at (`-A`), so that only promise 2 is. */
const fair = { compile: ['-O2', '-DNFAIR=3'], run: ['-a', '-f', '-A'] }

const guards = [
  'NO_START_STAMP',
  'COPY_STAMPED_ANEW',
  'NO_FLOOR_AT_START',
  'JOIN_ANY_FLIGHT',
  'STORE_IN_TRANSACTION',
  'NUMBER_BEFORE_COMMIT',
  'PUBLISH_BEFORE_COMMIT',
  'FETCH_IN_NUMBERING_SNAPSHOT',
  'CHECK_WITHOUT_NUMBERING',
  'LEASE_FROM_REPLY',
  'HINT_WITHOUT_CONTIGUITY',
]
const livenessGuards = ['NUMBER_BEFORE_COMMIT', 'CHECK_WITHOUT_NUMBERING', 'HINT_WITHOUT_CONTIGUITY']
const situations = [
  'HIT_WHILE_STALE_ELSEWHERE',
  'HIT_BEHIND_A_COMMIT',
  'HIT_WHILE_A_WRITE_IS_OPEN',
  'ROLLBACK_WHILE_SERVING',
  'COPY_REFUSED',
  'COPY_OLDER_THAN_APPLIED',
  'COPY_AFTER_RESTART',
  'LATE_STORE_REFUSED',
  'FLIGHT_JOINED',
  'FLIGHT_NOT_JOINED',
  'HINT_WITH_A_GAP',
  'GAP_FILLED_BY_CHECK',
  'CHECK_FINDS_UNNUMBERED',
  'COMMITTED_OUT_OF_ORDER',
  'NUMBERED_BESIDE_A_COMMIT',
]

const runs = [
  { name: 'promises 1, 3, 4 and 5', how: whole, define: [], expect: 'nothing' },
  { name: 'promise 2', how: fair, define: ['LIVENESS'], expect: 'nothing' },
  ...guards.map((guard) => ({
    name: guard,
    how: shortest,
    define: [guard],
    expect: 'a broken promise',
    trace: guard === 'NO_START_STAMP',
  })),
  ...livenessGuards.map((guard) => ({
    name: `${guard}, promise 2`,
    how: fair,
    define: ['LIVENESS', guard],
    expect: 'a broken promise',
  })),
  ...situations.map((name) => ({
    name,
    how: shortest,
    define: [`REACH=${name}`],
    expect: 'the situation',
  })),
]

for (const [tool, version] of [
  ['spin', '-V'],
  ['gcc', '--version'],
]) {
  if (spawnSync(tool, [version]).error) {
    console.error(
      `${tool} is not installed: apt-get install spin gcc (Debian, Ubuntu) or brew install spin gcc`,
    )
    process.exit(1)
  }
}

const folder = mkdtempSync(join(tmpdir(), 'protocol-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))
copyFileSync(new URL(model, import.meta.url), join(folder, model))

let passed = 0
for (const run of runs) {
  const { found, states, seconds, defines } = check(run)
  const asExpected = found.startsWith(run.expect)
  if (asExpected) passed++
  const line = [
    asExpected ? 'ok    ' : 'FAILED',
    run.name.padEnd(38),
    found === 'nothing' ? '0 errors' : '1 error ',
    `${states.toLocaleString('en').padStart(10)} states`,
    `${seconds.toFixed(1).padStart(5)} s`,
  ]
  console.log(`${line.join('  ')}${found === 'nothing' ? '' : `  ${found}`}`)
  if (run.trace || !asExpected) console.log(traceOf(defines))
}
console.log(`${passed} passed, ${runs.length - passed} failed`)
process.exitCode = passed === runs.length ? 0 : 1

function check({ how, define }) {
  const defines = define.map((name) => `-D${name}`)
  const startedAt = performance.now()
  rmSync(join(folder, `${model}.trail`), { force: true })
  command('spin', ['-a', ...defines, model])
  command('gcc', ['-w', '-DMEMLIM=2000', ...how.compile, '-o', 'pan', 'pan.c'])
  const output = command('./pan', ['-m100000', ...how.run])
  const seconds = (performance.now() - startedAt) / 1000
  const states = Number(/(\d+(?:\.\d+)?(?:e\+\d+)?) states, stored/.exec(output)?.[1] ?? 0)
  return { found: findingOf(output), states, seconds, defines }
}

function findingOf(output) {
  const errors = Number(/errors: (\d+)/.exec(output)?.[1] ?? Number.NaN)
  // Cut short by a limit, a search that found nothing has shown nothing.
  if (errors === 0)
    return /Search not completed|max search depth/.test(output) ? 'an unfinished search' : 'nothing'
  if (/acceptance cycle/.test(output)) return 'a broken promise: 2'
  const promise = /assertion violated .*\((\d)==0\)/.exec(output)?.[1]
  if (promise) return `a broken promise: ${promise}`
  if (/assertion violated \((\d+)!=\1\)/.test(output)) return 'the situation'
  return `something else: ${output.trim().split('\n')[0]}`
}

/** The steps of the trail that the model tells of, without what Spin says about itself. */
function traceOf(defines) {
  const output = command('spin', ['-T', '-t', ...defines, model])
  const steps = output.split('\n').filter((line) => /^(node|write|Postgres)\b/.test(line))
  const last = /text of failed assertion: (.*)/.exec(output)?.[1]
  return [...steps.map(readable), ...(last ? [`not so: ${last}`] : [])]
    .map((line) => `        ${line}`)
    .join('\n')
}

/** `{5}` is a set of writes, as a mask. */
function readable(step) {
  return step.replace(/\{(\d+)\}/, (_, mask) => {
    const writes = [0, 1, 2, 3].filter((write) => Number(mask) & (1 << write))
    return writes.length > 0 ? writes.join(' and ') : 'none'
  })
}

function command(name, parameters) {
  const { stdout, stderr, error, signal } = spawnSync(name, parameters, {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  if (error ?? signal) throw error ?? new Error(`${name} was ended by ${signal}`)
  return stdout + stderr
}
