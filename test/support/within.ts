import type { Clock } from '../../src/kernel/clock.js'

/** `Clock.within` of a clock whose timers are a test's. */
export async function within(
  clock: Pick<Clock, 'sleep'>,
  ms: number,
  work: Promise<unknown>,
): Promise<boolean> {
  const over = new AbortController()
  const hasEnded = () => true
  const inTime = await Promise.race([
    work.then(hasEnded, hasEnded),
    clock.sleep(ms, over.signal).then(() => false),
  ])
  over.abort()
  return inTime
}
