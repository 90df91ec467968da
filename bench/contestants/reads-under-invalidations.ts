import { setTimeout as sleep } from 'node:timers/promises'
import type { Journal, JournalMessage } from '../../src/kernel/journal/journal.js'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { ItemsChanged } from '../service/bench-module.js'
import { itemsOf, startBenchNode } from '../service/bench-node.js'
import { itemOf, keyOf, keysToAsk } from './hits.js'

const keyCount = 10_000

/**
 * Checks ask Postgres as ever; of what it answers, the head is put where this node stands. So events can be made up
 * here, at any rate, that nobody had to commit and number on the same two cores.
 */
function claimingAsApplied(journal: Journal): Journal {
  return {
    number: (atMost) => journal.number(atMost),
    beginEpoch: (seen) => journal.beginEpoch(seen),
    async read(after, atMost, places) {
      const page = await journal.read(after, atMost, places)
      return after === 0
        ? page
        : { ...page, head: after, headId: numberingId, afterId: numberingId, messages: [] }
    },
  }
}

const numberingId = '00000000-0000-0000-0000-000000000000'
const batchEveryMs = 10
/** Reads between two turns of the event loop, as a request makes a few. */
const readsATurn = 64

/**
 * Reads while others' events are applied as hints bring them, each of which invalidates one key. Setting: `perSecond`,
 * how many.
 */
export async function openOurs(settings: EntrantSettings): Promise<Entrant> {
  const node = await startBenchNode(settings, { redis: false, wrappers: { journal: claimingAsApplied } })
  const items = itemsOf(node)
  const { applied } = node.parts
  const keys = keysToAsk(keyCount, 100_000)
  const read = (key: string) =>
    items.getOrCreate(key, async () => itemOf(Number(key.slice(key.indexOf(':') + 1))))
  for (let index = 0; index < keyCount; index++) await read(keyOf(index))
  const { epoch } = applied
  let next = 0
  let isOver = false

  const batchOf = (size: number): JournalMessage[] =>
    Array.from({ length: size }, (_, index) => ({
      position: applied.position + 1 + index,
      numberingId,
      type: ItemsChanged.eventName,
      payload: { keys: [keyOf(next++ % keyCount)], tags: [] },
    }))

  async function applyAtRate(perSecond: number): Promise<void> {
    let owed = 0
    let lastAt = performance.now()
    while (!isOver) {
      await sleep(batchEveryMs)
      const now = performance.now()
      owed += ((now - lastAt) / 1_000) * perSecond
      lastAt = now
      const size = Math.floor(owed)
      owed -= size
      if (size > 0)
        node.parts.subscriber.hint({ epoch, head: applied.position + size, messages: batchOf(size) })
    }
  }

  return {
    async round() {
      isOver = false
      const applying = applyAtRate(Number(settings.perSecond))
      const until = performance.now() + (settings.quick ? 200 : 2_000)
      const startedAt = performance.now()
      let reads = 0
      let at = 0
      while (performance.now() < until) {
        for (let one = 0; one < readsATurn; one++) {
          await read(keys[at] as string)
          if (++at === keys.length) at = 0
        }
        reads += readsATurn
        await new Promise((resolve) => setImmediate(resolve))
      }
      const seconds = (performance.now() - startedAt) / 1_000
      isOver = true
      await applying
      return { perSecond: reads / seconds }
    },
    close: () => node.stop(),
  }
}
