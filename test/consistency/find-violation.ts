import { hardCases } from './hard-cases.js'
import { exploreAtRandom } from './random-exploration.js'

/**
 * A program: explores at random until a promise is broken, or for so many seconds of processor time, and tells what it
 * found as JSON. Run over the service without one of its guards.
 *
 * @param seconds how long to search
 * @param hardCase the name of the scenario to search in; empty for random ones
 * @param seed of a run that is known to have failed; tried first, as long as the same seed still makes the same run
 */
const [seconds = '60', hardCase = '', seed] = process.argv.slice(2)
if (hardCase !== '' && !hardCases[hardCase]) throw new Error(`There is no hard case "${hardCase}"`)
const startedAt = process.cpuUsage()
const spent = (): number => {
  const { user, system } = process.cpuUsage(startedAt)
  return (user + system) / 1e6
}

const runsAtOnce = 50
let runs = 0
let { failure } = seed === undefined ? { failure: undefined } : await explore(Number(seed), 1)
for (let next = 1; !failure && spent() < Number(seconds); next += runsAtOnce) {
  failure = (await explore(next, runsAtOnce)).failure
}
const { promise, message } = failure?.violation ?? {}
process.stdout.write(
  `${JSON.stringify({ runs, seconds: spent(), seed: failure?.seed, promise, violation: message })}\n`,
)

async function explore(first: number, count: number) {
  const explored = await exploreAtRandom(first, count, hardCases[hardCase])
  runs += explored.runs
  return explored
}
