import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { HintQueue } from '../../../src/kernel/journal/hint-queue.js'

/** As many as one read of a socket may bring. */
const burst = Array.from({ length: 100 }, (_, index) => `hint ${index}`)

function queueOf(msEach: number) {
  const read: string[] = []
  let now = 0
  const queue = new HintQueue(
    (text) => {
      read.push(text)
      now += msEach
    },
    { now: () => now },
  )
  return { queue, read }
}

async function until(met: () => boolean): Promise<number> {
  let turns = 0
  for (; !met(); turns++) await turn()
  return turns
}

describe('hints that arrive', () => {
  test('alone are read at once', () => {
    const { queue, read } = queueOf(0.1)
    queue.push('alone')
    expect(read).toEqual(['alone'])
    queue.stop()
  })

  test('in a burst are all read, in their order', async () => {
    const { queue, read } = queueOf(0.1)
    for (const text of burst) queue.push(text)
    await until(() => read.length === burst.length)
    expect(read).toEqual(burst)
  })

  test('in a burst leave the event loop a turn after each millisecond of work', async () => {
    const { queue, read } = queueOf(0.5)
    for (const text of burst) queue.push(text)
    let before = read.length
    let most = before
    const turns = await until(() => {
      most = Math.max(most, read.length - before)
      before = read.length
      return read.length === burst.length
    })
    expect(most).toBeLessThanOrEqual(2)
    expect(turns).toBeGreaterThanOrEqual(burst.length / 2 - 1)
  })

  test('faster than they can be read are dropped, but for the newest, which has a check asked for', async () => {
    const { queue, read } = queueOf(5)
    const large = 'x'.repeat(1_048_576)
    for (let index = 0; index < 40; index++) queue.push(`${large}${index}`)
    await until(() => read.at(-1)?.endsWith('x39') ?? false)
    expect(read.length).toBeLessThan(20)
  })

  test('are not read any more once the node has stopped', async () => {
    const { queue, read } = queueOf(5)
    for (const text of burst) queue.push(text)
    queue.stop()
    await turn()
    await turn()
    expect(read).toEqual([burst[0]])
  })
})
