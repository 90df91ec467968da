import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { transformSync } from '@swc/core'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** Compiles the service and its explorer into a folder, from which plain Node can run them. */
export function compileExplorer(folder) {
  for (const part of ['src', 'test/consistency', 'test/model', 'test/support']) {
    for (const name of readdirSync(join(root, part), { recursive: true })) {
      if (name.endsWith('.ts')) compile(folder, join(part, name))
    }
  }
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
}

/** A copy of a compiled folder, in which one file can be another. */
export function copyExplorer(from, to) {
  cpSync(from, to, { recursive: true, verbatimSymlinks: true })
}

/** Compiles a file once more, without a guard. */
export function compileWithout(folder, { file, snippet, without }) {
  compile(folder, file, (source) => {
    if (source.split(snippet).length !== 2)
      throw new Error(`${file} does not contain exactly once: ${snippet}`)
    return source.replace(snippet, () => without)
  })
}

export function compile(folder, file, change = (source) => source) {
  const target = join(folder, file.replace(/\.ts$/, '.js'))
  mkdirSync(dirname(target), { recursive: true })
  const source = change(readFileSync(join(root, file), 'utf8'))
  const options = { cwd: root, configFile: join(root, '.swcrc'), filename: file, sourceMaps: false }
  writeFileSync(target, transformSync(source, options).code)
}
