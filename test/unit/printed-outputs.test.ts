import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { allFaults } from '../../tools/chaos/faults/index.js'
import { codeBlocksOf, root } from '../support/code-blocks.js'

/** The lines that a document shows as the output of a command. */
function outputIn(document: string): readonly string[] {
  const [block] = codeBlocksOf(document).filter(({ info }) => info.startsWith('text output of '))
  return block?.code ?? []
}

test('the chaos report of docs/consistency.md counts each kind of fault that there is, and no other', () => {
  const lines = outputIn('docs/consistency.md')
  const shown = lines.slice(lines.indexOf('faults')).map((line) => /^ +\d+ {2}(.+)$/.exec(line)?.[1])
  expect(shown.filter((kind) => kind !== undefined).sort()).toEqual(allFaults.map(({ kind }) => kind).sort())
})

test('the result of the protocol’s check in docs/protocol/README.md names each guard that there is, and no other', () => {
  const shown = outputIn('docs/protocol/README.md').map((line) => /^ok {6}([A-Z_]+)\b/.exec(line)?.[1])
  const program = readFileSync(join(root, 'docs/protocol/check.mjs'), 'utf8')
  const guards = /^const guards = \[([^\]]*)\]/m.exec(program)?.[1] ?? ''
  const known = [...guards.matchAll(/'(\w+)'/g)].map(([, guard]) => guard)
  expect(known.length).toBeGreaterThan(0)
  expect([...new Set(shown.filter((guard) => guard !== undefined))].sort()).toEqual(known.sort())
})
