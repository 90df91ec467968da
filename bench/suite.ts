import type { Bench } from './comparison.js'
import type { Row } from './row.js'

/** Named on the command line. */
export interface Suite {
  readonly name: string
  /** One line, for the list of suites. */
  readonly about: string
  run(bench: Bench): Promise<readonly Row[]>
}
