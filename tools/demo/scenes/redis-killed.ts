import { setTimeout as sleep } from 'node:timers/promises'
import { request } from '../client.js'
import type { Watch } from '../probe.js'
import type { Side } from '../side.js'
import {
  duration,
  explain,
  nodeNumbers,
  nodeRows,
  observe,
  observeMs,
  registerWarm,
  type Scene,
  stopAll,
  writeRow,
} from '../stage.js'
import type { Cell } from '../terminal.js'

const afterwardsMs = 1_000
const reconnectLimitMs = 10_000
const reconnectPollMs = 20

export const redisKilled: Scene = {
  title: 'Redis is killed, and a user is written while it is away',
  withoutRedis: 'there is no redis-server on the PATH that could be killed',
  async play(stage) {
    const { terminal, sides, redis } = stage
    if (!redis) return
    const watches = await registerWarm(stage, 'Joan')
    for (const watch of watches) watch.poll(...nodeNumbers)
    await redis.kill()
    const killedAt = performance.now()
    const writes = await Promise.all(watches.map((watch) => watch.rename(1, 'Joan Clarke')))
    await observe(stage, observeMs, 'Redis is dead, reading every node')
    const restartedAt = performance.now()
    await redis.start()
    const [reconnected] = await Promise.all([
      Promise.all(sides.map(reconnection)),
      observe(stage, afterwardsMs, 'Redis is back, empty, reading on'),
    ])
    await Promise.all(writes.map(({ settled }) => settled))
    await stopAll(watches)
    terminal.say(`Redis is dead for ${duration(restartedAt - killedAt)}, and comes back empty:`)
    terminal.table(
      sides.map(({ name }) => name),
      [
        writeRow(writes, 'no answer'),
        ...nodeRows(watches, writes),
        { label: 'L1', cells: watches.map((watch) => memoryCell(watch, killedAt, restartedAt)) },
        { label: 'Redis', cells: reconnected },
      ],
    )
    explain(stage, {
      ours:
        'Redis only makes the service faster. The write commits, the nodes hear of it from Postgres, and they ' +
        'continue to answer from memory.',
      naive:
        'the write is saved at once, but its answer waits until Redis is back. So does every read on node 1, ' +
        'which has deleted the user from its memory. The other nodes answer with the old value.',
    })
  },
}

function memoryCell({ reads }: Watch, from: number, to: number): Cell {
  const during = reads.filter(({ startedAt }) => startedAt > from && startedAt < to)
  const fromMemory = during.filter((read) => read.fromMemory && read.arrivedAt < to).length
  return { text: `answered ${fromMemory} of ${during.length} reads meanwhile`, tone: 'quiet' }
}

async function reconnection(side: Side): Promise<Cell> {
  const start = performance.now()
  const limit = start + reconnectLimitMs
  while (!(await Promise.all(side.nodes.map(({ url }) => seesRedis(url)))).every(Boolean)) {
    if (performance.now() > limit) throw new Error(`${side.name} did not connect to the new Redis`)
    await sleep(reconnectPollMs)
  }
  return { text: `connected again after ${duration(performance.now() - start)}`, tone: 'quiet' }
}

async function seesRedis(url: string): Promise<boolean> {
  const { text } = await request('GET', `${url}/health/ready`)
  const { checks } = JSON.parse(text) as { checks: { redis: { status: string } } }
  return checks.redis.status === 'up'
}
