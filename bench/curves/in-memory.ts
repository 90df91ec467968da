import { type Bench, type Contestant, compare, type Measurement } from '../comparison.js'
import { summaryOf } from '../statistics.js'
import type { Curve, Series } from './curve.js'

const l1 = new URL('../contestants/l1.js', import.meta.url).href
const invalidations = new URL('../contestants/reads-under-invalidations.js', import.meta.url).href

/** Measures the same contestants at each `x`. */
async function series(
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

export const keys: Curve = {
  name: 'keys',
  title: 'Hits in memory, keys drawn by Zipf’s law',
  x: 'keys',
  y: 'awaited hits a second',
  run: (bench) =>
    series(bench, 'perSecond', [1_000, 10_000, 100_000, 1_000_000], (keyCount) => [
      { name: 'await of Map.get', role: 'limit', module: l1, open: 'openAsyncFloor', settings: { keyCount } },
      { name: 'aftercommit', role: 'ours', module: l1, open: 'openOurs', settings: { keyCount } },
    ]),
}

export const tags: Curve = {
  name: 'tags',
  title: 'Hits in memory, by the tags of an entry (10,000 keys)',
  x: 'tags of each entry',
  y: 'awaited hits a second',
  run: (bench) =>
    series(bench, 'perSecond', [0, 1, 2, 4, 8, 16, 32], (tagCount) => [
      {
        name: 'aftercommit',
        role: 'ours',
        module: l1,
        open: 'openOurs',
        settings: { keyCount: 10_000, tags: tagCount },
      },
    ]),
}

export const invalidationRate: Curve = {
  name: 'invalidations',
  title: 'Hits in memory while invalidations are applied (10,000 keys, one key each)',
  x: 'invalidations a second',
  y: 'awaited hits a second',
  run: (bench) =>
    series(bench, 'perSecond', [10, 100, 1_000, 10_000, 100_000], (perSecond) => [
      { name: 'aftercommit', role: 'ours', module: invalidations, open: 'openOurs', settings: { perSecond } },
    ]),
}
