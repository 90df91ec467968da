import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisServer } from '../local-stack/index.js'
import { maxStalenessMs, type Watch, type Write } from './probe.js'
import type { Side } from './side.js'
import type { Cell, Row, Terminal } from './terminal.js'

/** Long enough after a write for the bound to end, and for reads after that. */
export const observeMs = 2_500

export interface Stage {
  readonly terminal: Terminal
  /** This service and, if there is a Redis, the usual design. */
  readonly sides: readonly Side[]
  readonly redis: RedisServer | undefined
}

export interface Scene {
  readonly title: string
  /** Why the scene is skipped without Redis; undefined if it is not. */
  readonly withoutRedis?: string
  play(stage: Stage): Promise<void>
}

/** After so many ms, a reader of the table may wonder whether the node answered with the old value until then. */
const slowMs = 100

export const nodeNumbers = [1, 2, 3] as const

/** Registers a user on each side and waits until all nodes have it in memory. */
export function registerWarm(stage: Stage, name: string): Promise<Watch[]> {
  return Promise.all(
    stage.sides.map(async (side) => {
      const watch = await side.register(name)
      await Promise.all(nodeNumbers.map((number) => watch.warm(number)))
      return watch
    }),
  )
}

/** Prints why each side behaved as it did. */
export function explain(
  { terminal, sides }: Stage,
  reasons: { readonly ours: string; readonly naive: string },
): void {
  terminal.say('')
  terminal.why(`Aftercommit: ${reasons.ours}`)
  if (sides.length > 1) terminal.why(`DEL + PUBLISH: ${reasons.naive}`)
}

/** Waits for `ms` while the nodes are read. */
export async function observe({ terminal }: Stage, ms: number, what: string): Promise<void> {
  const end = performance.now() + ms
  for (let left = ms; left > 0; left = end - performance.now()) {
    terminal.busy(`${what}, ${(left / 1_000).toFixed(1)} s left`)
    await sleep(Math.min(100, left))
  }
}

export async function stopAll(watches: readonly Watch[]): Promise<void> {
  await Promise.all(watches.map((watch) => watch.stop()))
}

/** One row for each node, with its value and since when it has that. */
export function nodeRows(
  watches: readonly Watch[],
  writes: readonly Write[],
  numbers: readonly number[] = nodeNumbers,
): Row[] {
  return numbers.map((number) => ({
    label: `node ${number}`,
    cells: watches.map((watch, side) => nodeCell(watch, writes[side] as Write, number)),
  }))
}

/** The row with the answers to the writes. */
export function writeRow(writes: readonly Write[], unanswered: string): Row {
  return {
    label: 'PATCH',
    cells: writes.map(({ answer, sentAt }): Cell => {
      if (!answer) return { text: `committed, ${unanswered}`, tone: 'quiet' }
      return { text: `committed, answered after ${duration(answer.arrivedAt - sentAt)}`, tone: 'quiet' }
    }),
  }
}

function nodeCell(watch: Watch, write: Write, number: number): Cell {
  const outcome = watch.outcome(number, write)
  if (!outcome) throw new Error(`${watch.side.node(number).name} answered no read after the write`)
  const { name, fresh, afterMs, sawOld } = outcome
  const after = duration(afterMs)
  if (!fresh) return { text: `✖ ${name}, still old after ${after}`, tone: 'bad' }
  if (sawOld && afterMs > maxStalenessMs) return { text: `✖ ${name}, but old for ${after}`, tone: 'bad' }
  // A slow answer is not a stale one.
  const slow = !sawOld && afterMs > slowMs
  return { text: `✔ ${name}, after ${after}${slow ? ', never old' : ''}`, tone: 'good' }
}

export function duration(ms: number): string {
  if (ms < 1) return '< 1 ms'
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`
}
