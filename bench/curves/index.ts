import type { Curve } from './curve.js'
import { invalidationRate, keys, tags } from './in-memory.js'
import { backlog, checks, nodes } from './outbox.js'

export const curves: readonly Curve[] = [keys, tags, invalidationRate, backlog, nodes, checks]
