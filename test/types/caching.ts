import { z } from 'zod'
import { queryHandler } from '../../src/kernel/cqrs/handlers.js'
import { query } from '../../src/kernel/cqrs/message.js'
import { domainEvent } from '../../src/kernel/domain/index.js'
import { on } from '../../src/kernel/journal/invalidation-rules.js'

class Renamed extends domainEvent('people.renamed', z.object({ personId: z.string() })) {}
class GetPerson extends query(z.strictObject({ id: z.string() })).returning<{ team: string } | null>() {}

abstract class Handler {
  async execute(_: GetPerson): Promise<{ team: string } | null> {
    return null
  }
}

@queryHandler(GetPerson, {
  key: ({ id }) => id,
  tags: ({ id }, person) => [id, person?.team ?? 'none'],
  invalidatedBy: [on(Renamed, ({ personId }) => ({ keys: [personId], tags: ['people'] }))],
})
export class GetPersonHandler extends Handler {}

@queryHandler(GetPerson, {
  // @ts-expect-error a key from a field that the query lacks
  key: ({ userId }) => userId,
  // @ts-expect-error tags from a field that the answer lacks
  tags: (_, person) => [person?.squad],
  // @ts-expect-error an event's field that it lacks
  invalidatedBy: [on(Renamed, ({ userId }) => ({ keys: [userId] }))],
})
export class WrongFieldsHandler extends Handler {}

// @ts-expect-error a declaration that says nothing about what makes the answers stale
@queryHandler(GetPerson, { key: ({ id }) => id })
export class SilentHandler extends Handler {}

@queryHandler(GetPerson, {
  key: ({ id }) => id,
  invalidatedBy: [
    // @ts-expect-error something that is no event
    on(GetPerson, () => ({ keys: [] })),
    // @ts-expect-error an effect that is none
    on(Renamed, ({ personId }) => ({ key: personId })),
    // @ts-expect-error a key that is no text
    on(Renamed, () => ({ keys: [7] })),
  ],
})
export class WrongEffectsHandler extends Handler {}
