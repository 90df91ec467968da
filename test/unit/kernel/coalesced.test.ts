import { describe, expect, test } from '@jest/globals'
import { Coalesced } from '../../../src/kernel/coalesced.js'
import { Gate, settle } from '../../support/gate.js'

function gatedCalls() {
  const gates: Gate<number>[] = []
  const coalesced = new Coalesced(() => {
    const gate = new Gate<number>()
    gates.push(gate)
    return gate.opened
  })
  return { gates, coalesced }
}

describe('coalesced calls', () => {
  test('a caller never gets the answer of a call that began before it asked', async () => {
    const { gates, coalesced } = gatedCalls()
    const first = coalesced.run()
    const second = coalesced.run()
    gates[0]!.open(1)
    expect(await first).toBe(1)
    await settle()
    expect(gates).toHaveLength(2)
    gates[1]!.open(2)
    expect(await second).toBe(2)
  })

  test('however many ask, one call runs and one waits', async () => {
    const { gates, coalesced } = gatedCalls()
    const first = coalesced.run()
    const others = Array.from({ length: 1_000 }, () => coalesced.run())
    await settle()
    expect(gates).toHaveLength(1)
    gates[0]!.open(1)
    await first
    await settle()
    expect(gates).toHaveLength(2)
    gates[1]!.open(2)
    expect(new Set(await Promise.all(others))).toEqual(new Set([2]))
    expect(gates).toHaveLength(2)
  })

  test('a failed call fails its own callers only, and the next one runs', async () => {
    const { gates, coalesced } = gatedCalls()
    const first = coalesced.run()
    const second = coalesced.run()
    gates[0]!.fail(new Error('broken'))
    await expect(first).rejects.toThrow('broken')
    await settle()
    gates[1]!.open(2)
    expect(await second).toBe(2)
    const third = coalesced.run()
    gates[2]!.open(3)
    expect(await third).toBe(3)
  })

  test('who asks between the end of one call and the start of the next shares the next', async () => {
    const { gates, coalesced } = gatedCalls()
    const first = coalesced.run()
    const waiting = coalesced.run()
    gates[0]!.open(1)
    const late: Promise<number>[] = []
    for (let turn = 0; turn < 20; turn++) {
      await Promise.resolve()
      if (gates.length === 1) late.push(coalesced.run())
    }
    await first
    expect(gates).toHaveLength(2)
    gates[1]!.open(2)
    expect(await Promise.all([waiting, ...late])).toEqual([2, ...late.map(() => 2)])
  })

  test('who asks while the next call pauses shares it, and a first call does not pause', async () => {
    const pause = new Gate()
    let calls = 0
    const coalesced = new Coalesced(
      async () => ++calls,
      () => pause.opened,
    )
    const first = coalesced.run()
    const waiting = coalesced.run()
    expect(await first).toBe(1)
    await settle()
    const late = coalesced.run()
    expect(calls).toBe(1)
    pause.open()
    expect(await Promise.all([waiting, late])).toEqual([2, 2])
  })

  test('idle waits for what runs and what waits, and does not mind failures', async () => {
    const { gates, coalesced } = gatedCalls()
    const failures = [coalesced.run(), coalesced.run()].map((call) => call.catch(() => 'failed'))
    let idle = false
    const settled = coalesced.idle().then(() => {
      idle = true
    })
    gates[0]!.fail(new Error('broken'))
    await settle()
    expect(idle).toBe(false)
    gates[1]!.fail(new Error('broken'))
    await settled
    expect(await Promise.all(failures)).toEqual(['failed', 'failed'])
  })
})
