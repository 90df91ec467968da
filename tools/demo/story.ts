import 'reflect-metadata'
import { createDataSource } from '../../ormconfig.js'
import { migrate } from '../../src/kernel/persistence/migrate.js'
import { type LocalStack, startLocalStack } from '../local-stack/index.js'
import { aftercommitCluster } from './aftercommit-cluster.js'
import { noReads, sum, type Tally } from './judge.js'
import { naiveCluster } from './naive-cluster.js'
import { maxStalenessMs, pollMs } from './probe.js'
import { onceMore } from './scenes/once-more.js'
import { plainWrite } from './scenes/plain-write.js'
import { readYourWrites } from './scenes/read-your-writes.js'
import { redisKilled } from './scenes/redis-killed.js'
import { slowLoad } from './scenes/slow-load.js'
import { subscriberCut } from './scenes/subscriber-cut.js'
import { writerKilled } from './scenes/writer-killed.js'
import type { Side } from './side.js'
import { duration, nodeNumbers, type Scene, type Stage } from './stage.js'
import type { Cell, Row, Terminal } from './terminal.js'

const scenes: readonly Scene[] = [
  plainWrite,
  readYourWrites,
  writerKilled,
  subscriberCut,
  redisKilled,
  slowLoad,
  onceMore,
]

const shownBreaches = 10

/** Starts the stack. Its Redis is always a private one, because one scene kills it. */
export function startStack(): Promise<LocalStack> {
  const { REDIS_URL, ...env } = process.env
  return startLocalStack({ env })
}

export interface Told {
  /** Whether this service answered every read, and none with a stale value. */
  readonly held: boolean
  /** The URLs of this service's nodes, which are still running. */
  readonly urls: readonly string[]
  /** The path of a user that exists. */
  readonly userPath: string
}

/**
 * Plays all scenes.
 *
 * @throws Error with the nodes' logs below its first line, if something does not work at all
 */
export async function play(terminal: Terminal, starting: Promise<LocalStack>): Promise<Told> {
  terminal.headline('Aftercommit: three nodes, their caches, and everything that usually goes wrong')
  const stage = await setUp(terminal, starting)
  try {
    for (const [index, scene] of scenes.entries()) {
      terminal.title(`${index + 1}. ${scene.title}`)
      if (scene.withoutRedis && !stage.redis) terminal.say(`Skipped: ${scene.withoutRedis}.`)
      else await scene.play(stage)
    }
  } catch (error) {
    const logs = stage.sides
      .map((side) => side.logs())
      .join('\n')
      .trim()
    throw new Error(`${(error as Error).message}${logs && `\n${logs}`}`, { cause: error })
  }
  const [ours] = stage.sides
  return {
    held: conclude(stage),
    urls: ours?.nodes.map(({ url }) => url) ?? [],
    userPath: `/users/${ours?.watches.at(-1)?.userId}`,
  }
}

async function setUp(terminal: Terminal, starting: Promise<LocalStack>): Promise<Stage> {
  const startedAt = performance.now()
  terminal.busy('starting Postgres and Redis')
  const stack = await starting
  for (const note of stack.notes) terminal.say(note)
  const databaseUrl = await stack.createDatabase()
  terminal.busy('running the migrations')
  const migrations = await migrateEmpty(databaseUrl)
  const ours = await aftercommitCluster(stack, databaseUrl, stack.redisUrl)
  const naive = stack.redisUrl ? await naiveCluster(stack, databaseUrl, stack.redisUrl) : undefined
  const sides = naive ? [ours, naive] : [ours]
  terminal.busy('starting three nodes on each side')
  await Promise.all(sides.map((side) => side.start(nodeNumbers)))
  await Promise.all(sides.map(firstRequests))

  const servers = stack.redis ? 'Postgres and Redis' : 'Postgres'
  terminal.say(
    `${servers}, ${migrations} migrations and ${sides.length * nodeNumbers.length} nodes, each a separate process: ` +
      `started within ${duration(performance.now() - startedAt)}.`,
  )
  if (naive) {
    terminal.say(
      'Left: this service. Right: the usual design, with the same faults at the same time. It sends DEL to Redis ' +
        'and PUBLISH to every node after each save (tools/demo/naive-node.ts).',
    )
  } else terminal.say('Only this service is shown: the usual design, DEL + PUBLISH, needs Redis.')
  terminal.say(
    `Every node is read every ${pollMs} ms. Times count from the moment when Postgres shows the new row, until the ` +
      'first answer of a node with the new value after which no old one comes.',
  )
  return { terminal, sides, redis: stack.redis }
}

/** Sends some requests first, so that the first scene does not measure how long V8 takes to compile the code. */
async function firstRequests(side: Side): Promise<void> {
  const watch = await side.register('Nobody')
  for (let round = 1; round <= 20; round++) {
    const write = await watch.rename(1, `Nobody ${round}`)
    await write.settled
    await Promise.all(nodeNumbers.map((number) => watch.read(number, write)))
  }
}

async function migrateEmpty(databaseUrl: string): Promise<number> {
  const dataSource = createDataSource({ databaseUrl, applicationName: 'demo migrate', poolSize: 2 })
  await dataSource.initialize()
  try {
    return (await migrate(dataSource, databaseUrl)).length
  } finally {
    await dataSource.destroy()
  }
}

function conclude({ terminal, sides }: Stage): boolean {
  const bound = `${maxStalenessMs / 1_000} s`
  const tallies = sides.map(({ watches }) => watches.map((watch) => watch.tally()).reduce(sum, noReads))
  const failures = sides.map(({ watches }) => watches.flatMap((watch) => watch.failures))
  const row = (label: string, cell: (tally: Tally, side: number) => Cell): Row => ({
    label,
    cells: tallies.map(cell),
  })
  const count = (number: number): string => number.toLocaleString('en')
  terminal.title('The count')
  terminal.table(
    sides.map(({ name }) => name),
    [
      row('reads', ({ reads, withToken }) => ({
        text: `${count(reads)} checked${withToken > 0 ? `, ${count(withToken)} with a token` : ''}`,
        tone: 'plain',
      })),
      row('old', ({ oldWithinBound }) => ({
        text: `${count(oldWithinBound)} within ${bound} of the commit`,
        tone: 'plain',
      })),
      row('stale', ({ stale }) => ({
        text: `${stale === 0 ? '✔' : '✖'} ${count(stale)} later than that, or despite a token`,
        tone: stale === 0 ? 'good' : 'bad',
      })),
      row('failed', (_, side) => {
        const failed = failures[side]?.length ?? 0
        return { text: `${count(failed)} requests`, tone: failed === 0 ? 'quiet' : 'bad' }
      }),
    ],
  )
  const ours = sides[0]?.watches ?? []
  const breaches = ours.flatMap((watch) => [...watch.staleReads(), ...watch.failures])
  if (breaches.length > 0) terminal.say('')
  for (const breach of breaches.slice(0, shownBreaches)) terminal.say(`✖ ${breach}`)
  return breaches.length === 0
}
