import { type Bench, compare } from '../comparison.js'
import { rowOf } from '../row.js'
import type { Suite } from '../suite.js'

const module = new URL('../contestants/http.js', import.meta.url).href

export const http: Suite = {
  name: 'http',
  about: 'answers over HTTP from memory',
  async run(bench: Bench) {
    const measured = await compare(bench, [
      { name: 'Fastify, a constant', role: 'limit', module, open: 'openConstant' },
      { name: 'aftercommit', role: 'ours', module, open: 'openOurs' },
    ])
    return [
      rowOf('http', measured, {
        work: 'GET of a user, L1 hit, 64 connections',
        figure: 'perSecond',
        unit: '/s',
        better: 'higher',
        goal: { against: 'limit', ratio: 0.85 },
      }),
    ]
  },
}
