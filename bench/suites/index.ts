import type { Suite } from '../suite.js'
import { l1 } from './l1.js'
import { eviction, propagation } from './propagation.js'
import { stampede } from './stampede.js'

/** In the order in which they run. */
export const suites: readonly Suite[] = [l1, stampede, propagation, eviction]
