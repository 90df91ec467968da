import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { ConfigError, readConfig } from '../../src/config.js'
import { secretSettings } from '../../src/secret-files.js'

const secret = 'correct-horse-battery-staple'
const values = {
  DATABASE_URL: `postgres://app:${secret}@db.example:5432/app`,
  REDIS_URL: `redis://:${secret}@redis.example:6379`,
  ADMIN_TOKEN: secret,
}

let folder: string
let count = 0
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'secret-files-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function file(content: string | Buffer): string {
  const path = join(folder, `file-${++count}`)
  writeFileSync(path, content)
  return path
}

function refusal(environment: Record<string, string>): string {
  try {
    readConfig(environment)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    const { message } = error as Error
    expect(message).not.toMatch(/\n/)
    expect(message).not.toContain(secret)
    return message
  }
  return 'not refused'
}

describe.each(secretSettings)('%s_FILE', (name) => {
  const variable = `${name}_FILE`
  const { [name]: _, ...rest } = values
  const read = (path: string) => readConfig({ ...rest, [variable]: path })[name]
  const refusalOf = (path: string) => refusal({ ...rest, [variable]: path })

  test.each(['', '\n', '\r\n', '\n\n'])('is read with %j at its end, which does not count', (end) => {
    expect(read(file(values[name] + end))).toBe(values[name])
  })

  test('may be a link, as in a mounted volume, and begin with a byte-order mark', () => {
    const link = join(folder, `link-${++count}`)
    symlinkSync(file(`\uFEFF${values[name]}`), link)
    expect(read(link)).toBe(values[name])
  })

  test('counts as not set where it is empty, and is refused beside the setting itself', () => {
    expect(readConfig({ ...values, [variable]: '' })[name]).toBe(values[name])
    expect(readConfig({ ...rest, [name]: '', [variable]: file(values[name]) })[name]).toBe(values[name])
    expect(refusal({ ...values, [variable]: file(values[name]) })).toBe(
      `${variable}: ${name} is set as well; only one of them may be`,
    )
  })

  test('is refused in one line that names it where there is no secret to be read', () => {
    const pipe = join(folder, `pipe-${++count}`)
    execFileSync('mkfifo', [pipe])
    mkdirSync(join(folder, `folder-${++count}`))
    expect(refusalOf(join(folder, 'missing'))).toBe(`${variable}: the file cannot be read (ENOENT)`)
    expect(refusalOf(join(folder, `folder-${count}`))).toBe(`${variable}: this is not a regular file`)
    expect(refusalOf(pipe)).toBe(`${variable}: this is not a regular file`)
    expect(refusalOf('/dev/zero')).toBe(`${variable}: this is not a regular file`)
    expect(refusalOf(file('\n'))).toBe(`${variable}: the file is empty`)
    expect(refusalOf(file('x'.repeat(16_385)))).toBe(`${variable}: the file is longer than 16384 bytes`)
    expect(refusalOf(file(Buffer.from([0xff, 0xfe, 0x41])))).toBe(
      `${variable}: the file is not text in UTF-8`,
    )
    // The secret itself, where its path belongs.
    expect(refusalOf(values[name])).toBe(`${variable}: the file cannot be read (ENOENT)`)
  })

  test('is named where what it holds will not do', () => {
    expect(refusalOf(file('short'))).toMatch(new RegExp(`^${variable}: must `))
  })
})
