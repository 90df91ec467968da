/**
 * Removes the protocol's guards one at a time, and has the explorer find what breaks: `npm run test:guards`, or
 * `… -- NAME` for those whose names contain a text. With
 * MODELS_ONLY=1 no servers are needed, and what only they can show is left out. Exits with 1 if a guard's removal goes unnoticed.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { compileExplorer, compileWithout, copyExplorer, root } from './compiled.mjs'

const secondsAGuard = Number(process.env.SECONDS ?? 60)
/** Seeds of runs that failed without a guard: tried first, and replaced when they no longer do. */
const seedsFile = join(root, 'test/consistency/guard-seeds.json')
const seeds = JSON.parse(readFileSync(seedsFile, 'utf8'))
const work = mkdtempSync(join(tmpdir(), 'aftercommit-guards-'))
process.on('exit', () => rmSync(work, { recursive: true, force: true }))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

const whole = join(work, 'whole')
compileExplorer(whole)
symlinkSync(join(root, 'node_modules'), join(work, 'node_modules'))

const { guards, plantedBug } = await import(pathToFileURL(join(whole, 'test/consistency/guards.js')).href)
const guardsByName = new Map(guards.map((guard) => [guard.name, guard]))
const wanted = process.argv[2]
const chosen = [...guards, plantedBug].filter(
  ({ name, shownBy }) => (!wanted || name.includes(wanted)) && !(shownBy && process.env.MODELS_ONLY),
)
console.log(
  `${chosen.length} guards, each removed alone; at most ${secondsAGuard} s of processor time for each\n`,
)
const results = []
const queue = [...chosen.entries()]
const jobs = Number(process.env.JOBS ?? availableParallelism())
await Promise.all(Array.from({ length: jobs }, next))

const unnoticed = results.filter(({ promise }) => promise === undefined)
const longest = Math.max(...results.map(({ seconds }) => seconds))
console.log(
  `\n${results.length - unnoticed.length} of ${results.length} removals found, the slowest in ${longest.toFixed(1)} s`,
)
for (const { name } of unnoticed) console.log(`not noticed: ${name}`)
process.exitCode = unnoticed.length > 0 ? 1 : 0

async function next() {
  for (let item = queue.shift(); item; item = queue.shift()) {
    const [index, guard] = item
    const result = guard.shownBy ? await testedWithout(index, guard) : await without(index, guard)
    results.push({ name: guard.name, ...result })
    if (result.seed !== undefined) {
      seeds[guard.name] = result.seed
      const sorted = Object.fromEntries(Object.entries(seeds).sort())
      writeFileSync(seedsFile, `${JSON.stringify(sorted, undefined, 2)}\n`)
    }
    const { promise, seconds, runs, violation, trouble } = result
    const found = promise === undefined ? 'NOT NOTICED' : `promise ${promise}`
    console.log(
      `${found.padEnd(11)} ${seconds.toFixed(1).padStart(5)} s ${String(runs).padStart(6)} ${guard.shownBy ? 'test' : 'runs'}  ${guard.name}`,
    )
    if (process.env.VERBOSE || trouble) console.log(`            ${trouble ?? violation ?? ''}`)
  }
}

/** Runs tests over the real servers, in a copy of the project without the guard. */
async function testedWithout(index, { name, file, snippet, without: replacement, shownBy }) {
  const folder = join(work, `${index}`)
  for (const part of [
    'src',
    'test',
    'tools',
    // What reaps the servers that a test starts is a process of its own.
    'dist/tools',
    'migrations',
    'ormconfig.ts',
    'package.json',
    'jest.config.js',
    '.swcrc',
  ]) {
    cpSync(join(root, part), join(folder, part), { recursive: true })
  }
  const jest = [
    '--experimental-vm-modules',
    '--no-warnings',
    join(root, 'node_modules/jest/bin/jest.js'),
    ...['--rootDir', folder, '--cacheDirectory', join(work, 'jest'), shownBy.test, '-t', shownBy.title],
  ]
  const startedAt = performance.now()
  // A test that fails anyway would show nothing.
  const asItIs = await run(process.execPath, jest, folder)
  if (asItIs.code !== 0) return { seconds: 0, runs: 0, trouble: `${name}: ${asItIs.output.slice(-1_500)}` }
  const source = replaced(readFileSync(join(root, file), 'utf8'), file, snippet, replacement)
  writeFileSync(join(folder, file), source)
  const { code, output } = await run(process.execPath, jest, folder)
  rmSync(folder, { recursive: true, force: true })
  const seconds = (performance.now() - startedAt) / 1_000
  const failed = code !== 0 && /Tests: +[1-9]\d* failed/.test(output)
  return {
    seconds,
    runs: 2,
    promise: failed ? guardsByName.get(name).promise : undefined,
    violation: shownBy.title,
  }
}

function replaced(source, file, snippet, replacement) {
  if (source.split(snippet).length !== 2) throw new Error(`${file} does not contain exactly once: ${snippet}`)
  return source.replace(snippet, () => replacement)
}

async function without(index, guard) {
  const { name, hardCase = '' } = guard
  const folder = join(work, `${index}`)
  copyExplorer(whole, folder)
  compileWithout(folder, guard)
  const program = join(folder, 'test/consistency/find-violation.js')
  const known = name in seeds ? [String(seeds[name])] : []
  const { output, code } = await run(process.execPath, [
    '--no-warnings',
    program,
    String(secondsAGuard),
    hardCase,
    ...known,
  ])
  rmSync(folder, { recursive: true, force: true })
  const line = output.split('\n').find((text) => text.startsWith('{'))
  if (line) return JSON.parse(line)
  return { seconds: 0, runs: 0, trouble: `exit code ${code}: ${output.slice(0, 500)}` }
}

function run(program, args, cwd = root) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        output += chunk
      })
    }
    child.on('exit', (code) => resolve({ output, code }))
  })
}
