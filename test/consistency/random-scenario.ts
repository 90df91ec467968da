import type { EntryOptions } from '../../src/kernel/cache/entry-options.js'
import type { RandomNumbers } from './random-numbers.js'
import type { Operation, Scenario, Trouble, Write } from './scenario.js'

const writes: readonly Write[] = [
  'by key',
  'by key',
  'by key',
  'by tag',
  'by tag',
  'by tag',
  'newer payload',
  'mapping throws',
  'unknown event',
  'in vain',
  'reads',
]

const nothingSpecial: Partial<EntryOptions> = {}

/** Ways to declare a cache that lead through different code. */
const entries: readonly Partial<EntryOptions>[] = [
  nothingSpecial,
  nothingSpecial,
  { clusterSingleFlight: false },
  { clusterSingleFlight: false },
  { l1TtlMs: 300, l2TtlMs: 1_500, eagerRefreshThreshold: 0.2 },
  { l1TtlMs: 5_000, eagerRefreshThreshold: 0.01, clusterSingleFlight: false },
  { failSafe: true, l1TtlMs: 300, l2TtlMs: 700, failSafeThrottleMs: 100 },
  {
    failSafe: true,
    softTimeoutMs: 20,
    failSafeThrottleMs: 100,
    l1TtlMs: 700,
    l2TtlMs: 700,
    clusterSingleFlight: false,
  },
  {
    failSafe: true,
    allowInvalidated: true,
    l1TtlMs: 300,
    failSafeThrottleMs: 100,
    clusterSingleFlight: false,
  },
  { failSafe: true, failSafeThrottleMs: 100, l2SoftTimeoutMs: 10, l2HardTimeoutMs: 30, l1TtlMs: 100 },
  { skipL1Read: true, skipL1Write: true },
  { skipL2Read: true },
  { clone: true, clusterWaitMs: 50 },
]

/**
 * What a run is about. Drawn evenly from all that there is, what takes three rare things at once would come too
 * seldom; so most runs leave most of it out.
 */
interface Focus {
  readonly key: (random: RandomNumbers) => string
  readonly write: (random: RandomNumbers) => Write
  readonly entry: (random: RandomNumbers) => Partial<EntryOptions>
  readonly troubles: (random: RandomNumbers, nodes: number) => readonly (readonly Trouble[])[]
  /** Where rows are read, if not anywhere. */
  readonly readsOn?: number
  readonly other?: (random: RandomNumbers, nodes: number) => Operation
  /** Whether the row that does not exist is created. Once, as it would be. */
  readonly creates?: boolean
}

const anything: Focus = {
  key: (random) => random.oneOf(['a', 'a', 'a', 'b', 'b', 'a+', 'c']),
  write: (random) => random.oneOf(writes),
  entry: (random) => random.oneOf(entries),
  troubles: (random, nodes) => Array.from({ length: random.below(4) }, () => randomTroubles(random, nodes)),
  creates: true,
}

const oneRow: Focus = {
  ...anything,
  key: () => 'a',
  write: (random) => random.oneOf(['by key', 'by tag']),
  creates: false,
}

const foci: readonly Focus[] = [
  anything,
  anything,
  oneRow,
  { ...anything, key: () => 'c', troubles: () => [], entry: () => ({ clusterSingleFlight: false }) },
  { ...oneRow, key: (random) => random.oneOf(['a', 'a', 'a+']) },
  {
    ...oneRow,
    write: () => 'by tag',
    readsOn: 0,
    troubles: () => [],
    entry: () => ({ clusterSingleFlight: false }),
  },
  {
    ...oneRow,
    key: (random) => random.oneOf(['a', 'a', 'a+']),
    entry: (random) => random.oneOf(entries.filter(({ failSafe }) => failSafe)),
    troubles: (random) => [
      [{ kind: 'lose hints' }],
      [
        { kind: 'Postgres goes' },
        { kind: 'pass', ms: random.oneOf([2_000, 2_500]) },
        { kind: 'Postgres comes' },
      ],
    ],
  },
  {
    ...oneRow,
    troubles: (random) => [[{ kind: 'fail over', lostChanges: random.below(5) }]],
  },
  {
    ...oneRow,
    readsOn: 1,
    entry: () => ({ clusterSingleFlight: false }),
    // A commit and its numbering.
    troubles: () => [[{ kind: 'fail over', lostChanges: 2 }]],
  },
  {
    ...oneRow,
    troubles: (random, nodes) => [
      [{ kind: 'pass', ms: random.oneOf([1_300, 1_999, 2_000]) }],
      random.oneOf<readonly Trouble[]>([
        [{ kind: 'pass', ms: random.oneOf([30, 700]) }, { kind: 'lose hints' }],
        [{ kind: 'suspend', node: random.below(nodes), ms: 3_000 }],
        [{ kind: 'delete numbered' }],
        [{ kind: 'crash', node: random.below(nodes) }],
      ]),
    ],
  },
  // Rare, as each such run makes tables of half a megabyte.
  { ...anything, other: operationByHand },
]

