import { parseArgs } from 'node:util'
import type { Mode } from './cluster.js'
import { allFaults } from './faults/index.js'

export interface ChaosOptions {
  readonly minutes: number
  readonly nodes: number
  readonly seed: number
  readonly mode: Mode
  /** The number of reads a second that the clients try to make. */
  readonly rate: number
  /** Only faults whose kind contains one of these words. */
  readonly only: readonly string[]
  /** No faults whose kind contains one of these words. */
  readonly without: readonly string[]
  /** Whether to keep the history even if it has no violation. */
  readonly keep: boolean
  /** Where to write the report as JSON. */
  readonly report: string | undefined
}

export const usage = `npm run chaos -- [--minutes 2] [--nodes 5] [--seed 1] [--rate 2400] [--naive] [--keep]
                 [--report FILE.json] [--only WORD,…] [--without WORD,…]

Kinds of fault, for --only and --without:
${allFaults.map(({ kind }) => `  ${kind}`).join('\n')}`

/** @throws Error of one line that names the argument */
export function parseOptions(args: readonly string[]): ChaosOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '2' },
      nodes: { type: 'string', default: '5' },
      seed: { type: 'string', default: '1' },
      rate: { type: 'string', default: '2400' },
      naive: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      report: { type: 'string' },
      only: { type: 'string', default: '' },
      without: { type: 'string', default: '' },
    },
  })
  const number = (name: 'minutes' | 'nodes' | 'seed' | 'rate', least: number, most: number, whole = true) => {
    const value = Number(values[name])
    if (!(value >= least && value <= most) || (whole && !Number.isInteger(value))) {
      throw new Error(`--${name}: must be a${whole ? ' whole' : ''} number from ${least} to ${most}`)
    }
    return value
  }
  return {
    minutes: number('minutes', 0.1, 1_440, false),
    // Two nodes at a time may have a fault of their own, and a third one must answer.
    nodes: number('nodes', 3, 20),
    seed: number('seed', 0, 4_294_967_295),
    rate: number('rate', 500, 50_000),
    mode: values.naive ? 'naive' : 'aftercommit',
    keep: values.keep,
    report: values.report,
    only: wordsIn(values.only),
    without: wordsIn(values.without),
  }
}

function wordsIn(text: string): string[] {
  return text.split(',').filter(Boolean)
}
