import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(import.meta.url)

// Under Jest this module runs as TypeScript from the source tree. A child process cannot: it needs what
// `npm run build` wrote. The extension tells the two apart, whatever the clone's own folder is called.
const dist = here.endsWith('.ts')
  ? resolve(dirname(here), '..', '..', 'dist')
  : resolve(dirname(here), '..', '..')

/**
 * Path of a compiled file, for a child process to run.
 *
 * @param path path below `dist/`, such as `src/main.js`
 * @throws Error when the project has not been built
 */
export function compiledFile(path: string): string {
  const file = join(dist, path)
  if (!existsSync(file)) throw new Error(`${file} is missing: run "npm run build" first`)
  return file
}
