import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'

const root = process.cwd()
const types = join(root, 'test', 'types')
const expectation = '@ts-expect-error'

/** Nothing below `node_modules` is found by a pattern. */
function list(folder: string): void {
  const files = readdirSync(folder).filter((name) => name.endsWith('.ts'))
  const settings = {
    extends: '../../tsconfig.json',
    compilerOptions: { rootDir: '../..', noEmit: true },
    files,
    include: [],
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(settings))
}

function compile(folder: string): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', folder, '--pretty', 'false'],
    { cwd: root, encoding: 'utf8' },
  )
  return { status, output: stdout + stderr }
}

describe('mistakes in a module', () => {
  test('do not compile: every line that is expected to fail does', () => {
    expect(compile(types)).toEqual({ status: 0, output: '' })
  })
})

describe('the expectations of the test above', () => {
  let copy: string
  // As deep as the original, so that its imports lead to the same source, and where no other compiler looks.
  beforeAll(() => {
    copy = mkdtempSync(join(root, 'node_modules', '.types-'))
    cpSync(types, copy, { recursive: true })
  })
  afterAll(() => rmSync(copy, { recursive: true }))

  const sources = () => readdirSync(copy).filter((name) => name.endsWith('.ts'))
  const errorsIn = (output: string, code: string) => output.match(new RegExp(`error ${code}:`, 'g'))?.length

  test('are each needed: without them every such line is an error', () => {
    let expected = 0
    for (const name of sources()) {
      const text = readFileSync(join(copy, name), 'utf8')
      expected += text.split(expectation).length - 1
      writeFileSync(join(copy, name), text.replaceAll(expectation, 'it was expected that'))
    }
    list(copy)
    const { status, output } = compile(copy)
    expect(status).not.toBe(0)
    expect(expected).toBeGreaterThan(20)
    expect(output.match(/error TS\d+:/g)?.length).toBeGreaterThanOrEqual(expected)
  })

  test('are themselves errors where nothing is wrong', () => {
    for (const name of sources()) rmSync(join(copy, name))
    writeFileSync(join(copy, 'right.ts'), `// ${expectation} nothing is wrong here\nexport const right = 1\n`)
    list(copy)
    const { status, output } = compile(copy)
    expect(status).not.toBe(0)
    expect(errorsIn(output, 'TS2578')).toBe(1)
  })
})
