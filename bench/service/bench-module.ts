import { declareCache } from '../../src/kernel/cache/caches.js'
import type { ServiceModule } from '../../src/kernel/cqrs/module.js'
import { domainEvent, z } from '../../src/kernel/domain/index.js'
import { on } from '../../src/kernel/journal/invalidation-rules.js'

/** Somebody changed what the caches of a benchmark hold: a committed write, as they see it. */
export class ItemsChanged extends domainEvent(
  'bench.items-changed',
  z.object({ keys: z.array(z.string()), tags: z.array(z.string()) }),
) {}

/** A cache with nothing but defaults, and room for a million entries. */
export const itemCache = declareCache<unknown>({
  name: 'bench-items',
  invalidatedBy: [on(ItemsChanged, ({ keys, tags }) => ({ keys, tags }))],
  maxEntries: 1_048_576,
})

export const benchModule: ServiceModule = {
  name: 'bench',
  events: [ItemsChanged],
  caches: [itemCache],
}
