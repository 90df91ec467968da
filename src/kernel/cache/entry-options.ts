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
  /** Bytes that the value counts for in memory. Default: an estimate. */
  readonly sizeBytes?: number | undefined
}

/** Some of the options. One that is `undefined` counts as absent. */
export type Given<Options> = { readonly [Name in keyof Options]?: Options[Name] | undefined }

/** What a load may decide about the value that it has loaded. */
export type AdaptiveOptions = Given<
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
 * What a load has decided that is stored in L2 with the value, because a node that copies it runs no load. The rest of what a
 * load decides is part of the `Life` that is stored in any case.
 */
export type LastingOptions = Pick<
  AdaptiveOptions,
  'l1TtlMs' | 'jitterMs' | 'failSafe' | 'eagerRefreshThreshold' | 'skipL1Write' | 'sizeBytes' | 'clone'
>

/** The names of the options that a load may decide. */
const adaptable: ReadonlySet<string> = new Set<keyof AdaptiveOptions>([
  'l1TtlMs',
  'l2TtlMs',
  'jitterMs',
  'failSafe',
  'failSafeMaxDurationMs',
  'eagerRefreshThreshold',
  'skipL1Write',
  'skipL2Write',
  'sizeBytes',
  'clone',
])

/**
 * @throws RangeError naming the option that is out of range
 * @throws TypeError naming an option that a load may not decide
 */
export function checkAdaptiveOptions(given: AdaptiveOptions): void {
  const other = Object.keys(given).find((name) => !adaptable.has(name))
  if (other !== undefined) throw new TypeError(`adapt: a load cannot set the option "${other}"`)
  checkEntryOptions(given)
}

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

/** The longest time to live, in ms: what Redis and timers can still count. */
const longestTtlMs = 365 * 86_400_000

/** The longest time that nodes wait for another's load, in ms. A lock lasts that long if its holder dies. */
const longestWaitMs = 600_000

/** The smallest and the largest value of each option. `Infinity` is allowed only where it switches a timeout off. */
const ranges = {
  l1TtlMs: [1, longestTtlMs],
  l2TtlMs: [1, longestTtlMs],
  jitterMs: [0, longestTtlMs],
  failSafeMaxDurationMs: [1, longestTtlMs],
  failSafeThrottleMs: [0, longestTtlMs],
  softTimeoutMs: [0, Number.POSITIVE_INFINITY],
  hardTimeoutMs: [0, Number.POSITIVE_INFINITY],
  l2SoftTimeoutMs: [0, Number.POSITIVE_INFINITY],
  l2HardTimeoutMs: [0, Number.POSITIVE_INFINITY],
  clusterWaitMs: [0, longestWaitMs],
  sizeBytes: [0, Number.MAX_SAFE_INTEGER],
} as const satisfies Partial<Record<keyof EntryOptions, readonly [number, number]>>

/** @throws RangeError naming the option that is out of range */
export function checkEntryOptions(given: Given<EntryOptions>): void {
  // Goes over the options that are given, because a call usually gives one or two of them.
  for (const name in given) {
    const { [name as keyof EntryOptions]: value } = given
    if (value !== undefined && name in checks) checks[name as keyof EntryOptions](name, value)
  }
}

type Check = (name: string, value: unknown) => void

const checks = Object.fromEntries([
  ...Object.entries(defaultEntryOptions).map(([name, usual]) => [
    name,
    usual === false || usual === true ? checkFlag : checkRange,
  ]),
  ['sizeBytes', checkRange],
  ['eagerRefreshThreshold', checkFraction],
]) as Record<keyof EntryOptions, Check>

function checkFlag(name: string, value: unknown): void {
  if (typeof value !== 'boolean') throw new RangeError(`${name} is true or false, not ${shown(value)}`)
}

function checkRange(name: string, value: unknown): void {
  const [least, most] = ranges[name as keyof typeof ranges]
  if (typeof value === 'number' && value >= least && value <= most) return
  if (name === 'sizeBytes') throw new RangeError(`${name} is a number of bytes, not ${shown(value)}`)
  const isTime = typeof value === 'number' && value >= 0
  const range = isTime ? `${least} to ${most} ms` : 'a number of ms'
  throw new RangeError(`${name} is ${range}, not ${shown(value)}`)
}

function checkFraction(name: string, value: unknown): void {
  if (typeof value !== 'number' || !(value >= 0 && value < 1)) {
    throw new RangeError(`${name} is at least 0 and less than 1, not ${shown(value)}`)
  }
}

function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value)
}

/** The options, with the given ones in place of their own. */
export function withGiven(options: EntryOptions, given: Given<EntryOptions>): EntryOptions {
  const merged: Record<string, unknown> = { ...options }
  for (const [name, value] of Object.entries(given))
    if (value !== undefined && name in checks) merged[name] = value
  return merged as unknown as EntryOptions
}
