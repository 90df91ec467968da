import type { Clock } from '../../clock.js'

/** Given, as an abort without one makes an exception with a stack. */
const noReason = 'over'

/** How long a caller waits for something that goes on without it. */
export interface Patience<Result> {
  readonly softMs: number
  readonly hardMs: number
  readonly signal?: AbortSignal | undefined
  /** What to answer instead once the soft time is over; undefined to go on waiting. */
  readonly instead: () => Result | undefined
  /** What to throw once the hard time is over. */
  readonly tooLate: () => Error
}

/**
 * Waits for `arriving` as long as `patience` says. What is given up goes on; its failure is its own to handle.
 *
 * @throws what `arriving` throws, `tooLate()`, or the signal's reason
 */
export async function waitFor<Result>(
  arriving: Promise<Result>,
  { softMs, hardMs, signal, instead, tooLate }: Patience<Result>,
  clock: Clock,
): Promise<Result> {
  // Whoever gives up does not hear of a failure that comes later.
  arriving.catch(() => {})
  signal?.throwIfAborted()
  const over = new AbortController()
  const rivals: Promise<Result>[] = [arriving]
  // One after the other, so that a soft time beyond the hard one never comes.
  rivals.push(
    (async () => {
      if (softMs < hardMs) {
        await sleep(clock, softMs, over.signal)
        const answer = over.signal.aborted ? undefined : instead()
        if (answer !== undefined) return answer
        await sleep(clock, hardMs - softMs, over.signal)
      } else await sleep(clock, hardMs, over.signal)
      throw tooLate()
    })(),
  )
  let leave = (): void => {}
  if (signal) {
    rivals.push(
      new Promise((_, reject) => {
        leave = whenAborted(signal, reject)
      }),
    )
  }
  try {
    return await Promise.race(rivals)
  } finally {
    leave()
    over.abort(noReason)
    // Rivals that lose may reject later; the race has handled the first of them only.
    for (const rival of rivals) rival.catch(() => {})
  }
}

type GiveUp = (reason: unknown) => void

const waiting = new WeakMap<AbortSignal, { readonly all: Set<GiveUp>; readonly listener: () => void }>()

/**
 * Uses one listener for all who wait with the same signal. A request may have many reads under way, and Node warns of a leak
 * as soon as a signal has more than ten listeners.
 *
 * @returns how to stop waiting
 */
function whenAborted(signal: AbortSignal, giveUp: GiveUp): () => void {
  let group = waiting.get(signal)
  if (!group) {
    const all = new Set<GiveUp>()
    const listener = (): void => {
      for (const one of all) one(signal.reason)
    }
    group = { all, listener }
    waiting.set(signal, group)
    signal.addEventListener('abort', listener, { once: true })
  }
  const { all, listener } = group
  all.add(giveUp)
  return () => {
    if (!all.delete(giveUp) || all.size > 0) return
    waiting.delete(signal)
    signal.removeEventListener('abort', listener)
  }
}

/** Longest delay that a timer can count. */
export const longestTimerMs = 2 ** 31 - 1

/** Resolves after `ms`, or at once when the signal aborts; without end if `ms` is. */
async function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (ms > longestTimerMs) {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  } else await clock.sleep(ms, signal)
}
