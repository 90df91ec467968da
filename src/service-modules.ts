import type { ServiceModule } from './kernel/cqrs/module.js'
import * as listed from './modules/index.js'

/** The modules that `src/modules/index.ts` lists. */
export const modules: readonly ServiceModule[] = Object.values(listed)
