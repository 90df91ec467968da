import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  type LocalStack,
  type NodeOptions,
  type NodeProcess,
  startNode,
  startTestStack,
} from '../../tools/local-stack/index.js'
import { registerUser, request } from './client.js'

let stack: LocalStack
let databaseUrl: string
let pipes = 0

beforeAll(async () => {
  stack = await startTestStack()
  databaseUrl = await stack.createDatabase()
})
afterAll(() => stack.stop())

const start = (options: Partial<NodeOptions>) =>
  startNode({ stack, databaseUrl, logLevel: 'debug', name: 'logging', ...options })

/** A pipe, and the end of it that a node is given as its standard output. */
function pipe(): { reader: number; writer: number } {
  const path = join(stack.folder, `pipe-${++pipes}`)
  execFileSync('mkfifo', [path])
  const reader = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  return { reader, writer: openSync(path, constants.O_WRONLY) }
}

/** Reads what is in a pipe, or as much of it as a file would block for. */
function drain(reader: number): string {
  const bytes = Buffer.alloc(65_536)
  let text = ''
  for (;;) {
    try {
      text += bytes.toString('utf8', 0, readSync(reader, bytes))
    } catch {
      return text
    }
  }
}

function fill(pipeEnd: number): void {
  const bytes = Buffer.alloc(4_096, ' ')
  try {
    for (;;) writeSync(pipeEnd, bytes)
  } catch {
    // It is full.
  }
}

async function worksAndStops(node: NodeProcess): Promise<void> {
  await registerUser(node)
  expect((await request(node, 'GET', '/health/live')).status).toBe(200)
  expect(await node.stop()).toBe(0)
}

const messages = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { time: number; msg: string; node: string })

describe('a log that cannot be written neither holds up a node nor keeps it from stopping', () => {
  test('on a full disk', async () => {
    const full = openSync('/dev/full', 'w')
    const node = await start({ stdout: full })
    closeSync(full)
    await worksAndStops(node)
  })

  test('to a full pipe that nobody reads', async () => {
    const { reader, writer } = pipe()
    fill(reader)
    await worksAndStops(await start({ stdout: writer }))
    closeSync(writer)
    closeSync(reader)
  })

  test('to a pipe whose reader has gone', async () => {
    const { reader, writer } = pipe()
    closeSync(reader)
    await worksAndStops(await start({ stdout: writer }))
    closeSync(writer)
  })
})

describe('a log that can be written', () => {
  test('after a time in which it could not has every line of that time', async () => {
    const { reader, writer } = pipe()
    fill(reader)
    const node = await start({ stdout: writer, logLevel: 'info' })
    closeSync(writer)
    const before = drain(reader)
    expect(await node.stop()).toBe(0)
    const lines = messages(before + drain(reader)).map(({ msg }) => msg)
    closeSync(reader)
    expect(lines.filter((msg) => msg !== 'migrations applied')).toEqual([
      'listening',
      'ready',
      'stopping',
      'stopped',
    ])
  })

  test.each(['a file', 'a pipe'])('has all lines to the last, in order of time: %s', async (kind) => {
    const path = join(stack.folder, 'node.log')
    const file = kind === 'a file' ? openSync(path, 'w') : undefined
    const node = await start(file === undefined ? {} : { stdout: file })
    if (file !== undefined) closeSync(file)
    await Promise.all(Array.from({ length: 50 }, () => registerUser(node)))
    expect(await node.stop()).toBe(0)
    const lines = messages(file === undefined ? node.output() : readFileSync(path, 'utf8'))
    expect(lines.map(({ msg }) => msg)).toEqual(
      expect.arrayContaining(['listening', 'ready', 'numbered and published', 'stopping']),
    )
    expect(lines.at(-1)).toMatchObject({ msg: 'stopped', node: 'logging' })
    const times = lines.map(({ time }) => time)
    expect(times).toEqual([...times].sort((a, b) => a - b))
  })
})
