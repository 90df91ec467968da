import type { EntryOptions } from '../../src/kernel/cache/entry-options.js'
import { RandomNumbers } from '../consistency/random-numbers.js'
import {
  type Action,
  type Asker,
  type CacheName,
  cacheNames,
  groups,
  type LoadPlan,
  originRows,
  pages,
  type Read,
  rows,
  type Sequence,
  type Step,
  type Trouble,
  type Way,
} from './sequence.js'

const longestSequence = 70

const ways: readonly Way[] = [
  'getOrCreate',
  'getOrCreate',
  'getMany',
  'get, or else getOrCreate',
  'peek, or else getOrCreate',
  'getOrCreate in a unit of work',
  'getMany in a unit of work',
  'getOrCreate in a unit of work that writes',
  'getOrCreate through a query',
  'getOrCreate, caught when it fails',
  'the database',
]

/** A sequence that a seed repeats. */
export function sequenceOf(seed: number): Sequence {
  const random = new RandomNumbers(seed)
  const nodes = random.chance(0.6) ? 2 : 3
  const focus = focusOf(random)
  const clients = 2 + random.below(3)
  const drawn = {
    seed,
    nodes,
    tokens: Array.from({ length: clients }, () => random.chance(0.5)),
    entries: Object.fromEntries(
      cacheNames.map((cache) => [cache, cacheOptions(random)]),
    ) as Sequence['entries'],
    keepsAbsence: random.chance(0.4),
    maxEntries: random.chance(0.15) ? 1 + random.below(3) : 1_000,
    slowReplies: random.chance(0.5),
  }
  const length = 15 + random.below(longestSequence)
  const steps = Array.from({ length }, (): Step => step(random, { nodes, clients, focus }))
  return { ...drawn, steps }
}

interface Setting {
  readonly nodes: number
  readonly clients: number
  readonly focus: Focus
}

/** What a sequence is about: drawn evenly from all that there is, what takes three rare things at once would come too seldom. */
interface Focus {
  readonly caches: readonly CacheName[]
  readonly rows: readonly string[]
  readonly troubles: number
  /** The share of troubles in which a node is cut off. */
  readonly cutsOff: number
  readonly byHand: number
  readonly writes: number
  readonly failures: number
  readonly deletes: number
  readonly adapts: number
  /** Milliseconds between two steps. */
  readonly pauses: readonly number[]
}

const pauses = [0, 0, 1, 3, 5, 10, 10, 30, 100, 300, 700, 1_500, 2_500]

const themes: readonly Partial<Focus>[] = [
  {},
  {},
  {},
  // One value, which expires again and again, and loads that fail.
  {
    caches: ['row'],
    rows: ['a'],
    troubles: 0,
    byHand: 0.1,
    writes: 0.1,
    failures: 0.5,
    adapts: 0.5,
    pauses: [10, 100, 300, 700, 1_500],
  },
  // What lies outside, of which nobody hears but by hand.
  { caches: ['origin'], troubles: 0.02, writes: 0.5, failures: 0.3, pauses: [0, 1, 5, 10, 100, 700] },
  // Nodes that are cut off, while others write.
  {
    caches: ['row'],
    rows: ['a', 'b'],
    troubles: 0.2,
    cutsOff: 0.7,
    writes: 0.3,
    pauses: [10, 100, 300, 700, 700],
  },
  // Everything at once.
  { rows: ['a', 'b'], troubles: 0.05, writes: 0.3, pauses: [0, 0, 0, 1, 1, 2, 3, 5, 10, 50, 500] },
]

function focusOf(random: RandomNumbers): Focus {
  return {
    caches: random.oneOf([
      ['row'],
      ['row', 'page'],
      ['page', 'book'],
      ['row', 'origin'],
      cacheNames,
      cacheNames,
    ]),
    rows: random.oneOf([['a'], ['a', 'b'], rows]),
    troubles: random.oneOf([0, 0.05, 0.15]),
    cutsOff: 0.2,
    byHand: random.oneOf([0.05, 0.1, 0.25]),
    writes: random.oneOf([0.15, 0.3]),
    failures: random.oneOf([0, 0.1, 0.4]),
    deletes: random.oneOf([0, 0, 0.2]),
    adapts: random.oneOf([0, 0.1, 0.6]),
    pauses,
    ...random.oneOf(themes),
  }
}

