import type { Violation } from './judge.js'
import { RandomNumbers } from './random-numbers.js'
import { randomScenario } from './random-scenario.js'
import { type Choose, replaying, run } from './run.js'
import type { Scenario } from './scenario.js'
import type { Step } from './scheduler.js'

/** Steps after which a run ends, however much there is left to do. */
const longestRun = 100

export interface Failure {
  readonly seed: number
  readonly violation: Violation
  readonly scenario: Scenario
  readonly chosen: readonly string[]
}

export interface RandomExploration {
  readonly runs: number
  readonly steps: number
  readonly failure: Failure | undefined
}

/**
 * Runs random scenarios in random orders, from one seed on.
 *
 * @param hardCase one scenario instead, of which only the order is random
 */
export async function exploreAtRandom(
  firstSeed: number,
  runs: number,
  hardCase?: Scenario,
): Promise<RandomExploration> {
  let steps = 0
  for (let index = 0; index < runs; index++) {
    const seed = (firstSeed + index) % 0x7fff_ffff
    const { scenario, violation, chosen } = await runSeed(seed, hardCase)
    steps += chosen.length
    if (violation) return { runs: index + 1, steps, failure: { seed, violation, scenario, chosen } }
  }
  return { runs, steps, failure: undefined }
}

async function runSeed(seed: number, hardCase: Scenario | undefined) {
  const random = new RandomNumbers(seed)
  const scenario = hardCase ?? randomScenario(random)
  const outcome = await run(scenario, choosingAtRandom(random), () => random.next())
  return { scenario, ...outcome }
}

/** The same steps again. Jitter is left out: it must not decide whether a run fails. */
export function replay(
  scenario: Scenario,
  chosen: readonly string[],
  tell?: (step: string, outcome: string | undefined) => void,
) {
  return run(scenario, replaying(chosen), () => 0.5, tell)
}

/**
 * Each run has its own idea of what is slow: chosen evenly, every message would arrive soon, and nothing would ever
 * be overtaken by much.
 */
function choosingAtRandom(random: RandomNumbers): Choose {
  const weights = new Map<string, number>()
  const known = new WeakMap<Step, number>()
  const weightOf = (step: Step): number => {
    let weight = known.get(step)
    if (weight !== undefined) return weight
    const kind = kindOf(step)
    weight = weights.get(kind)
    if (weight === undefined) {
      weight = random.oneOf([1, 1, 1, 0.3, 0.05]) * (kind === 'trouble' ? 0.2 : 1)
      weights.set(kind, weight)
    }
    known.set(step, weight)
    return weight
  }
  let left = longestRun
  return (enabled) => {
    if (left-- === 0 || !enabled.some(({ optional }) => !optional)) return undefined
    let total = 0
    for (const step of enabled) total += weightOf(step)
    let drawn = random.next() * total
    for (const step of enabled) {
      drawn -= weightOf(step)
      if (drawn <= 0) return step
    }
    return enabled.at(-1)
  }
}

function kindOf({ id, node = 'server' }: Step): string {
  if (id.startsWith('trouble')) return 'trouble'
  if (id.startsWith('client')) return id.slice(0, 8)
  if (id.startsWith('hint')) return `hint ${node}`
  const what = id
    .slice(id.indexOf(' ', id.indexOf('.')) + 1)
    .split(' ', 2)
    .join(' ')
  return `${node} ${what}`
}
