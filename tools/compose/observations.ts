import assert from 'node:assert/strict'
import { cacheStatusOf, describe, readUser, registerUser, send, writeUser, writtenValue } from './client.js'
import { until } from './runner.js'
import { maxStalenessMs } from './traffic.js'

/** Milliseconds for what an engine or a node should do within a few seconds, on a slow machine. */
export const patienceMs = 30_000

export const isReady = async (base: string) => (await send(base, 'GET', '/health/ready')).status === 200

export interface HealthReport {
  readonly checks: { readonly redis: { readonly status: string } }
}

/** Reads until the node has the user in memory, so that an old answer afterwards can only be a stale one. */
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

/** Writes, which must succeed. @returns milliseconds that the answer took */
export async function write(base: string, userId: string, value: number): Promise<number> {
  const answer = await writeUser(base, userId, value)
  assert.equal(answer.status, 200, describe(answer))
  return answer.tookMs
}

const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0

/** Median milliseconds, on one node, of writes, and of first and repeated reads of users registered on another. */
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
