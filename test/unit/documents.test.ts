import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import {
  codeBlocksOf,
  inlineCommandsOf,
  originalOf,
  problemOf,
  problemOfCommand,
  root,
} from '../support/code-blocks.js'

/** Where the path of a file may begin. */
const places = ['', 'src', 'src/kernel']

interface Link {
  readonly path: string
  readonly anchor: string | undefined
  readonly title: string | undefined
}

const documents = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
]

/** Source files whose comments may contain samples. */
const sources = ['src', 'tools', 'test', 'migrations'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${folder}/${name}`),
)

if (process.env.UPDATE_SAMPLES === 'true') for (const name of [...documents, ...sources]) updateSamples(name)

/** Replaces blocks that differ from the code that they are from. */
function updateSamples(name: string): void {
  const lines = readFileSync(join(root, name), 'utf8').split('\n')
  // From the last block to the first, so that the lines of earlier blocks keep their numbers.
  for (const block of codeBlocksOf(name).reverse()) {
    const original = originalOf(block)?.map((line) => `${block.prefix}${line}`.trimEnd())
    if (original) lines.splice(block.line, block.code.length, ...original)
  }
  const text = lines.join('\n')
  if (text !== readFileSync(join(root, name), 'utf8')) writeFileSync(join(root, name), text)
}

/** Links to places in this repository. */
function linksOf(document: string): Link[] {
  const text = readFileSync(join(root, document), 'utf8')
  const found = text.matchAll(/\]\((?!https?:)([^\s)#]*)(?:#([^\s)]*))?(?: "([^"]*)")?\)/g)
  return [...found].map(([, path = '', anchor, title]) => ({ path, anchor, title }))
}

/** The anchors that a document's headings make. */
function anchorsOf(file: string): string[] {
  const headings = readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)
  return [...headings].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

describe.each(documents)('%s', (document) => {
  test('every link leads somewhere, and a test that it names is there', () => {
    const astray = linksOf(document).filter(({ path, anchor, title }) => {
      const file = path === '' ? join(root, document) : join(root, dirname(document), path)
      if (!existsSync(file)) return true
      if (anchor && !anchorsOf(file).includes(anchor)) return true
      return title !== undefined && !readFileSync(file, 'utf8').includes(title)
    })
    expect(astray).toEqual([])
  })

  test('every file that it speaks of exists', () => {
    const text = readFileSync(join(root, document), 'utf8')
    const spoken = [...text.matchAll(/`([\w-]+(?:\/[\w.-]+)+\.(?:ts|mjs|pml))`/g)].map(
      ([, path = '']) => path,
    )
    const missing = spoken.filter((path) => !places.some((place) => existsSync(join(root, place, path))))
    expect(missing).toEqual([])
  })
  test('every code block is that of a tested file, a command that exists, or the output of one', () => {
    expect(codeBlocksOf(document).flatMap((block) => problemOf(block) ?? [])).toEqual([])
  })

  test('every npm command in its text exists', () => {
    expect(inlineCommandsOf(document).flatMap((command) => problemOfCommand(command) ?? [])).toEqual([])
  })
})

test('every sample in a comment is that of a tested file', () => {
  const blocks = sources.flatMap((name) => codeBlocksOf(name))
  expect(blocks.length).toBeGreaterThan(0)
  expect(blocks.flatMap((block) => problemOf(block) ?? [])).toEqual([])
})

describe('a code block', () => {
  const problemsIn = (...lines: readonly string[]) =>
    codeBlocksOf('sample.md', lines.join('\n')).map((block) => problemOf(block)?.split('\n')[0])
  const origin = 'test/samples/trouble.ts#inTrouble'
  const [empty] = codeBlocksOf('sample.md', `\`\`\`ts from ${origin}\n\`\`\``)
  const original = (empty && originalOf(empty)) ?? []
  const withCode = (...code: readonly string[]) => problemsIn(`\`\`\`ts from ${origin}`, ...code, '```')

  test('is true with all lines of its source, or with a sign for those that it leaves out', () => {
    expect(original.length).toBeGreaterThan(5)
    const [first = '', ...rest] = original
    expect(withCode(...original)).toEqual([undefined])
    expect(withCode(first, '  // …', ...rest.slice(2))).toEqual([undefined])
    expect(withCode(first, '  // …', '}')).toEqual([undefined])
    expect(withCode(...original, '  // …')).not.toEqual([undefined])
  })

  test('is not true without any one line of its source, or with one that differs', () => {
    for (const index of original.keys()) {
      expect(withCode(...original.filter((_, other) => other !== index))).not.toEqual([undefined])
      expect(withCode(...original.with(index, 'const other = 1'))).not.toEqual([undefined])
    }
  })

  test.each([
    ['```ts', 'sample.md:1: nothing says what keeps this block true'],
    ['~~~', 'sample.md:1: nothing says what keeps this block true'],
    ['    indented', 'sample.md:1: nothing says what keeps this block true'],
    ['```json from no/such.json', 'sample.md:1: there is no file no/such.json'],
    ['```ts from src/main.ts#Absent', 'sample.md:1: src/main.ts declares no Absent'],
    ['```sh tested', 'sample.md:1: nothing says what keeps this block true'],
    ['```text output of npm run absent', 'sample.md:1: package.json has no script "absent"'],
    [
      '```http tested by test/unit/absent.test.ts "it"',
      'sample.md:1: there is no file test/unit/absent.test.ts',
    ],
    [
      '```http tested by test/unit/config.test.ts "no such title"',
      'sample.md:1: test/unit/config.test.ts has no test "no such title"',
    ],
  ])('is refused as %s', (fence, problem) => {
    expect(problemsIn(fence, 'x', fence.slice(0, 3))).toEqual([problem])
  })

  test.each([
    ['npm run absent # a comment', 'package.json has no script "absent"'],
    ['npm ci && npm run absent', 'package.json has no script "absent"'],
    ['npm run chaos -- --absent 2', '"chaos" does not know --absent'],
    ['npm run bench -- l1 l3', '"bench" does not know l3'],
    ['psql -f deploy/absent.sql', 'there is no file deploy/absent.sql'],
    ['node absent.js', '"node absent.js" runs no file'],
  ])('of commands is refused with: %s', (command, problem) => {
    expect(problemsIn('```sh', command, '```')).toEqual([`sample.md:1: ${problem}`])
  })
})
