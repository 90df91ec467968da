import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { isThorough } from '../../support/depth.js'
import { settle } from '../../support/gate.js'
import { InMemoryJournal } from '../../support/in-memory-journal.js'
import { InMemoryTier } from '../../support/in-memory-tier.js'
import { ManualClock } from '../../support/manual-clock.js'
import { seed } from '../../support/seed.js'
import { maxStalenessMs, type SimulatedNode, startSimulatedNode } from '../../support/simulated-node.js'

type Step =
  | { readonly kind: 'write'; readonly key: string; readonly byTag: boolean }
  | { readonly kind: 'read'; readonly node: number; readonly key: string; readonly token: boolean }
  | { readonly kind: 'check'; readonly node: number }
  | { readonly kind: 'number' }
  | { readonly kind: 'restore-l2' }
  | { readonly kind: 'restart'; readonly node: number }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'let-go'; readonly count: number }

const key = fc.constantFrom('a', 'b')
const node = fc.nat(1)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('write'), key, byTag: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('read'), node, key, token: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('check'), node }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('number') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restore-l2') }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('restart'), node }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass'), ms: fc.constantFrom(1, 700, 1_500) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('let-go'), count: fc.constantFrom(1, 1, 4) }) },
) as fc.Arbitrary<Step>

/** How a value was in the database, and since when (by the test's clock) it no longer was. */
class Row {
  readonly replacedAt: number[] = []

  get version(): number {
    return this.replacedAt.length
  }
}

test('no interleaving of loads, writes, checks, restarts and old L2 snapshots serves what was replaced too long ago, or what a token or an applied position rules out', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 10, maxLength: 60 }),
      fc.boolean(),
      fc.scheduler(),
      async (steps, slowPostgres, scheduler) => {
        const journal = new InMemoryJournal()
        const clock = new ManualClock()
        const shared = new InMemoryTier()
        shared.afterGet = () => scheduler.schedule(Promise.resolve(), 'L2 answers')
        const simulation = { journal, clock, shared, renews: true, replayAtStart: 1 }
        const nodes: SimulatedNode[] = [
          await startSimulatedNode(simulation),
          await startSimulatedNode(simulation),
        ]
        const rows = new Map([
          ['a', new Row()],
          ['b', new Row()],
        ])
        if (slowPostgres) journal.afterRead = () => scheduler.schedule(Promise.resolve(), 'Postgres answers')
        /** The version of each key that a position stands for. */
        const versionsAt: Record<string, number>[] = [{ a: 0, b: 0 }]
        const snapshots = [new Map(shared.entries)]
        const reads: Promise<void>[] = []
        const start = (reading: Promise<void>) => {
          // Its failure is looked at in the end.
          reading.catch(() => {})
          reads.push(reading)
        }

        const read = async (on: SimulatedNode, name: string, withToken: boolean) => {
          const row = rows.get(name)!
          const askedAt = clock.now()
          const applied = on.applied.position
          const written = row.version
          const request = on.request(withToken ? { epoch: on.applied.epoch, position: 'pending' } : undefined)
          const version = await on.cache.getOrCreate(
            name,
            async ({ tag }) => {
              await scheduler.schedule(Promise.resolve(), 'the load begins')
              const found = row.version
              await scheduler.schedule(Promise.resolve(), 'the load ends')
              tag(`tag of ${name}`)
              return found
            },
            { consistency: request },
          )
          expect(version).toBeGreaterThanOrEqual(versionsAt[applied]![name]!)
          if (withToken) expect(version).toBeGreaterThanOrEqual(written)
          if (version < row.version) {
            expect(askedAt - row.replacedAt[version]!).toBeLessThan(maxStalenessMs)
          }
          const { position } = request.token!
          if (position !== 'pending') {
            // A client that goes on with this token must not get anything older than what it was shown.
            expect(versionsAt[position]![name]!).toBeGreaterThanOrEqual(version)
          }
        }

        for (const each of steps) {
          switch (each.kind) {
            case 'write': {
              rows.get(each.key)!.replacedAt.push(clock.now())
              journal.commit(
                'test.happened',
                each.byTag ? { tags: [`tag of ${each.key}`] } : { keys: [each.key] },
              )
              versionsAt.push({ ...versionsAt.at(-1)!, [each.key]: rows.get(each.key)!.version })
              clock.advance(1)
              break
            }
            case 'read':
              start(read(nodes[each.node]!, each.key, each.token))
              break
            case 'check':
              start(nodes[each.node]!.check.run())
              break
            case 'number':
              await journal.number(2)
              break
            case 'restore-l2':
              snapshots.push(new Map(shared.entries))
              shared.entries = new Map(snapshots[Math.floor(snapshots.length / 2)])
              break
            case 'restart':
              nodes[each.node] = await scheduler.waitFor(startSimulatedNode(simulation))
              break
            case 'pass':
              clock.advance(each.ms)
              break
            case 'let-go':
              for (let n = 0; n < each.count && scheduler.count() > 0; n++) {
                await scheduler.waitOne()
                await settle()
              }
              break
          }
          await settle()
        }
        await scheduler.waitFor(Promise.all(reads))
      },
    ),
    { seed, numRuns: Number(process.env.RUNS ?? (isThorough ? 1_000 : 200)) },
  )
}, 120_000)