function step(random: RandomNumbers, setting: Setting): Step {
  const afterMs = random.oneOf(setting.focus.pauses)
  return { afterMs, action: action(random, setting) }
}

function action(random: RandomNumbers, setting: Setting): Action {
  const { nodes, clients, focus } = setting
  const asker: Asker = { client: random.below(clients), node: random.below(nodes) }
  const drawn = random.next()
  if (drawn < focus.troubles) return trouble(random, nodes, focus)
  if (drawn < focus.troubles + focus.byHand) return byHand(random, asker, focus)
  if (drawn < focus.troubles + focus.byHand + focus.writes) {
    if (focus.caches.includes('origin') && random.chance(0.5)) return changeOrigin(random, asker)
    return {
      ...asker,
      kind: 'write',
      row: random.oneOf(focus.rows),
      group: random.oneOf(groups),
      names: random.oneOf(['the key', 'the key', 'the row’s tag', 'the groups', 'nothing that is known']),
      ends: random.oneOf([
        'commits',
        'commits',
        'commits',
        'rolls back',
        'rolls a savepoint back, and commits',
      ]),
      reads: random.chance(0.3),
      deletes: random.chance(focus.deletes),
    }
  }
  if (random.chance(0.02)) {
    const all = Array.from({ length: nodes }, (_, node) => node)
    return { kind: 'burst', row: random.oneOf(focus.rows), nodes: all, callers: 20 }
  }
  return read(random, asker, focus)
}

function read(random: RandomNumbers, asker: Asker, focus: Focus): Read {
  const cache = random.oneOf(focus.caches)
  const how = random.oneOf(['getOrCreate', 'getOrCreate', 'getOrCreate', 'getMany', 'get', 'peek'] as const)
  const keys = keysOf(cache, focus)
  return {
    ...asker,
    kind: 'read',
    cache,
    how,
    keys: how === 'getMany' ? some(random, keys) : [random.oneOf(keys)],
    call: {
      ...(random.chance(0.25) && { entry: callOptions(random) }),
      ...(random.chance(0.03) && { abortsAfterMs: random.oneOf([0, 1, 10, 100]) }),
    },
    load: loadPlan(random, focus),
    spoils: random.chance(0.2),
  }
}

function loadPlan(random: RandomNumbers, { failures, adapts }: Focus): LoadPlan {
  return {
    beforeMs: random.oneOf([0, 0, 5, 50, 400]),
    afterMs: random.oneOf([0, 0, 5, 50, 400, 3_000]),
    ends: random.chance(failures)
      ? random.oneOf(['by throwing', 'by throwing', 'after half a minute'])
      : 'well',
    innerEnds: random.chance(failures) ? 'by throwing' : 'well',
    way: random.oneOf(ways),
    tags: random.oneOf(['the call', 'the value', 'the load']),
    ...(random.chance(adapts) && { adapts: adaptedOptions(random) }),
    ...(random.chance(0.05) && { isKept: false }),
    asksWhetherModified: random.chance(0.2),
    shape: random.oneOf([
      'plain',
      'plain',
      'plain',
      'plain',
      'with what freezing cannot protect',
      'an instance of a class',
      'too large for L2',
      'too large for L1',
    ]),
    asks: random.chance(0.3),
  }
}

function byHand(random: RandomNumbers, asker: Asker, focus: Focus): Action {
  if (random.chance(0.3))
    return {
      ...asker,
      kind: 'set',
      keys: some(random, focus.rows),
      stamped: random.chance(0.8),
      betweenMs: random.oneOf([0, 5, 50]),
    }
  const mode = random.oneOf(['remove', 'expire', 'expire'] as const)
  const cache = random.oneOf(focus.caches)
  const tags = [random.oneOf([`row:${random.oneOf(focus.rows)}`, `group:${random.oneOf(groups)}`])]
  const what = random.oneOf([
    { cache, keys: some(random, keysOf(cache, focus)) },
    { cache, keys: some(random, keysOf(cache, focus)) },
    { tags },
    { cleared: random.oneOf([cache, cache, 'all'] as const) },
  ])
  return { ...asker, kind: 'invalidate', mode, what }
}

