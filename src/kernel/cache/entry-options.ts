/**
 * How one entry is kept, refreshed and fallen back on. Each cache has its own defaults; a call may say otherwise,
 * and so may the load itself, for what it has loaded. Times are in milliseconds; `Infinity` switches a timeout off.
 * Documented one by one in `docs/hybrid-cache.md`.
 */
export interface EntryOptions {
  /** A node serves its copy this long before it looks at L2 again. Never longer than the value lives. */
  readonly l1TtlMs: number
  /** The life of a value, from its load. */
  readonly l2TtlMs: number
  /** Each expiration comes up to this much earlier, so that what was loaded together is not reloaded together. */
  readonly jitterMs: number
  /** Whether a value past its time may be answered, marked as stale, when its load fails or takes too long. */
  readonly failSafe: boolean
  /** How long after its load a value may serve as such. */
  readonly failSafeMaxDurationMs: number
  /** After a failed load, how long stale values are answered before the next attempt. */
  readonly failSafeThrottleMs: number
  /** Whether fail-safe may answer what is known to be *invalidated*: older than a committed write. Marked as such. */
  readonly allowInvalidated: boolean
  /** A caller waits this long for a load if a stale value can be answered instead. */
  readonly softTimeoutMs: number
  /** A caller waits this long for a load at all. */
  readonly hardTimeoutMs: number
  /** Whether a load that all callers have given up goes on, and stores what it finds. */
  readonly backgroundCompletion: boolean
  /** How long a read waits for L2 if a stale value can be answered instead of what would be loaded. */
  readonly l2SoftTimeoutMs: number
  /** How long a read waits for L2 at all; then it loads. */
  readonly l2HardTimeoutMs: number
  /** From this fraction of its life on, a hit starts a refresh that nobody waits for. 0: never; less than 1. */
  readonly eagerRefreshThreshold: number
  /** Whether one node of the cluster loads while the others wait for L2. */
  readonly clusterSingleFlight: boolean
  /** How long they wait before they load themselves. */
  readonly clusterWaitMs: number
  readonly skipL1Read: boolean
  readonly skipL1Write: boolean
  readonly skipL2Read: boolean
  readonly skipL2Write: boolean
  /** Whether each caller gets a copy of its own to change, rather than a frozen value that all share. */
  readonly clone: boolean
  /** Bytes that the value counts for in memory; estimated if it is not said. */
  readonly sizeBytes?: number | undefined
}

/** What a load may decide about the value that it has loaded. */
export type AdaptiveOptions = Partial<
  Pick<
    EntryOptions,
    | 'l1TtlMs'
    | 'l2TtlMs'
    | 'jitterMs'
    | 'failSafe'
    | 'failSafeMaxDurationMs'
    | 'eagerRefreshThreshold'
    | 'skipL1Write'
    | 'skipL2Write'
    | 'sizeBytes'
    | 'clone'
  >
>

/**
 * What a load has decided that a copy has to be told, as nobody loads it again: what else there is to tell is in
 * the life that each copy has anyway.
 */
export type LastingOptions = Pick<
  AdaptiveOptions,
  'l1TtlMs' | 'jitterMs' | 'failSafe' | 'eagerRefreshThreshold' | 'skipL1Write' | 'sizeBytes' | 'clone'
>

/** @returns undefined if there is nothing to tell */
export function lastingOf(decided: AdaptiveOptions): LastingOptions | undefined {
  const { l2TtlMs, failSafeMaxDurationMs, skipL2Write, ...lasting } = decided
  return Object.values(lasting).some((value) => value !== undefined) ? lasting : undefined
}

export const defaultEntryOptions: EntryOptions = {
  l1TtlMs: 300_000,
  l2TtlMs: 3_600_000,
  jitterMs: 0,
  failSafe: false,
  failSafeMaxDurationMs: 86_400_000,
  failSafeThrottleMs: 30_000,
  allowInvalidated: false,
  softTimeoutMs: Number.POSITIVE_INFINITY,
  hardTimeoutMs: Number.POSITIVE_INFINITY,
  backgroundCompletion: true,
  l2SoftTimeoutMs: 100,
  l2HardTimeoutMs: 250,
  eagerRefreshThreshold: 0,
  clusterSingleFlight: true,
  clusterWaitMs: 1_000,
  skipL1Read: false,
  skipL1Write: false,
  skipL2Read: false,
  skipL2Write: false,
  clone: false,
}

const durations = [
  'l1TtlMs',
  'l2TtlMs',
  'jitterMs',
  'failSafeMaxDurationMs',
  'failSafeThrottleMs',
  'softTimeoutMs',
  'hardTimeoutMs',
  'l2SoftTimeoutMs',
  'l2HardTimeoutMs',
  'clusterWaitMs',
] as const

/** The longest time to live, in ms: what Redis and timers can still count. */
const longestTtlMs = 365 * 86_400_000

/** @throws RangeError naming the option that is out of range */
export function checkedEntryOptions(options: EntryOptions): EntryOptions {
  for (const name of durations) {
    const ms = options[name]
    if (typeof ms !== 'number' || !(ms >= 0)) throw new RangeError(`${name} is a number of ms, not ${ms}`)
  }
  for (const name of ['l1TtlMs', 'l2TtlMs', 'failSafeMaxDurationMs'] as const) {
    if (options[name] < 1 || options[name] > longestTtlMs) {
      throw new RangeError(`${name} is 1 to ${longestTtlMs} ms, not ${options[name]}`)
    }
  }
  const { eagerRefreshThreshold, sizeBytes } = options
  if (!(eagerRefreshThreshold >= 0 && eagerRefreshThreshold < 1)) {
    throw new RangeError(`eagerRefreshThreshold is at least 0 and less than 1, not ${eagerRefreshThreshold}`)
  }
  if (sizeBytes !== undefined && !(sizeBytes >= 0)) {
    throw new RangeError(`sizeBytes is a number of bytes, not ${sizeBytes}`)
  }
  return options
}
