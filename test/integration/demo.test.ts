import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { type Commit, judge, outcomeOf, type Read, tally } from '../../tools/demo/judge.js'
import { compiledFile } from '../../tools/local-stack/compiled-file.js'
import { findRedisProgram } from '../../tools/local-stack/redis-server.js'

interface End {
  readonly code: number | null
  readonly output: string
}

/** A demo that is cut off by a time limit must not run on under the next test. */
const running = new Set<ChildProcess>()
afterEach(() => {
  for (const child of running) child.kill()
})

function runDemo(args: readonly string[], path = process.env.PATH): Promise<End> {
  const child = spawn(process.execPath, [compiledFile('tools/demo/main.js'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: path },
  })
  running.add(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
    })
  }
  return new Promise((resolve) => {
    child.once('close', (code) => {
      running.delete(child)
      resolve({ code, output })
    })
  })
}

describe('the demo', () => {
  let programs: string

  // A PATH with `ps`, which the stack's reaper needs on some systems, and no Redis.
  beforeAll(async () => {
    programs = await mkdtemp(join(tmpdir(), 'demo-test-'))
    for (const folder of (process.env.PATH ?? '').split(delimiter).filter(Boolean)) {
      await symlink(join(folder, 'ps'), join(programs, 'ps')).catch(() => {})
    }
  })

  afterAll(() => rm(programs, { recursive: true, force: true }))

  test('ends with 0 and no stale read', async () => {
    const { code, output } = await runDemo(['--exit'])
    expect(output).toMatch(/^ {3}reads +[1-9],\d{3} checked, 180 with a token/m)
    expect(output).toMatch(/^ {3}stale +✔ 0 /m)
    expect({ code, output }).toMatchObject({ code: 0 })
    if (findRedisProgram() === undefined) return
    // The other side met the trouble too: else the scenes would prove nothing.
    expect(output.match(/✖ \S.* still old after/g)?.length).toBeGreaterThanOrEqual(3)
    expect(output).not.toContain('\u001b')
  }, 60_000)

  test('ends with 0 where there is no redis-server, and says what it leaves out', async () => {
    const { code, output } = await runDemo(['--exit'], programs)
    expect(output).toContain('Skipped: there is no redis-server on the PATH')
    expect(output).toContain('the usual design, DEL + PUBLISH, needs Redis')
    expect(output).toMatch(/^ {3}stale +✔ 0 /m)
    expect({ code, output }).toMatchObject({ code: 0 })
  }, 60_000)

  test('refuses an argument that it does not know, in one line', async () => {
    expect(await runDemo(['--fast'])).toEqual({
      code: 2,
      output: 'demo: unknown argument "--fast"; there is only --exit\n',
    })
  })
})

describe('the judge of the demo', () => {
  const boundMs = 2_000
  const commits: readonly Commit[] = [
    { version: 1, at: 0 },
    { version: 2, at: 10_000 },
  ]
  const read = (version: number, startedAt: number, more: Partial<Read> = {}): Read => ({
    node: 1,
    startedAt,
    arrivedAt: startedAt + 1,
    version,
    name: `name ${version}`,
    fromMemory: true,
    atLeast: 0,
    ...more,
  })

  test('an old read that begins after the bound is stale', () => {
    expect(judge(read(1, 12_001), commits, boundMs)).toBe('stale')
  })

  test('an old read within the bound is counted apart', () => {
    expect(judge(read(1, 10_001), commits, boundMs)).toBe('old within the bound')
    expect(judge(read(1, 11_999), commits, boundMs)).toBe('old within the bound')
  })

  test('an old read that began before the commit is fresh, however late its answer', () => {
    expect(judge(read(1, 9_999, { arrivedAt: 15_000 }), commits, boundMs)).toBe('fresh')
  })

  test('an old read is stale at any time when its token names the newer version', () => {
    expect(judge(read(1, 10_001, { atLeast: 2 }), commits, boundMs)).toBe('stale')
    expect(judge(read(2, 10_001, { atLeast: 2 }), commits, boundMs)).toBe('fresh')
  })

  test('a user who is said not to exist is as stale as an old one', () => {
    expect(judge(read(0, 5_000), commits, boundMs)).toBe('stale')
  })

  test('a new value that is seen before its commit is known is fresh', () => {
    expect(judge(read(2, 9_999), commits, boundMs)).toBe('fresh')
  })

  test('every read is counted once', () => {
    const reads = [read(1, 9_000), read(1, 10_500), read(1, 12_500), read(2, 12_500, { atLeast: 2 })]
    expect(tally(reads, commits, boundMs)).toEqual({ reads: 4, withToken: 1, oldWithinBound: 1, stale: 1 })
  })

  test('the time to eviction ends with the first new answer that no old one follows', () => {
    const write = { version: 2, at: 10_000 }
    const resurrected = [read(1, 10_010), read(2, 10_020), read(1, 10_030), read(2, 10_040), read(2, 10_050)]
    expect(outcomeOf(resurrected, write)).toEqual({ name: 'name 2', fresh: true, afterMs: 41, sawOld: true })
    expect(outcomeOf([read(2, 10_020), read(1, 13_000)], write)).toEqual({
      name: 'name 1',
      fresh: false,
      afterMs: 3_000,
      sawOld: true,
    })
    expect(outcomeOf([read(1, 9_000)], write)).toBeUndefined()
  })
})
