import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from '@jest/globals'

const root = fileURLToPath(new URL('../..', import.meta.url))

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
})
