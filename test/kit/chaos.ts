import type {
  LoadLock,
  SharedEntry,
  SharedKey,
  SharedTier,
} from '../../src/kernel/cache/shared/shared-tier.js'
import type { Hint } from '../../src/kernel/journal/hint.js'
import type { HintChannel, HintListener } from '../../src/kernel/journal/hint-channel.js'
import type { Journal, JournalPage, NumberingResult, Place } from '../../src/kernel/journal/journal.js'
import { type Trouble, TroubledCalls } from './trouble.js'

export { Trouble, type TroubleOptions, type TroubleSettings } from './trouble.js'

/** How a call fails that trouble was caused for. */
export class ChaosError extends Error {
  override readonly name = 'ChaosError'
}

/**
 * L2 in trouble. As with Redis, nothing throws: a failing read is a miss, a failing write is lost, and a lock that
 * cannot be had counts as held by the caller. A delayed read brings what L2 held before the delay; delayed writes
 * may overtake each other.
 * `Trouble` shows how a node gets one.
 */
export class ChaosTier implements SharedTier {
  /** A delay has no end of its own, so that each cache bounds its reads by its own options. */
  readonly timeoutMs = Number.POSITIVE_INFINITY
  readonly #calls: TroubledCalls

  constructor(
    private readonly tier: SharedTier,
    trouble: Trouble,
  ) {
    this.#calls = new TroubledCalls(trouble)
  }

  /** How many calls are being delayed. */
  get pending(): number {
    return this.#calls.pending
  }

  get(key: SharedKey): Promise<SharedEntry | undefined> {
    return this.#read(() => this.tier.get(key), undefined)
  }

  getMany(keys: readonly SharedKey[]): Promise<readonly (SharedEntry | undefined)[]> {
    return this.#read<readonly (SharedEntry | undefined)[]>(
      () => this.tier.getMany(keys),
      keys.map(() => undefined),
    )
  }

  set(key: SharedKey, entry: SharedEntry, ttlMs: number): void {
    this.#write(() => this.tier.set(key, entry, ttlMs))
  }

  setMany(entries: readonly { key: SharedKey; entry: SharedEntry; ttlMs: number }[]): void {
    this.#write(() => this.tier.setMany(entries))
  }

  forget(keys: readonly SharedKey[]): void {
    this.#write(() => this.tier.forget(keys))
  }

  async lock(key: SharedKey, position: number, required: number, ttlMs: number): Promise<LoadLock> {
    const { fails, delayMs } = this.#calls.draw()
    const lock = fails ? lockOfNobody : await this.tier.lock(key, position, required, ttlMs)
    await this.#calls.wait(delayMs)
    if (!lock.held) return lock
    // A release that is lost leaves the lock to its time to live.
    return { ...lock, release: (loaded) => this.#write(() => lock.release(loaded)) }
  }

  /** Ends what is delayed: reads miss, writes are lost. From then on everything goes through untroubled. */
  stop(): void {
    this.#calls.stop()
  }

  async #read<Found>(read: () => Promise<Found>, nothing: Found): Promise<Found> {
    const { fails, delayMs } = this.#calls.draw()
    const found = fails ? nothing : await read()
    return delayMs === 0 || (await this.#calls.wait(delayMs)) ? found : nothing
  }

  #write(write: () => void): void {
    const { fails, delayMs } = this.#calls.draw()
    if (!fails) this.#calls.later(delayMs, write)
  }
}

const lockOfNobody: LoadLock = { held: true, loadedMeanwhile: false, release: () => {} }

/**
 * Hints in trouble: lost (`failureRate`), delayed and duplicated on their way out and on their way in; arriving ones
 * out of order as well, by `reorderRate` or by a range of delays. Nobody is told of a loss.
 *
 * Without Redis, Postgres itself sends the hints, so that there only `receiving` has an effect.
 * `Trouble` shows how a node gets one.
 */
