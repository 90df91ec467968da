import { runSequence } from './run.js'
import type { Action, Sequence, Step } from './sequence.js'

/** Runs after which the shortest sequence found so far has to do. */
const mostRuns = 1_500

/**
 * Leaves out of a sequence that fails whatever it fails without: steps first, in parts and then one by one (delta debugging),
 * then what is special about each step and about the caches.
 *
 * @param still whether a violation counts as one of the same kind
 */
export async function shortened(sequence: Sequence): Promise<Sequence> {
  let shortest = sequence
  let runs = 0
  const takes = async (candidate: Sequence): Promise<boolean> => {
    if (++runs > mostRuns || (await runSequence(candidate)) === undefined) return false
    shortest = candidate
    return true
  }
  for (let again = true; again && runs <= mostRuns; ) {
    again = false
    for (
      let size = Math.ceil(shortest.steps.length / 2);
      size >= 1;
      size = size === 1 ? 0 : Math.ceil(size / 2)
    ) {
      for (let from = 0; from < shortest.steps.length && runs <= mostRuns; ) {
        if (await takes({ ...shortest, steps: without(shortest.steps, from, size) })) again = true
        else from += size
      }
    }
    for (const simpler of simplerSettings) {
      const candidate = simpler(shortest)
      if (candidate && (await takes(candidate))) again = true
    }
    for (let index = 0; index < shortest.steps.length; index++) {
      for (const simpler of simplerSteps) {
        const step = shortest.steps[index] as Step
        const candidate = simpler(step)
        if (!candidate || JSON.stringify(candidate) === JSON.stringify(step)) continue
        if (await takes({ ...shortest, steps: shortest.steps.with(index, candidate) })) again = true
      }
    }
  }
  return shortest
}

/** The time that a step took stays, or what comes after it would come earlier. */
function without(steps: readonly Step[], from: number, size: number): readonly Step[] {
  const rest = steps.slice(from + size)
  const [next] = rest
  if (!next) return steps.slice(0, from)
  const skippedMs = steps.slice(from, from + size).reduce((sum, { afterMs }) => sum + afterMs, 0)
  return [...steps.slice(0, from), { ...next, afterMs: next.afterMs + skippedMs }, ...rest.slice(1)]
}

const simplerSettings: readonly ((sequence: Sequence) => Sequence | undefined)[] = [
  (sequence) => (sequence.slowReplies ? { ...sequence, slowReplies: false } : undefined),
  (sequence) => (sequence.keepsAbsence ? { ...sequence, keepsAbsence: false } : undefined),
  (sequence) => (sequence.maxEntries < 1_000 ? { ...sequence, maxEntries: 1_000 } : undefined),
  ...(['row', 'page', 'book', 'origin'] as const).map((cache) => (sequence: Sequence) => {
    if (Object.keys(sequence.entries[cache]).length === 0) return undefined
    return { ...sequence, entries: { ...sequence.entries, [cache]: {} } }
  }),
  (sequence) =>
    sequence.tokens.some((sends) => sends)
      ? { ...sequence, tokens: sequence.tokens.map(() => false) }
      : undefined,
]

const simplerSteps: readonly ((step: Step) => Step | undefined)[] = [
  (step) => (step.afterMs > 0 ? { ...step, afterMs: 0 } : undefined),
  (step) => (step.afterMs > 10 ? { ...step, afterMs: 10 } : undefined),
  of('read', (read) => ({ ...read, spoils: false })),
  of('read', (read) => ({ ...read, call: {} })),
  of('read', (read) => ({ ...read, keys: read.keys.slice(0, 1) })),
  of('read', (read) => ({ ...read, how: 'getOrCreate' })),
  of('read', (read) => ({ ...read, load: { ...read.load, ends: 'well', innerEnds: 'well' } })),
  of('read', (read) => ({ ...read, load: { ...read.load, beforeMs: 0, afterMs: 0 } })),
  of('read', (read) => ({
    ...read,
    load: { ...read.load, shape: 'plain', asksWhetherModified: false, asks: false },
  })),
  of('read', ({ load: { adapts: _, ...load }, ...read }) => ({ ...read, load: { ...load, isKept: true } })),
  of('read', (read) => ({ ...read, load: { ...read.load, way: 'getOrCreate' } })),
  of('read', (read) => ({ ...read, load: { ...read.load, tags: 'the value' } })),
  of('write', (write) => ({ ...write, reads: false })),
  of('write', (write) => ({ ...write, names: 'the key', group: 'g1' })),
  of('set', (set) => ({ ...set, keys: set.keys.slice(0, 1), betweenMs: 0 })),
]

function of<Kind extends Action['kind']>(
  kind: Kind,
  simpler: (action: Extract<Action, { kind: Kind }>) => Extract<Action, { kind: Kind }>,
): (step: Step) => Step | undefined {
  return (step) =>
    step.action.kind === kind
      ? { ...step, action: simpler(step.action as Extract<Action, { kind: Kind }>) }
      : undefined
}
