import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')

/** Collects all garbage: what is measured next pays for nothing that came before. */
export const collectGarbage = runInNewContext('gc') as () => void
