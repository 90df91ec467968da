import type { Suite } from '../suite.js'
import { backlog } from './backlog.js'
import { handlers } from './handlers.js'
import { l1 } from './l1.js'

/** In the order in which they run. */
export const suites: readonly Suite[] = [l1, backlog, handlers]
