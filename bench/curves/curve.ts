import type { Bench } from '../comparison.js'
import type { Summary } from '../statistics.js'

export interface Point {
  readonly x: number
  readonly y: Summary
}

/** One line of a plot. */
export interface Series {
  readonly name: string
  readonly points: readonly Point[]
}

/** How the cost of something grows with something else. */
export interface Curve {
  readonly name: string
  readonly title: string
  readonly x: string
  readonly y: string
  /** Whether `y` spans orders of magnitude. */
  readonly logarithmicY?: boolean
  run(bench: Bench): Promise<readonly Series[]>
}
