import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')

/** Collects all garbage: what is measured next pays for nothing that came before. */
export const collectGarbage = runInNewContext('gc') as () => void

/** Length of a sample, and the CPU time in it, of all threads, that still counts as rest; in ms. */
const sampleMs = 50
const restMs = 2
const mostSamples = 200

/**
 * Collects all garbage, and resolves when this process is at rest. Other threads sweep behind a collection, the longer the
 * more it has found, and whoever touches new memory waits for them: 3 to 6 ms at a time, after half a gigabyte.
 *
 * @throws Error if the process does not come to rest within 10 s
 */
export async function collectGarbageAndRest(): Promise<void> {
  // The second waits until the first has been swept up.
  collectGarbage()
  collectGarbage()
  for (let sample = 0; sample < mostSamples; sample++) {
    const before = process.cpuUsage()
    await sleep(sampleMs)
    const { user, system } = process.cpuUsage(before)
    if ((user + system) / 1_000 <= restMs) return
  }
  throw new Error('the process does not come to rest')
}
