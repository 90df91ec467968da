import type { Violation } from './judge.js'
import type { Scenario } from './scenario.js'
import type { Step } from './scheduler.js'
import { World } from './world.js'

/** Decides what happens next; undefined ends the run. */
export type Choose = (enabled: readonly Step[], world: World) => Step | undefined

export interface Outcome {
  readonly violation: Violation | undefined
  /** The steps performed, by name, in their order. */
  readonly chosen: readonly string[]
}

/**
 * One run of a scenario. The judge watches every answer; in the end all troubles are over, every node makes a check,
 * and everything is read once more.
 *
 * @param random in place of `Math.random`, which the code of the service asks for jitter
 * @param tell told of each step and what came of it
 */
export async function run(
  scenario: Scenario,
  choose: Choose,
  random: () => number,
  tell?: (step: string, outcome: string | undefined) => void,
): Promise<Outcome> {
  const chosen: string[] = []
  const ownRandom = Math.random
  Math.random = random
  // Every aborted signal makes an error, whose trace nobody reads.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    const world = new World(scenario)
    await world.begin()
    while (!world.violation) {
      const step = choose(world.enabled(), world)
      if (!step) break
      chosen.push(step.id)
      const outcome = await world.perform(step)
      tell?.(step.id, outcome)
    }
    if (!world.violation) await world.end()
    return { violation: world.violation, chosen }
  } finally {
    Math.random = ownRandom
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** Takes the steps of a recorded run as far as they are there; what is not is left out. */
export function replaying(recorded: readonly string[]): Choose {
  let next = 0
  return (_, world) => {
    for (; next < recorded.length; next++) {
      const step = world.find(recorded[next] as string)
      if (!step) continue
      next++
      return step
    }
    return undefined
  }
}