export function randomScenario(random: RandomNumbers): Scenario {
  const focus = random.oneOf(foci)
  const nodes = random.chance(0.5) ? 2 : 3
  const clients = 2 + random.below(3)
  const slowReplies = random.chance(0.7)
  const creator = focus.creates && random.chance(0.5) ? random.below(clients) : -1
  const longest = random.oneOf([1, 2, 4])
  return {
    nodes,
    keys: ['a', 'b'],
    absentKeys: ['c'],
    clients: Array.from({ length: clients }, (_, index) => ({
      tokens: random.chance(0.5),
      operations: [
        ...(index === creator ? [creation(random, nodes)] : []),
        ...Array.from({ length: 1 + random.below(longest) }, () => randomOperation(random, nodes, focus)),
      ],
    })),
    troubles: focus.troubles(random, nodes),
    entry: focus.entry(random),
    replayAtStart: random.oneOf([0, 1, 1_000]),
    positionsBefore: random.oneOf([0, 0, 3]),
    checksByItself: random.chance(0.2),
    slowNumbering: slowReplies && random.chance(0.4),
    slowReplies,
    copiesOfHints: random.chance(0.2) ? 2 : 1,
    hearsItself: random.chance(0.3),
    sharedTimeoutMs: random.chance(0.7) ? 0 : Number.POSITIVE_INFINITY,
    busyNodes: random.chance(0.5),
  }
}

function randomOperation(random: RandomNumbers, nodes: number, focus: Focus): Operation {
  const node = random.below(nodes)
  const key = focus.key(random)
  if (focus.other && random.chance(0.4)) return focus.other(random, nodes)
  const drawn = random.next()
  if (drawn < 0.5) return { kind: 'read', node: focus.readsOn ?? node, key }
  if (drawn < 0.55) return { kind: 'read many', node, keys: ['a', 'b'] }
  if (drawn < 0.9 && (key === 'a' || key === 'b'))
    return { kind: 'write', node, key, how: focus.write(random) }
  if (drawn < 0.8) return { kind: 'read', node, key }
  return { kind: 'check', node }
}

function creation(random: RandomNumbers, nodes: number): Operation {
  return { kind: 'write', node: random.below(nodes), key: 'c', how: 'creates' }
}

function operationByHand(random: RandomNumbers, nodes: number): Operation {
  const node = random.below(nodes)
  const key = random.oneOf(['a', 'a', 'b'])
  const drawn = random.next()
  if (drawn < 0.3) return { kind: 'set', node, key }
  if (drawn < 0.5) return { kind: 'write', node, key, how: random.oneOf(['fails', 'sets']) }
  if (drawn < 0.7) return { kind: 'remove', node, key }
  if (drawn < 0.9) return { kind: 'expire', node, key }
  return { kind: 'clear', node }
}

/** One trouble and what ends it, or time that passes. */
function randomTroubles(random: RandomNumbers, nodes: number): readonly Trouble[] {
  const node = random.below(nodes)
  const pass: Trouble = { kind: 'pass', ms: random.oneOf([1, 30, 500, 1_300, 1_999, 2_500]) }
  switch (random.below(13)) {
    case 0:
      return [{ kind: 'crash', node }]
    case 1:
      return [{ kind: 'pause', node }, pass, { kind: 'resume', node }]
    case 2:
      return [{ kind: 'suspend', node, ms: random.oneOf([500, 3_000]) }]
    case 3:
      return [{ kind: 'fail over', lostChanges: random.below(4) }]
    case 4:
      return [{ kind: 'lose hints' }, { kind: 'lose hints' }]
    case 5:
      return [{ kind: 'forge a hint' }]
    case 6:
      return [{ kind: 'delete numbered' }]
    case 7:
      return [{ kind: 'Redis saves' }, { kind: 'Redis is set back' }]
    case 8:
      return [{ kind: 'Redis restarts empty' }]
    case 9:
      return [{ kind: 'Redis goes' }, pass, { kind: 'Redis comes' }]
    case 10:
      return [{ kind: 'Postgres goes' }, pass, { kind: 'Postgres comes' }]
    default:
      return [pass, pass]
  }
}
