import { readFileSync } from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import { fence, guards, plantedBug } from './guards.js'

describe('the list of guards', () => {
  test.each([...guards, plantedBug, fence])('names code that is there: $name', ({ file, snippet }) => {
    // Otherwise its removal would show nothing: `npm run test:guards` removes them one at a time.
    expect(readFileSync(file, 'utf8').split(snippet)).toHaveLength(2)
  })

  test('names each guard once', () => {
    expect(new Set(guards.map(({ name }) => name)).size).toBe(guards.length)
  })
})
