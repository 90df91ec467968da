import type { Curve } from './curve.js'
import { series } from './series.js'

const l1 = new URL('../contestants/l1.js', import.meta.url).href
const invalidations = new URL('../contestants/reads-under-invalidations.js', import.meta.url).href

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
