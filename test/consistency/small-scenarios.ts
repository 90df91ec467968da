import type { EntryOptions } from '../../src/kernel/cache/entry-options.js'
import type { Client, Operation, Scenario, Trouble } from './scenario.js'

/** A scenario small enough for every order of its steps. */
export interface SmallScenario {
  readonly title: string
  readonly scenario: Scenario
}

const read = (node: number): Operation => ({ kind: 'read', node, key: 'a' })
const write = (how: 'by key' | 'by tag'): Operation => ({ kind: 'write', node: 0, key: 'a', how })
const client = (tokens: boolean, ...operations: Operation[]): Client => ({ tokens, operations })

const withoutL2: Partial<EntryOptions> = { clusterSingleFlight: false, skipL2Read: true, skipL2Write: true }
const withL2: Partial<EntryOptions> = { clusterSingleFlight: false }

/**
 * A statement and its reply are one step here, and where two writes meet a fault there is no L2: with both, there are
 * more orders than fit into a test. The random part has them all.
 */
function small(
  entry: Partial<EntryOptions>,
  clients: readonly Client[],
  ...troubles: readonly Trouble[]
): Scenario {
  return {
    nodes: 2,
    keys: ['a'],
    absentKeys: [],
    clients,
    troubles: troubles.length > 0 ? [troubles] : [],
    entry,
    replayAtStart: 1_000,
    positionsBefore: 0,
    checksByItself: false,
    slowNumbering: false,
    slowReplies: false,
    copiesOfHints: 1,
    hearsItself: false,
    busyNodes: false,
    sharedTimeoutMs: 0,
  }
}

type Fault = readonly [title: string, ...troubles: Trouble[]]

/** Two writes on one node, by key and by tag, and two loads on the other. */
const twoWrites = [client(false, write('by key'), write('by tag')), client(false, read(1), read(1))]
const withTwoWrites: readonly Fault[] = [
  ['a crash of the writer', { kind: 'crash', node: 0 }],
  ['a crash of the reader', { kind: 'crash', node: 1 }],
  ['a failover that loses the last change', { kind: 'fail over', lostChanges: 1 }],
  ['the end of the leases', { kind: 'pass', ms: 2_000 }],
  ['positions deleted before they are applied', { kind: 'delete numbered' }],
]

const oneWrite = [client(false, write('by tag')), client(false, read(1), read(1))]
const withOneWrite: readonly Fault[] = [
  ['a crash of the writer', { kind: 'crash', node: 0 }],
  ['a crash of the reader', { kind: 'crash', node: 1 }],
  ['a failover that loses the last change', { kind: 'fail over', lostChanges: 1 }],
  ['a suspended machine', { kind: 'suspend', node: 1, ms: 3_000 }],
]

/**
 * A Redis that comes back has every node subscribe again and ask for a check, which is too much for here even with one
 * load; the random part has that.
 */
const oneLoad = [client(false, write('by tag')), client(false, read(1))]
const withOneLoad: readonly Fault[] = [
  ['a Redis that goes away', { kind: 'Redis goes' }],
  ['a forged hint', { kind: 'forge a hint' }],
]

const onQuietNodes: readonly SmallScenario[] = [
  {
    title: 'two writes, and two loads at once, over L2',
    scenario: small(withL2, [
      client(false, write('by key'), write('by tag')),
      client(false, read(1)),
      client(false, read(1)),
    ]),
  },
  {
    title: 'a write read elsewhere with its token, and another reader, over L2',
    scenario: small(withL2, [client(true, write('by key'), read(1)), client(false, read(1))]),
  },
  ...withTwoWrites.map(([title, ...troubles]) => ({
    title: `two writes, two loads and ${title}`,
    scenario: small(withoutL2, twoWrites, ...troubles),
  })),
  ...withOneWrite.map(([title, ...troubles]) => ({
    title: `a write, two loads and ${title}, over L2`,
    scenario: small(withL2, oneWrite, ...troubles),
  })),
  ...withOneLoad.map(([title, ...troubles]) => ({
    title: `a write, a load and ${title}, over L2`,
    scenario: small(withL2, oneLoad, ...troubles),
  })),
]

/** Each twice, as a node numbers before its COMMIT or behind it. */
export const smallScenarios: readonly SmallScenario[] = onQuietNodes.flatMap(({ title, scenario }) => [
  { title, scenario },
  { title: `${title}, on busy nodes`, scenario: { ...scenario, busyNodes: true } },
])
