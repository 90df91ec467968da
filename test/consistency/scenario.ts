import type { EntryOptions } from '../../src/kernel/cache/entry-options.js'

/** What a client asks of a node. */
export type Operation =
  | { readonly kind: 'read'; readonly node: number; readonly key: string }
  | { readonly kind: 'read many'; readonly node: number; readonly keys: readonly string[] }
  | { readonly kind: 'write'; readonly node: number; readonly key: string; readonly how: Write }
  | { readonly kind: 'set'; readonly node: number; readonly key: string }
  | { readonly kind: 'remove' | 'expire'; readonly node: number; readonly key: string }
  | { readonly kind: 'clear'; readonly node: number }
  | { readonly kind: 'check'; readonly node: number }

/**
 * How a row is written: what its event names, and what else the transaction does. `fails` rolls back after it has
 * written; `in vain` does so in a savepoint and commits the rest; `reads` and `sets` use the cache inside.
 */
export type Write =
  | 'by key'
  | 'by tag'
  | 'creates'
  | 'newer payload'
  | 'mapping throws'
  | 'unknown event'
  | 'fails'
  | 'in vain'
  | 'reads'
  | 'sets'

/** What goes wrong, and what passes. */
export type Trouble =
  | { readonly kind: 'crash' | 'pause' | 'resume'; readonly node: number }
  | { readonly kind: 'suspend'; readonly node: number; readonly ms: number }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'fail over'; readonly lostChanges: number }
  | { readonly kind: 'lose hints' | 'forge a hint' | 'delete numbered' }
  | { readonly kind: 'Redis saves' | 'Redis is set back' | 'Redis restarts empty' }
  | { readonly kind: 'Redis goes' | 'Redis comes' | 'Postgres goes' | 'Postgres comes' }

export interface Client {
  /** Whether it sends back the token of the last answer. */
  readonly tokens: boolean
  /** One after the other. */
  readonly operations: readonly Operation[]
}

export interface Scenario {
  readonly nodes: number
  /** Rows that exist from the beginning. */
  readonly keys: readonly string[]
  /** A row that does not exist in the beginning. */
  readonly absentKeys: readonly string[]
  readonly clients: readonly Client[]
  /** Each list happens in its order, whenever the scheduler lets it. */
  readonly troubles: readonly (readonly Trouble[])[]
  readonly entry: Partial<EntryOptions>
  readonly replayAtStart: number
  readonly positionsBefore: number
  readonly checksByItself: boolean
  readonly slowNumbering: boolean
  readonly slowReplies: boolean
  readonly copiesOfHints: number
  readonly hearsItself: boolean
  /** Whether a node always has other transactions under way, so that it numbers behind a COMMIT rather than before it. */
  readonly busyNodes: boolean
  /** Milliseconds after which L2 gives a read up by itself. */
  readonly sharedTimeoutMs: number
}

export function describeOperation(operation: Operation): string {
  const { kind, node } = operation
  const where = `on node ${node + 1}`
  switch (kind) {
    case 'read many':
      return `reads ${operation.keys.join(' and ')} ${where}`
    case 'write':
      return `writes ${operation.key} ${where} (${operation.how})`
    case 'clear':
      return `clears the cache ${where}`
    case 'check':
      return `has node ${node + 1} check`
    default:
      return `${kind}s ${operation.key} ${where}`
  }
}

export function describeTrouble(trouble: Trouble): string {
  switch (trouble.kind) {
    case 'crash':
      return `node ${trouble.node + 1} crashes`
    case 'pause':
    case 'resume':
      return `node ${trouble.node + 1} is ${trouble.kind}d`
    case 'suspend':
      return `node ${trouble.node + 1}'s machine is suspended for ${trouble.ms} ms`
    case 'pass':
      return `${trouble.ms} ms pass`
    case 'fail over':
      return `Postgres fails over and loses ${trouble.lostChanges} changes`
    case 'lose hints':
      return 'the hints under way are lost'
    case 'forge a hint':
      return 'a stranger forges a hint'
    case 'delete numbered':
      return 'what has a position is deleted'
    default:
      return trouble.kind
  }
}
