import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(import.meta.url)

// In Jest this module runs as TypeScript from the source tree. A child process cannot do that and needs the output of
// `npm run build`. The extension of this file shows which of the two applies.
const dist = here.endsWith('.ts')
  ? resolve(dirname(here), '..', '..', 'dist')
  : resolve(dirname(here), '..', '..')

/**
 * Returns the path of a compiled file that a child process can run.
 *
 * @param path path below `dist/`, such as `src/main.js`
 * @throws Error when the project has not been built
 */
export function compiledFile(path: string): string {
  const file = join(dist, path)
  if (!existsSync(file)) throw new Error(`${file} is missing: run "npm run build" first`)
  return file
}
