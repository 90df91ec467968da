import { describe, expect, test } from '@jest/globals'
import { nameOf } from '../../../src/kernel/domain/index.js'
import { FeatureFlag } from '../../../src/modules/feature-flags/domain/feature-flag.js'
import { viewOf } from '../../../src/modules/feature-flags/feature-flag-view.js'

const eventsOf = (flag: FeatureFlag) => flag.uncommittedEvents.map(nameOf)

/** As the unit of work leaves it after COMMIT. */
function stored(): FeatureFlag {
  const flag = FeatureFlag.create('dark-mode', { enabled: true, description: 'for the night' })
  flag.forgetEventsAfter(0)
  flag.version = 1
  return flag
}

describe('a feature flag', () => {
  test('raises nothing and keeps its version when it is replaced by what it is', () => {
    const flag = stored()
    flag.replace({ enabled: true, description: 'for the night' })
    expect(flag.uncommittedEvents).toEqual([])
  })

  test.each([
    { enabled: false, description: 'for the night' },
    { enabled: true, description: null },
    { enabled: true, description: '' },
  ])('raises one event when it is replaced by %j', (state) => {
    const flag = stored()
    flag.replace(state)
    expect(eventsOf(flag)).toEqual(['feature-flags.feature-flag-changed'])
  })

  test('is created again by a replacement after its deletion, and its version goes on', () => {
    const flag = stored()
    flag.delete(new Date())
    expect(flag.exists).toBe(false)
    flag.replace({ enabled: true, description: 'for the night' })
    expect(flag.exists).toBe(true)
    expect(flag.version).toBe(1)
    expect(eventsOf(flag)).toEqual([
      'feature-flags.feature-flag-deleted',
      'feature-flags.feature-flag-created',
    ])
  })

  test('cannot be deleted twice', () => {
    const flag = stored()
    flag.delete(new Date(1))
    flag.delete(new Date(2))
    expect(eventsOf(flag)).toEqual(['feature-flags.feature-flag-deleted'])
    expect(flag.deletedAt).toEqual(new Date(1))
  })

  test('shows no description if it was given none, but an empty one if it was given that', () => {
    const flag = stored()
    flag.replace({ enabled: true, description: null })
    expect(viewOf(flag)).toEqual({ name: 'dark-mode', enabled: true, version: 1 })
    flag.replace({ enabled: true, description: '' })
    expect(viewOf(flag)).toEqual({ name: 'dark-mode', enabled: true, description: '', version: 1 })
  })
})
