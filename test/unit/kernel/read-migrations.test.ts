import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { readMigrations } from '../../../src/kernel/persistence/read-migrations.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'migrations-'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
})
afterEach(() => rmSync(folder, { recursive: true }))

function write(file: string, ...classes: string[]): void {
  const declared = classes.map((name) => `export class ${name} { async up() {} async down() {} }\n`)
  writeFileSync(join(folder, file), declared.join(''))
}

const read = async () =>
  (await readMigrations(pathToFileURL(`${folder}/`))).map((migration) => migration.name)

describe('the migrations of a folder', () => {
  test('are found without a list, in the order of their timestamps', async () => {
    write('a-later.js', 'Later1700000002000')
    write('b-first.js', 'First1700000001000')
    writeFileSync(join(folder, 'b-first.js.map'), '{}')
    writeFileSync(join(folder, 'b-first.d.ts'), 'export declare class First1700000001000 {}')
    writeFileSync(join(folder, 'README.md'), '# Migrations')
    expect(await read()).toEqual(['First1700000001000', 'Later1700000002000'])
  })

  test('with one timestamp are an error that names both files', async () => {
    write('a.js', 'First1700000001000')
    write('b.js', 'Second1700000001000')
    await expect(read()).rejects.toThrow(
      'migrations/b.js and migrations/a.js have the same timestamp 1700000001000',
    )
  })

  test('in a file that exports none are an error that says what is missing', async () => {
    write('a.js', 'NoTimestamp')
    await expect(read()).rejects.toThrow(
      /^migrations\/a\.js exports no migration: .* timestamp of 13 digits$/,
    )
  })

  test('do not have to be there', async () => {
    expect(await read()).toEqual([])
  })
})
