import { exploreAll } from './exhaustive-exploration.js'
import { hardCases } from './hard-cases.js'
import { describeFailure } from './minimised-trace.js'
import { exploreAtRandom } from './random-exploration.js'
import { smallScenarios } from './small-scenarios.js'

/** What came of an exploration, as this program tells it. */
export interface Explored {
  readonly runs: number
  readonly steps: number
  /** Of an exhaustive one only. */
  readonly states?: number
  /** Whether all that was asked for was explored. */
  readonly complete: boolean
  /** The trace of a run that broke a promise. */
  readonly failure?: string | undefined
}

/**
 * A program: explores and tells what came of it as JSON.
 *
 *     explore.js exhaustively TITLE             a small scenario
 *     explore.js at-random SEED RUNS [NAME]     random scenarios, or random orders of a hard case
 */
const [how, ...args] = process.argv.slice(2)
const explored = how === 'exhaustively' ? await exhaustively(args) : await atRandom(args)
process.stdout.write(JSON.stringify(explored))

async function exhaustively([title]: string[]): Promise<Explored> {
  const small = smallScenarios.find((one) => one.title === title)
  if (!small) throw new Error(`There is no small scenario "${title}"`)
  const { failure, ...counts } = await exploreAll(small.scenario)
  if (!failure) return counts
  return { ...counts, failure: await describeFailure(small.scenario, failure.chosen, failure.violation) }
}

async function atRandom([seed, wanted, name = '']: string[]): Promise<Explored> {
  const { runs, steps, failure } = await exploreAtRandom(Number(seed), Number(wanted), hardCases[name])
  if (!failure) return { runs, steps, complete: runs === Number(wanted) }
  const { scenario, chosen, violation } = failure
  return {
    runs,
    steps,
    complete: false,
    failure: await describeFailure(scenario, chosen, violation, failure.seed),
  }
}
