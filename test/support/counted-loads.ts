import type { LoadContext } from '../../src/kernel/cache/load-context.js'
import { Gate } from './gate.js'

/** Loads that say which they were: `load 1`, `load 2`, and so on. Made by hand, each waits for its own gate. */
export class CountedLoads {
  count = 0
  /** The contexts of the held loads, in the order in which they began. */
  readonly contexts: LoadContext[] = []

  readonly load = async (): Promise<string> => `load ${++this.count}`

  /** A load that goes on when its gate is opened, and fails when that fails. */
  heldBy(gate: Gate): (context: LoadContext) => Promise<string> {
    return async (context) => {
      const number = ++this.count
      this.contexts.push(context)
      await gate.opened
      return `load ${number}`
    }
  }

  /** A load that never ends. */
  get endless(): (context: LoadContext) => Promise<string> {
    return this.heldBy(new Gate())
  }
}

export const originIsDown = 'The origin is down'

/** A load that fails, as when what it asks is away; counted. */
export class FailingLoads {
  count = 0

  readonly load = async (): Promise<never> => {
    this.count++
    throw new Error(originIsDown)
  }
}