function changeOrigin(random: RandomNumbers, asker: Asker): Action {
  return {
    ...asker,
    kind: 'change origin',
    row: random.oneOf(originRows),
    mode: random.oneOf(['remove', 'expire']),
    by: random.oneOf(['key', 'key', 'tag', 'clear']),
  }
}

const troubles: readonly Trouble['what'][] = [
  'L2 is emptied',
  'L2 is saved',
  'L2 is saved',
  'L2 is set back',
  'L2 is set back',
  'L2 fails',
  'L2 is slow',
  'L2 hangs',
  'L2 works again',
  'L2 works again',
  'L2 works again',
  'hints are lost',
  'hints are lost',
  'hints are delayed',
  'hints are delayed',
  'hints arrive again',
  'hints arrive again',
  'Postgres goes',
  'Postgres comes',
  'Postgres comes',
  'Postgres comes',
  'Postgres restarts',
]

function trouble(random: RandomNumbers, nodes: number, { cutsOff }: Focus): Action {
  if (random.chance(0.05))
    return { kind: 'suspend', node: random.below(nodes), ms: random.oneOf([500, 3_000]) }
  if (random.chance(cutsOff))
    return { kind: 'cut off', node: random.below(nodes), ms: random.oneOf([500, 3_000, 6_000]) }
  return { kind: 'trouble', what: random.oneOf(troubles) }
}

function keysOf(cache: CacheName, focus: Focus): readonly string[] {
  if (cache === 'row') return focus.rows
  return cache === 'origin' ? originRows : pages
}

function some(random: RandomNumbers, keys: readonly string[]): readonly string[] {
  const chosen = keys.filter(() => random.chance(0.6))
  return chosen.length > 0 ? chosen : [random.oneOf(keys)]
}

const entries: readonly Partial<EntryOptions>[] = [
  {},
  {},
  { failSafe: true, l1TtlMs: 500, l2TtlMs: 1_500, failSafeThrottleMs: 0 },
  { failSafe: true, l1TtlMs: 300, l2TtlMs: 700, failSafeThrottleMs: 200, softTimeoutMs: 20 },
  { failSafe: true, allowInvalidated: true, failSafeThrottleMs: 100 },
  { failSafe: true, failSafeMaxDurationMs: 3_000, l1TtlMs: 500, l2TtlMs: 500, hardTimeoutMs: 200 },
  { l1TtlMs: 400, l2TtlMs: 5_000, eagerRefreshThreshold: 0.3 },
  { l1TtlMs: 2_000, l2TtlMs: 2_000, jitterMs: 500, eagerRefreshThreshold: 0.01 },
  { hardTimeoutMs: 100 },
  { hardTimeoutMs: 100, backgroundCompletion: false },
  { clusterSingleFlight: false },
  { clusterWaitMs: 100 },
  { skipL1Read: true, skipL1Write: true },
  { skipL2Read: true, skipL2Write: true },
  { clone: true },
]

function cacheOptions(random: RandomNumbers): Partial<EntryOptions> {
  return random.oneOf(entries)
}

function callOptions(random: RandomNumbers): Partial<EntryOptions> {
  return random.oneOf([
    ...entries.slice(2),
    { skipL1Read: true },
    { skipL1Write: true },
    { skipL2Read: true },
    { skipL2Write: true },
    { failSafe: false },
    { failSafe: true },
    { failSafe: true, softTimeoutMs: 10 },
    { failSafe: true, failSafeThrottleMs: 0 },
    { failSafe: true, failSafeThrottleMs: 0 },
    { l2SoftTimeoutMs: 10, l2HardTimeoutMs: 20 },
    { clusterWaitMs: 0 },
    { backgroundCompletion: false },
  ])
}

function adaptedOptions(random: RandomNumbers): NonNullable<LoadPlan['adapts']> {
  return random.oneOf([
    { l1TtlMs: 100 },
    { l1TtlMs: 200, l2TtlMs: 300 },
    { failSafe: true },
    { failSafe: true, failSafeMaxDurationMs: 5_000, l2TtlMs: 300, l1TtlMs: 300 },
    { failSafe: true, l2TtlMs: 300, l1TtlMs: 300 },
    { failSafe: false },
    { jitterMs: 100 },
    { eagerRefreshThreshold: 0.2 },
    { skipL1Write: true },
    { skipL2Write: true },
    { clone: true },
  ])
}
