import type { Suite } from '../suite.js'
import { backlog } from './backlog.js'
import { command } from './command.js'
import { handlers } from './handlers.js'
import { http } from './http.js'
import { invalidations } from './invalidations.js'
import { l1 } from './l1.js'
import { l2 } from './l2.js'
import { memory } from './memory.js'
import { eviction, propagation } from './propagation.js'
import { stampede } from './stampede.js'
import { start } from './start.js'

/** In the order in which they run. */
export const suites: readonly Suite[] = [
  l1,
  l2,
  memory,
  invalidations,
  stampede,
  propagation,
  eviction,
  backlog,
  handlers,
  command,
  http,
  start,
]
