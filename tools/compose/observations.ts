import assert from 'node:assert/strict'
import { cacheStatusOf, describe, readUser, registerUser, send, writeUser, writtenValue } from './client.js'
import { until } from './runner.js'
import { maxStalenessMs } from './traffic.js'

/** A limit in ms for what a container engine or a node does within a few seconds, for slow machines. */
export const patienceMs = 30_000

export const isReady = async (base: string) => (await send(base, 'GET', '/health/ready')).status === 200

export interface HealthReport {
  readonly checks: { readonly redis: { readonly status: string } }
}

/** Reads until the node has the user in memory. Only then could a later answer be stale. */
export async function cachedInMemory(base: string, userId: string): Promise<void> {
  await until(`${base} has the user in L1`, patienceMs, async () =>
    cacheStatusOf(await readUser(base, userId)).startsWith('aftercommit-l1; hit'),
  )
}

/** @returns milliseconds until the node answers with the value */
export function seenOn(base: string, userId: string, value: number): Promise<number> {
  return until(
    `${base} answers v${value}`,
    maxStalenessMs,
    async () => writtenValue(await readUser(base, userId)) === value,
  )
}

/** Makes a write, which must succeed. @returns milliseconds that the answer took */
export async function write(base: string, userId: string, value: number): Promise<number> {
  const answer = await writeUser(base, userId, value)
  assert.equal(answer.status, 200, describe(answer))
  return answer.tookMs
}

const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0

/** Measures one node with users that were registered on another: median ms of writes, first reads and repeated reads. */
export async function answerTimes(base: string, registeredOn: string) {
  const writes: number[] = []
  const firstReads: number[] = []
  const repeatedReads: number[] = []
  for (let round = 0; round < 21; round++) {
    const { id } = await registerUser(registeredOn)
    for (const times of [firstReads, repeatedReads]) {
      const answer = await readUser(base, id)
      assert.equal(answer.status, 200, describe(answer))
      times.push(answer.tookMs)
    }
    writes.push(await write(base, id, 1))
  }
  return {
    write: median(writes),
    'first read': median(firstReads),
    'repeated read': median(repeatedReads),
  }
}
