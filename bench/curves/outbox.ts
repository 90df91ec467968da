import type { Contestant } from '../comparison.js'
import type { Curve } from './curve.js'
import { series } from './series.js'

const module = new URL('../contestants/backlog.js', import.meta.url).href

const checking = new URL('../contestants/checks.js', import.meta.url).href

const both = (settings: Contestant['settings'] & object): readonly Contestant[] => [
  { name: 'UPDATE … RETURNING loop', role: 'limit', module, open: 'openRaw', settings },
  { name: 'aftercommit', role: 'ours', module, open: 'openOurs', settings },
]

export const backlog: Curve = {
  name: 'backlog',
  title: 'Numbering and publishing what has piled up, by how much that is',
  x: 'events in the outbox',
  y: 'events a second',
  run: (bench) =>
    series(bench, 'perSecond', [1_000, 10_000, 100_000, 1_000_000], (count) => both({ workers: 1, count })),
}

export const nodes: Curve = {
  name: 'nodes',
  title: 'Numbering and publishing 100,000 events, by the nodes that do it at once',
  x: 'nodes',
  y: 'events a second',
  run: (bench) =>
    series(bench, 'perSecond', [1, 2, 3, 4, 8, 16], (workers) => both({ workers, count: 100_000 })),
}

export const checks: Curve = {
  name: 'checks',
  title: 'Checks for what was missed, by the nodes that make them as fast as they can',
  x: 'nodes',
  y: 'checks a second',
  run: (bench) =>
    series(bench, 'perSecond', [1, 2, 3, 4, 8, 16], (workers) => {
      const settings = { workers, count: 10_000 }
      return [
        { name: 'SELECT 1', role: 'limit', module: checking, open: 'openRaw', settings },
        { name: 'aftercommit', role: 'ours', module: checking, open: 'openOurs', settings },
      ]
    }),
}
