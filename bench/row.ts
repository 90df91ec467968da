import type { Measured, Measurement } from './comparison.js'
import { type Summary, summaryOf } from './statistics.js'

export interface Goal {
  /** The limit, or any contestant by name; `ours` is compared with it. */
  readonly against: 'limit' | (string & {})
  /** For rates: ours must be at least this part of it. For times and bytes: at most this many times it. */
  readonly ratio: number
}

/** A figure that has to be within a bound of its own: one load, 5 ms, a second. */
export interface Bound {
  readonly atMost?: number
  readonly atLeast?: number
}

export interface RowPlan {
  /** What is done, as the table says it. */
  readonly work: string
  /** The figure of the samples that counts. */
  readonly figure: string
  readonly unit: string
  /** Rates are better when higher; times and bytes when lower. */
  readonly better: 'higher' | 'lower'
  readonly goal?: Goal
  readonly bound?: Bound
  /** Whether ours has to be better than every peer. */
  readonly aheadOfPeers?: boolean
}

export interface RowEntry extends Summary {
  readonly name: string
  readonly role: Measured['role']
  /** Ours divided by this one, round by round. */
  readonly oursTo?: Summary
}

/** One line of the result. */
export interface Row extends RowPlan {
  readonly suite: string
  readonly entries: readonly RowEntry[]
  readonly busy: number
  /** The ratio reached to what the goal names. */
  readonly reached?: number
  readonly bestPeer?: { readonly name: string; readonly ratio: number }
  readonly met: boolean
}

/** Judges one figure of a measurement. Ratios are of the same round, and of them the median counts. */
export function rowOf(suite: string, { measured, busy }: Measurement, plan: RowPlan): Row {
  const { figure, better, goal, bound, aheadOfPeers = false } = plan
  const values = (one: Measured) => one.samples.map((sample) => sample[figure] ?? Number.NaN)
  // What a peer has had in some rounds only is no figure to compare with.
  const present = measured.filter(({ role, samples }) => {
    const rounds = samples.filter((sample) => sample[figure] !== undefined)
    return role === 'peer' ? rounds.length === samples.length : rounds.length > 0
  })
  const ours = present.find(({ role }) => role === 'ours')
  if (!ours) throw new Error(`${plan.work}: nothing of ours was measured`)
  const ourValues = values(ours)
  const entries = present.map((one): RowEntry => {
    const summary = { name: one.name, role: one.role, ...summaryOf(values(one)) }
    if (one === ours) return summary
    const ratios = values(one).map((value, round) => (ourValues[round] ?? Number.NaN) / value)
    return { ...summary, oursTo: summaryOf(ratios) }
  })
  const isBetter = (a: number, b: number) => (better === 'higher' ? a > b : a < b)
  const best = entries
    .filter(({ role }) => role === 'peer')
    .reduce<RowEntry | undefined>((a, b) => (a && !isBetter(b.median, a.median) ? a : b), undefined)
  const against = goal && entries.find(({ name, role }) => name === goal.against || role === goal.against)
  if (goal && !against) throw new Error(`${plan.work}: "${goal.against}" was not measured`)
  const reached = against?.oursTo?.median
  const ownMedian = summaryOf(ourValues).median
  const met =
    (reached === undefined ||
      !goal ||
      (better === 'higher' ? reached >= goal.ratio : reached <= goal.ratio)) &&
    (!aheadOfPeers || !best || isBetter(ownMedian, best.median)) &&
    ownMedian <= (bound?.atMost ?? Number.POSITIVE_INFINITY) &&
    ownMedian >= (bound?.atLeast ?? Number.NEGATIVE_INFINITY)
  return {
    ...plan,
    suite,
    entries,
    busy,
    met,
    ...(reached !== undefined && { reached }),
    ...(best?.oursTo && { bestPeer: { name: best.name, ratio: best.oursTo.median } }),
  }
}
