import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')

/** Collects all garbage: what is measured next pays for nothing that came before. */
export const collectGarbage = runInNewContext('gc') as () => void

/** Ms of a look at what this process computes, and the most of it that one at rest does. */
const lookMs = 50
const atRestMs = 2

/**
 * Collects all garbage, and resolves when this process is at rest. Other threads sweep up behind a collection, the longer
 * the more it has found, and whoever touches new memory waits for them: 3 to 6 ms at a time, after half a gigabyte.
 */
export async function collectGarbageAndRest(): Promise<void> {
  // The second waits until the first has been swept up.
  collectGarbage()
  collectGarbage()
  for (;;) {
    const before = process.cpuUsage()
    await sleep(lookMs)
    const { user, system } = process.cpuUsage(before)
    if ((user + system) / 1_000 <= atRestMs) return
  }
}
