import { expect, test } from '@jest/globals'
import type { ObjectLiteral } from 'typeorm'
import type { Connections } from '../../../src/kernel/persistence/connections.js'
import { DatabaseReader } from '../../../src/kernel/persistence/database-reader.js'
import { OverloadedError } from '../../../src/kernel/persistence/persistence-errors.js'
import { Gate, settle } from '../../support/gate.js'

class Row implements ObjectLiteral {}

/** Lends as many connections as are asked for, and counts them. */
function lender() {
  const counts = { borrowed: 0, most: 0 }
  const connections = {
    borrow: async (work: (runner: unknown) => Promise<unknown>) => {
      counts.most = Math.max(counts.most, ++counts.borrowed)
      try {
        return await work({ manager: { getRepository: () => ({}) } })
      } finally {
        counts.borrowed--
      }
    },
  } as unknown as Connections
  return { connections, counts }
}

test('reads beyond the limit wait, and beyond the queue are refused at once, so that misses leave connections to commands', async () => {
  const { connections, counts } = lender()
  const reader = new DatabaseReader(connections, 2, 3)
  const gate = new Gate()
  const reads = Array.from({ length: 5 }, (_, index) => reader.read(Row, () => gate.opened.then(() => index)))
  await settle()
  await expect(reader.read(Row, async () => 'one too many')).rejects.toBeInstanceOf(OverloadedError)
  gate.open()
  expect(await Promise.all(reads)).toEqual([0, 1, 2, 3, 4])
  expect(counts.most).toBe(2)
})

test('a read that fails gives its place to the next', async () => {
  const { connections } = lender()
  const reader = new DatabaseReader(connections, 1, 0)
  await expect(reader.read(Row, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(await reader.read(Row, async () => 'yes')).toBe('yes')
})
