import { expect, test } from '@jest/globals'
import { History } from './history.js'

test('what a failover brings back counts as news, but as covered by whatever covers its own commit', () => {
  const history = new History()
  history.begin('a', 'first')
  const commit = { moment: history.nextMoment(), operation: 'one', keys: ['a'] }
  history.replace('a', 'second', 10)
  history.numbered('old', 1, commit)
  history.nextMoment()
  history.replace('a', 'lost', 20)
  history.continueEpoch('old', 'new', 1)
  const restored = history.nextMoment()
  history.restore('a', 'second', 30)

  const reign = history.reignsOf('a').at(-1)!
  expect(reign).toMatchObject({ value: 'second', from: restored, writtenBy: commit.moment })
  expect(history.covers('new', 1, reign.writtenBy)).toBe(true)
  expect(history.covers('new', 0, reign.writtenBy)).toBe(false)
  history.nextMoment()
  history.restore('a', 'first', 40)
  expect(history.reignsOf('a').at(-1)).toMatchObject({ writtenBy: 0 })
})
