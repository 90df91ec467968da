import type { EntryOptions } from '../../src/kernel/cache/entry-options.js'
import type { Client, Operation, Scenario, Trouble } from './scenario.js'

/** What takes several rare things at once, with everything else left out: random orders of each are explored. */
export const hardCases: Readonly<Record<string, Scenario>> = {
  /** Time passes within one check; the write that it did not see is told of by no hint. */
  'a slow check': hardCase({
    clients: [client(read(1, 'a'), { kind: 'check', node: 1 }, read(1, 'a')), client(write('by key'))],
    troubles: [[{ kind: 'pass', ms: 1_500 }, { kind: 'lose hints' }, { kind: 'pass', ms: 1_000 }]],
  }),
  /** A caller joins a load of which only the end reveals what has been invalidated before the caller came. */
  'a load whose tags come late': hardCase({
    clients: [client(read(1, 'a')), client(read(1, 'a')), client(write('by tag'))],
  }),
  /** A caller joins a load that has found nothing, after the creation was applied. */
  'a load that finds nothing': hardCase({
    clients: [
      client(read(1, 'c')),
      client(read(1, 'c')),
      client({ kind: 'write', node: 0, key: 'c', how: 'creates' }),
    ],
  }),
  /** What fail-safe answers inside a load goes to a client that has written what replaces it. */
  'fail-safe inside a load': hardCase({
    clients: [client(read(1, 'a')), { tokens: true, operations: [write('by key'), read(1, 'a+')] }],
    troubles: [[{ kind: 'Postgres goes' }]],
    entry: { failSafe: true, allowInvalidated: true },
  }),
  /** What is kept was made of a value that is not, as it was read in a transaction. */
  'a unit of work inside a load': hardCase({
    clients: [client(read(1, 'a*'), read(1, 'a*')), client(write('by key'), write('by tag'))],
  }),
  /** The one that commits last may have the first position: its client, who knows that, need not see the other yet. */
  'two writes that overlap': hardCase({
    clients: [
      client(read(1, 'a')),
      { tokens: true, operations: [{ kind: 'write', node: 1, key: 'c', how: 'creates' }, read(1, 'a')] },
      client(write('by tag')),
    ],
    slowNumbering: true,
  }),
}

function hardCase({
  clients,
  troubles = [],
  entry = {},
  slowNumbering = false,
}: {
  clients: readonly Client[]
  troubles?: readonly (readonly Trouble[])[]
  entry?: Partial<EntryOptions>
  slowNumbering?: boolean
}): Scenario {
  return {
    nodes: 2,
    keys: ['a', 'b'],
    absentKeys: ['c'],
    clients,
    troubles,
    entry: { clusterSingleFlight: false, skipL2Read: true, skipL2Write: true, ...entry },
    replayAtStart: 1_000,
    positionsBefore: 0,
    checksByItself: false,
    slowNumbering,
    slowReplies: true,
    copiesOfHints: 1,
    hearsItself: false,
    busyNodes: false,
    sharedTimeoutMs: 0,
  }
}

function client(...operations: Operation[]): Client {
  return { tokens: false, operations }
}

function read(node: number, key: string): Operation {
  return { kind: 'read', node, key }
}

function write(how: 'by key' | 'by tag'): Operation {
  return { kind: 'write', node: 0, key: 'a', how }
}
