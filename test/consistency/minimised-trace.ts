import type { Violation } from './judge.js'
import { replay } from './random-exploration.js'
import type { Scenario } from './scenario.js'

/** Replays after which the shortest trace found so far has to do. */
const mostReplays = 2_000

/**
 * Leaves steps out of a failing run for as long as it still breaks the same promise (delta debugging): parts of it
 * first, then smaller ones, to the single step. What a step that is left out would have led to is left out with it.
 */
export async function minimised(
  scenario: Scenario,
  chosen: readonly string[],
  { promise }: Violation,
): Promise<readonly string[]> {
  let trace = chosen
  let replays = 0
  for (let size = Math.ceil(trace.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    let from = 0
    while (from < trace.length && replays++ < mostReplays) {
      const fewer = [...trace.slice(0, from), ...trace.slice(from + size)]
      const { violation, chosen: taken } = await replay(scenario, fewer)
      if (violation?.promise === promise) trace = taken
      else from += size
    }
  }
  return trace
}

/** The minimised trace, step by step, with what came of each. */
export async function describeFailure(
  scenario: Scenario,
  chosen: readonly string[],
  violation: Violation,
  seed?: number,
): Promise<string> {
  const again = await replay(scenario, chosen)
  const trace = again.violation ? await minimised(scenario, chosen, again.violation) : chosen
  const lines: string[] = []
  const shown = await replay(scenario, trace, (step, outcome) => {
    lines.push(`${String(lines.length + 1).padStart(4)}. ${step}${outcome ? ` → ${outcome}` : ''}`)
  })
  const { nodes, entry, clients, replayAtStart } = scenario
  const tokens = clients.flatMap((client, index) => (client.tokens ? [index + 1] : []))
  return [
    `${(shown.violation ?? violation).message}`,
    seed === undefined ? '' : `  SEED=${seed} repeats it`,
    `  ${nodes} nodes; clients with tokens: ${tokens.join(', ') || 'none'}; replayAtStart ${replayAtStart}; entry ${JSON.stringify(entry)}`,
    ...lines,
    shown.violation ? '' : '  (the trace does not fail without the jitter of the run that did)',
    '  then troubles end, what was begun is finished, every node makes a check, and every row is read on each',
  ]
    .filter((line) => line !== '')
    .join('\n')
}
