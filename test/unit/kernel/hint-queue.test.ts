import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { HintQueue } from '../../../src/kernel/journal/hint-queue.js'

/** As many as one read of a socket may bring. */
const burst = Array.from({ length: 100 }, (_, index) => `hint ${index}`)
const large = 'x'.repeat(1_048_576)

/** Reads what it is given, each in so many ms of its own clock, which stands still otherwise. */
class Reader {
  now = 0
  readonly read: string[] = []
  lost = 0
  readonly queue: HintQueue

  constructor(msEach: number) {
    this.queue = new HintQueue(
      (text) => {
        this.read.push(text)
        this.now += msEach
      },
      () => this.lost++,
      { now: () => this.now },
    )
  }

  hear(texts: readonly string[]): void {
    for (const text of texts) this.queue.push(text)
  }

  /** Turns of the event loop until all of them have been read, and how many were read at most in one. */
  async until(count: number, msATurn = 0): Promise<{ turns: number; most: number }> {
    let [turns, most] = [0, this.read.length]
    while (this.read.length < count) {
      const before = this.read.length
      this.now += msATurn
      await turn()
      turns++
      most = Math.max(most, this.read.length - before)
    }
    return { turns, most }
  }
}

describe('hints that arrive', () => {
  test('alone are read at once', async () => {
    const reader = new Reader(0.1)
    for (let index = 1; index <= 3; index++) {
      reader.queue.push('alone')
      expect(reader.read.length).toBe(index)
      await turn()
    }
  })

  test('in a burst are all read, in their order', async () => {
    const reader = new Reader(0.1)
    reader.hear(burst)
    await reader.until(burst.length)
    expect(reader.read).toEqual(burst)
  })

  test('in a burst leave the event loop a turn after each millisecond of work, however long the node was idle', async () => {
    const reader = new Reader(0.5)
    reader.hear(['long before'])
    await turn()
    reader.now += 60_000
    reader.read.length = 0
    reader.hear(burst)
    const { turns, most } = await reader.until(burst.length)
    expect(most).toBeLessThanOrEqual(2)
    expect(turns).toBeGreaterThanOrEqual(burst.length / 2 - 1)
  })

  test('on a busy node have as much of its time as everything else', async () => {
    const reader = new Reader(0.5)
    reader.hear(burst)
    const { turns } = await reader.until(burst.length, 10)
    expect(turns).toBeLessThanOrEqual(6)
  })

  test('faster than they can be read are dropped, but for the newest, and the node is told so', async () => {
    const reader = new Reader(5)
    reader.hear(Array.from({ length: 40 }, (_, index) => `${large}${index}`))
    await turn()
    expect(reader.lost).toBeGreaterThan(0)
    while (!reader.read.at(-1)?.endsWith('x39')) await turn()
    expect(reader.read.length).toBeLessThan(20)
  })

  test('over time, however much they are together, are not dropped', async () => {
    const reader = new Reader(0.1)
    for (let count = 1; count <= 40; count++) {
      reader.queue.push(large)
      await reader.until(count)
    }
    reader.hear(burst)
    await reader.until(40 + burst.length)
    expect(reader.lost).toBe(0)
  })

  test('or wait, are not read any more once the node has stopped', async () => {
    const reader = new Reader(5)
    reader.hear(burst)
    reader.queue.stop()
    reader.hear(['late'])
    await turn()
    await turn()
    expect(reader.read).toEqual([burst[0]])
  })
})
