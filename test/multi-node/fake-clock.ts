import { execFileSync } from 'node:child_process'

/**
 * Settings under which a node's clock is off by a time, such as `+15m`. The node itself is started, not `faketime`,
 * which would stand between it and its signals.
 *
 * @param monotonic whether the clock that only counts on is off as well, and by as much
 * @throws Error of one line where faketime is not installed
 */
export function fakeClock(offset: string, { monotonic }: { monotonic: boolean }): Record<string, string> {
  return {
    LD_PRELOAD: library(),
    FAKETIME: offset,
    ...(monotonic ? {} : { FAKETIME_DONT_FAKE_MONOTONIC: '1' }),
  }
}

/**
 * Where it lies differs between systems, but it says so itself. Asked again a few times: its semaphore is named by its
 * process id, and one that was killed may have left its own.
 */
function library(attemptsLeft = 5): string {
  try {
    const script = 'process.stdout.write(process.env.LD_PRELOAD)'
    return execFileSync('faketime', ['-f', '+0', process.execPath, '-e', script], { encoding: 'utf8' })
  } catch (error) {
    if (attemptsLeft > 0 && (error as NodeJS.ErrnoException).code !== 'ENOENT')
      return library(attemptsLeft - 1)
    throw new Error('faketime does not run here: install it ("apt-get install faketime")', { cause: error })
  }
}
