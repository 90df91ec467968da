import { type Bench, type Contestant, compare, type Measurement } from '../comparison.js'
import { summaryOf } from '../statistics.js'
import type { Series } from './curve.js'

/** Measures the same contestants at each `x`. */
export async function series(
  bench: Bench,
  figure: string,
  xs: readonly number[],
  contestantsAt: (x: number) => readonly Contestant[],
): Promise<Series[]> {
  const measurements: (readonly [x: number, Measurement])[] = []
  for (const x of bench.quick ? xs.slice(0, 2) : xs)
    measurements.push([x, await compare(bench, contestantsAt(x))])
  const names = measurements[0]?.[1].measured.map(({ name }) => name) ?? []
  return names.map((name, index) => ({
    name,
    points: measurements.map(([x, { measured }]) => ({
      x,
      y: summaryOf(measured[index]?.samples.map((sample) => sample[figure] ?? Number.NaN) ?? []),
    })),
  }))
}