export class ChaosHints implements HintChannel {
  readonly #sent: TroubledCalls
  readonly #received: TroubledCalls
  #stopped = false
  #heldBack: Hint | undefined

  /** @param receiving what goes wrong on the way in; by default the same, drawn a second time */
  constructor(
    private readonly channel: HintChannel,
    sending: Trouble,
    receiving: Trouble = sending,
  ) {
    this.#sent = new TroubledCalls(sending)
    this.#received = new TroubledCalls(receiving)
  }

  /** How many hints are being delayed. */
  get pending(): number {
    return this.#sent.pending + this.#received.pending
  }

  publish(hint: Hint): void {
    pass(this.#sent, () => this.channel.publish(hint))
  }

  start(listener: HintListener): Promise<void> {
    return this.channel.start({
      hint: (hint) => pass(this.#received, (heldBack) => this.#arrive(hint, heldBack, listener)),
      rejected: (reason) => listener.rejected(reason),
      lost: () => listener.lost(),
      reconnected: () => listener.reconnected(),
    })
  }

  /** Loses what is delayed or held back, and closes the channel. */
  stop(): Promise<void> {
    this.#stopped = true
    this.#sent.stop()
    this.#received.stop()
    this.#heldBack = undefined
    return this.channel.stop()
  }

  #arrive(hint: Hint, heldBack: boolean, listener: HintListener): void {
    if (this.#stopped) return
    const late = this.#heldBack
    // One at a time: were all to wait for the next, none would ever arrive.
    if (heldBack && !late) {
      this.#heldBack = hint
      return
    }
    this.#heldBack = undefined
    listener.hint(hint)
    if (late) listener.hint(late)
  }
}

function pass(calls: TroubledCalls, deliver: (heldBack: boolean) => void): void {
  const { fails, duplicated, delayMs, heldBack } = calls.draw()
  if (fails) return
  calls.later(delayMs, () => deliver(heldBack))
  if (duplicated) calls.later(calls.draw().delayMs, () => deliver(false))
}

/**
 * Postgres in trouble, as checks and dispatches see it; what handlers load and write is not concerned. A failing call
 * never reaches Postgres. A delayed one is done before the delay: its answer is old news when it arrives.
 * `Trouble` shows how a node gets one.
 */
export class ChaosJournal implements Journal {
  /** As `number`; absent where the journal has none. `numberAndCommit` always is: a COMMIT is a matter of handlers. */
  readonly numberOn?: NonNullable<Journal['numberOn']>
  readonly #calls: TroubledCalls

  constructor(
    private readonly journal: Journal,
    trouble: Trouble,
  ) {
    this.#calls = new TroubledCalls(trouble)
    const numberOn = journal.numberOn?.bind(journal)
    if (numberOn) this.numberOn = (connection, atMost) => this.#call(() => numberOn(connection, atMost))
  }

  /** How many calls are being delayed. */
  get pending(): number {
    return this.#calls.pending
  }

  /** @throws ChaosError, or what the journal throws */
  number(atMost: number): Promise<NumberingResult> {
    return this.#call(() => this.journal.number(atMost))
  }

  /** @throws ChaosError, or what the journal throws */
  read(after: number, atMost: number, places?: readonly Place[]): Promise<JournalPage> {
    return this.#call(() => this.journal.read(after, atMost, places))
  }

  /** @throws ChaosError, or what the journal throws */
  beginEpoch(seen: string): Promise<string> {
    return this.#call(() => this.journal.beginEpoch(seen))
  }

  /** Ends what is delayed: the calls reject. From then on everything goes through untroubled. */
  stop(): void {
    this.#calls.stop()
  }

  async #call<Answer>(call: () => Promise<Answer>): Promise<Answer> {
    const { fails, delayMs } = this.#calls.draw()
    const answer = fails ? undefined : { value: await call() }
    if (delayMs !== 0 && !(await this.#calls.wait(delayMs))) throw new ChaosError('stopped during a delay')
    if (!answer) throw new ChaosError('a call to the journal was made to fail')
    return answer.value
  }
}
