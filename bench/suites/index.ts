import type { Suite } from '../suite.js'
import { invalidations } from './invalidations.js'
import { l1 } from './l1.js'
import { l2 } from './l2.js'
import { memory } from './memory.js'

/** In the order in which they run. */
export const suites: readonly Suite[] = [l1, l2, memory, invalidations]
