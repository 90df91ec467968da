import { type Clock, systemClock } from '../../src/kernel/clock.js'

/** What goes wrong from now on. What is left out does not. */
export interface TroubleSettings {
  /**
   * Milliseconds by which calls are delayed: always the same, or drawn evenly from a range. With `Infinity` they hang
   * until the wrapper is stopped.
   */
  readonly delayMs?: number | readonly [least: number, most: number] | undefined
  /** Share of calls that fail, from 0 to 1: 1 is always. */
  readonly failureRate?: number | undefined
  /** Share of hints that are delivered twice, each time with a delay of its own. Concerns hints only. */
  readonly duplicateRate?: number | undefined
  /** Share of arriving hints that are held back until another one has overtaken them. Concerns hints only. */
  readonly reorderRate?: number | undefined
}

export interface TroubleOptions {
  /** The same seed and the same order of calls give the same run. Default: a random one; log it. */
  readonly seed?: number | undefined
  /** Counts the delays. Default: the system's. */
  readonly clock?: Clock | undefined
}

/** What becomes of one call. */
export interface Fate {
  readonly delayMs: number
  readonly fails: boolean
  readonly duplicated: boolean
  readonly heldBack: boolean
}

const untroubled: Fate = { delayMs: 0, fails: false, duplicated: false, heldBack: false }

/** The longest that a timer of Node can wait, in ms: 24 days. A longer one would fire at once. */
const longestDelayMs = 2 ** 31 - 1

/**
 * What goes wrong in the wrappers that it is given to. It may be shared by several of them, on several nodes, and be
 * changed at any time; calls under way keep the fate that was drawn for them when they began.
 *
 * ```ts from test/samples/trouble.ts#wrappersFor,inTrouble
 * // A node that is given these wrappers has the trouble between itself and its servers.
 * export function wrappersFor(trouble: Trouble): Wrappers {
 *   return {
 *     shared: (tier) => new ChaosTier(tier, trouble),
 *     hints: (channel) => new ChaosHints(channel, trouble),
 *     journal: (journal) => new ChaosJournal(journal, trouble),
 *   }
 * }
 *
 * export async function inTrouble<Result>(trouble: Trouble, work: () => Promise<Result>): Promise<Result> {
 *   trouble.cause({ delayMs: [5, 50], failureRate: 0.3 })
 *   try {
 *     return await work()
 *   } finally {
 *     trouble.calm()
 *   }
 * }
 * ```
 */
export class Trouble {
  readonly seed: number
  readonly clock: Clock
  readonly #random: () => number
  #settings: TroubleSettings = {}

  constructor({ seed = Math.floor(Math.random() * 2 ** 32), clock = systemClock }: TroubleOptions = {}) {
    this.seed = seed
    this.clock = clock
    this.#random = mulberry32(seed)
  }

  /**
   * Takes the place of all earlier settings.
   *
   * @throws RangeError naming a setting that is out of range
   */
  cause(settings: TroubleSettings): void {
    const [least, most] = rangeOf(settings)
    if (!(least >= 0 && most >= least)) throw new RangeError(`delayMs cannot be ${least} to ${most}`)
    for (const name of ['failureRate', 'duplicateRate', 'reorderRate'] as const) {
      const { [name]: rate = 0 } = settings
      if (!(rate >= 0 && rate <= 1)) throw new RangeError(`${name} is between 0 and 1, not ${rate}`)
    }
    this.#settings = settings
  }

  /** From now on nothing goes wrong. */
  calm(): void {
    this.#settings = {}
  }

  draw(): Fate {
    const { failureRate = 0, duplicateRate = 0, reorderRate = 0 } = this.#settings
    const [least, most] = rangeOf(this.#settings)
    // Always as many numbers, so that a change of one setting does not deal other fates to all later calls.
    const share = this.#random()
    return {
      delayMs: least === most ? least : least + share * (Math.min(most, longestDelayMs) - least),
      fails: this.#random() < failureRate,
      duplicated: this.#random() < duplicateRate,
      heldBack: this.#random() < reorderRate,
    }
  }
}

/** The calls of one wrapper. Once stopped, it lets everything through untroubled. */
export class TroubledCalls {
  readonly #stop = new Set<AbortController>()
  #stopped = false

  constructor(private readonly trouble: Trouble) {}

  /** How many calls are being delayed. */
  get pending(): number {
    return this.#stop.size
  }

  draw(): Fate {
    return this.#stopped ? untroubled : this.trouble.draw()
  }

  /** @returns false if it was stopped before the milliseconds were over */
  async wait(ms: number): Promise<boolean> {
    if (this.#stopped) return false
    if (ms === 0) return true
    const stop = new AbortController()
    this.#stop.add(stop)
    await this.trouble.clock.sleep(Math.min(ms, longestDelayMs), stop.signal)
    this.#stop.delete(stop)
    return !stop.signal.aborted
  }

  /** At once where there is no delay, as L2's writes and hints are told in the order of the code. */
  later(ms: number, work: () => void): void {
    if (ms === 0) work()
    else void this.wait(ms).then((due) => due && work())
  }

  stop(): void {
    this.#stopped = true
    for (const stop of this.#stop) stop.abort()
  }
}

function rangeOf({ delayMs = 0 }: TroubleSettings): readonly [least: number, most: number] {
  return typeof delayMs === 'number' ? [delayMs, delayMs] : delayMs
}

/** A small generator with good enough statistics for tests (Tommy Ettinger; public domain). */
function mulberry32(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
