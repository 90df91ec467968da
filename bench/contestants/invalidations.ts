import { randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { systemClock } from '../../src/kernel/clock.js'
import { HintCodec } from '../../src/kernel/journal/hint.js'
import { HintQueue } from '../../src/kernel/journal/hint-queue.js'
import type { Journal } from '../../src/kernel/journal/journal.js'
import type { Node } from '../../src/node.js'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { ItemsChanged } from '../service/bench-module.js'
import { itemsOf, startBenchNode } from '../service/bench-node.js'
import { Blocks, stopwatch } from './blocks.js'
import { collectGarbageAndRest } from './garbage.js'
import { itemOf, keyOf } from './hits.js'
import { percentile } from './percentile.js'

/** Settings: `entries` in L1; `what` is `tag`, `flush`, or `nothing` for what as many loads alone hold up. */
export async function openRemoval(settings: EntrantSettings): Promise<Entrant> {
  const node = await startBenchNode(settings, { redis: false })
  const items = itemsOf(node)
  const entries = Number(settings.entries) / (settings.quick ? 10 : 1)
  const load = (key: string) => items.getOrCreate(key, async () => itemOf(1), { tags: ['all'] })
  const reads = 5_000
  return {
    round: async () => {
      for (let index = 0; index < entries; index++) await load(keyOf(index))
      // Or what the round before has left would be collected within this one, and only where something was removed.
      await collectGarbageAndRest()
      const read = async (prefix = '') => {
        for (let index = 0; index < reads; index++) {
          await turn()
          await load(prefix + keyOf((index * 7_919) % entries))
        }
      }
      // The first allocations after a collection sweep up behind it.
      await read()
      const blocks = new Blocks()
      if (settings.what === 'tag') await items.removeByTag('all')
      if (settings.what === 'flush') await node.parts.caches.clear()
      // What was not done at once might be left to the reads that follow, which are all misses now.
      await read(settings.what === 'nothing' ? `${randomUUID()}:` : '')
      return { longestMs: await blocks.longestMs() }
    },
    close: () => node.stop(),
  }
}

const messagesABatch = 2_000

/**
 * Hints as they would come from Redis, a batch at a time, read and applied while reads go on. What they say was never
 * written to Postgres: each check asks it all the same, and is then told that nothing is missing.
 */
export async function openApplying(settings: EntrantSettings): Promise<Entrant> {
  const node = await startBenchNode(settings, {
    redis: false,
    wrappers: { journal: (journal) => asIfWritten(journal, () => node) },
  })
  const items = itemsOf(node)
  const codec = new HintCodec(node.parts.installation)
  const { applied, subscriber } = node.parts
  const keyCount = 10_000
  const batches = settings.quick ? 20 : 200
  const failed = () => {
    throw new Error('not all hints could be applied')
  }
  const read = (text: string) => subscriber.hint(codec.decode(text) ?? failed())
  const queue = new HintQueue(read, failed, systemClock)
  for (let index = 0; index < keyCount; index++) {
    await items.getOrCreate(keyOf(index), async () => itemOf(index))
    // A node in service has heard events one at a time before it hears a burst, and V8 has decided by those, once and for
    // good, where the objects made of an event go. Half as many events as entries are thousands, which is enough.
    if (index % 2 === 0) continue
    for (const { text } of codec.encode(hintOf(applied.epoch, applied.position + 1, 1))) queue.push(text)
    await turn()
  }
  return {
    round: async () => {
      // As bytes: strings would be collected along with what is measured.
      const arriving = Array.from({ length: batches }, (_, batch) => {
        const from = applied.position + 1 + batch * messagesABatch
        return codec.encode(hintOf(applied.epoch, from, messagesABatch)).map(({ text }) => Buffer.from(text))
      })
      const waits: number[] = []
      let applying = true
      const reader = (async () => {
        for (let index = 0; applying; index++) {
          const elapsedMs = stopwatch()
          // The request arrives, and waits for its turn.
          await turn()
          await items.getOrCreate(keyOf(index % keyCount), async () => itemOf(index))
          waits.push(elapsedMs())
        }
      })()
      const first = applied.position
      const startedAt = performance.now()
      for (const [batch, pieces] of arriving.entries()) {
        await turn()
        for (const bytes of pieces) queue.push(bytes.toString())
        while (applied.position - first < (batch + 1) * messagesABatch) {
          if (applied.statistics.gaps > 0) failed()
          await turn()
        }
      }
      const elapsedMs = performance.now() - startedAt
      applying = false
      await reader
      return {
        perSecond: ((batches * messagesABatch) / elapsedMs) * 1_000,
        readP99Ms: percentile(waits, 0.99),
      }
    },
    close: async () => {
      queue.stop()
      await node.stop()
    },
  }
}

function hintOf(epoch: string, from: number, length: number): Parameters<HintCodec['encode']>[0] {
  const numberingId = randomUUID()
  const messages = Array.from({ length }, (_, index) => ({
    position: from + index,
    numberingId,
    type: ItemsChanged.eventName,
    // Keys that nobody reads: what is reloaded is no part of what is measured.
    payload: { keys: [`other:${from + index}`], tags: [] },
  }))
  return { epoch, head: from + length - 1, messages }
}

function asIfWritten(journal: Journal, nodeOf: () => Node): Journal {
  return {
    number: (atMost) => journal.number(atMost),
    beginEpoch: (seen) => journal.beginEpoch(seen),
    read: async (after, atMost) => {
      const headId = after === 0 ? null : nodeOf().parts.applied.numberingId
      const page = await journal.read(0, atMost)
      return after === 0 ? page : { ...page, head: after, headId, afterId: headId, messages: [] }
    },
  }
}
