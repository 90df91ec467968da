import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { chmod, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { readConfig } from '../../src/config.js'
import { compiledFile } from '../../tools/local-stack/compiled-file.js'
import { onFreePort } from '../../tools/local-stack/free-port.js'
import { listProcesses } from '../../tools/local-stack/process-table.js'
import { until } from '../support/until.js'

/** A clone that has nothing but its `.env`. All processes of `npm run dev` work in it, or below. */
let folder: string
const started: ChildProcess[] = []

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'dev-test-')))
  // If this is root, Postgres runs as another user, who must be able to enter.
  await chmod(folder, 0o755)
})
afterAll(async () => {
  for (const child of started) child.kill('SIGKILL')
  await nothingRuns()
  await rm(folder, { recursive: true, force: true })
})

function dev(port: number, ...args: string[]) {
  const child = spawn(process.execPath, [compiledFile('tools/dev.js'), ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, PORT: String(port) },
  })
  started.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  return { child, output: () => output, exited }
}

/** The processes that work in the folder. */
function workers(): string[] {
  const pids = existsSync('/proc/self/cwd') ? pidsOfProc() : pidsOfLsof()
  return listProcesses().flatMap(({ pid, command }) => (pids.includes(String(pid)) ? [command] : []))
}

function pidsOfProc(): string[] {
  return readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/cwd`).startsWith(folder)
    } catch {
      return false // It has ended, or belongs to somebody else.
    }
  })
}

/** Where there is no `/proc`, as on macOS. */
function pidsOfLsof(): string[] {
  const { stdout } = spawnSync('lsof', ['-w', '-d', 'cwd', '-Fpn'], { encoding: 'utf8' })
  const found = stdout.matchAll(/^p(\d+)\n(?:f.*\n)?n(.*)$/gm)
  return [...found].flatMap(([, pid = '', path = '']) => (path.startsWith(folder) ? [pid] : []))
}

const nothingRuns = () => until('every process has ended', () => workers().length === 0, 60_000)

async function isReady(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/health/ready`).then(
    ({ ok }) => ok,
    () => false,
  )
}

const flag = (port: number) => `http://127.0.0.1:${port}/feature-flags/kept`

describe('npm run dev', () => {
  test('ends with one line if its port is taken, and starts nothing', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as { port: number }
    const { exited, output } = dev(port)
    expect(await exited).toBe(1)
    expect(output()).toBe(`dev: port ${port} is taken; set PORT to another one\n`)
    expect(workers()).toEqual([])
    other.close()
  })

  test.each([
    [['--nodes', 'two'], '--nodes must be a number from 1 to 9'],
    [['--frsh'], "Unknown option '--frsh'"],
  ])('ends with one line for %s', async (args, line) => {
    const { exited, output } = dev(0, ...args)
    expect(await exited).toBe(2)
    expect(output()).toBe(`dev: ${line}\n`)
  })

  test('reads .env, starts as many nodes as asked for, stops them before Postgres, leaves no process, and keeps its data until --fresh', async () => {
    const port = await onFreePort(async (free) => free)
    await writeFile(join(folder, '.env'), `NODE_NAME=from-env-file\nPORT=1\nREDIS_URL=\n`)

    const first = dev(port, '--nodes', '2')
    await until('both are ready', async () => (await isReady(port)) && (await isReady(port + 1)), 60_000)
    const headers = { 'content-type': 'application/json' }
    const body = JSON.stringify({ enabled: true })
    expect((await fetch(flag(port + 1), { method: 'PUT', headers, body })).status).toBe(201)

    const second = dev(port + 2)
    expect(await second.exited).toBe(1)
    expect(second.output()).toMatch(/^dev: another "npm run dev" uses the data in .*; end it first\n$/)

    // To this process alone, not to its group as Ctrl-C.
    first.child.kill('SIGTERM')
    expect(await first.exited).toBe(0)
    await nothingRuns()
    for (const name of ['from-env-file-1', 'from-env-file-2'])
      expect(first.output()).toContain(`INFO: ${name}: stopped`)
    expect(first.output()).not.toMatch(/WARN|ERROR|FATAL/)

    const again = dev(port)
    await until('it is ready', () => isReady(port), 60_000)
    expect((await fetch(flag(port))).status).toBe(200)
    // Even so nothing remains.
    again.child.kill('SIGKILL')
    await nothingRuns()

    const fresh = dev(port, '--fresh')
    await until('it is ready', () => isReady(port), 60_000)
    expect((await fetch(flag(port))).status).toBe(404)
    fresh.child.kill('SIGINT')
    expect(await fresh.exited).toBe(0)
    await nothingRuns()
  }, 180_000)
})

test('requests.http calls the first two nodes of npm run dev', () => {
  const requests = readFileSync(new URL('../../requests.http', import.meta.url), 'utf8')
  const { PORT } = readConfig({ DATABASE_URL: 'postgres://nobody/' })
  expect(requests.match(/(?<=^@\w+ = http:\/\/127\.0\.0\.1:)\d+/gm)).toEqual([String(PORT), String(PORT + 1)])
  expect(requests).toContain('npm run dev -- --nodes 2')
})
