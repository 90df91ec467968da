import { z } from 'zod'
import { queryHandler } from '../../src/kernel/cqrs/handlers.js'
import { query } from '../../src/kernel/cqrs/message.js'
import { domainEvent } from '../../src/kernel/domain/index.js'
import { on } from '../../src/kernel/journal/invalidation-rules.js'

class Renamed extends domainEvent('people.renamed', z.object({ personId: z.string() })) {}
interface Person {
  readonly id: string
  readonly team: string
}

class GetPerson extends query(z.strictObject({ id: z.string() })).returning<Person | null>() {}

abstract class Handler {
  async execute(_: GetPerson): Promise<Person | null> {
    return null
  }
}

@queryHandler(GetPerson, {
  key: ({ id }) => id,
  keyOfAnswer: ({ id }) => id,
  distinctSpellings: ['id'],
  keepIf: (person) => person?.team !== 'none',
  tags: ({ id }, person) => [id, person?.team ?? 'none'],
  invalidatedBy: [on(Renamed, ({ personId }) => ({ keys: [personId], tags: ['people'] }))],
})
export class GetPersonHandler extends Handler {}

@queryHandler(GetPerson, {
  // @ts-expect-error a key from a field that the query lacks
  key: ({ userId }) => userId,
  // @ts-expect-error a key from a field that the answer lacks
  keyOfAnswer: ({ userId }) => userId,
  // @ts-expect-error a field that the query lacks
  distinctSpellings: ['userId'],
  // @ts-expect-error a field that the answer lacks
  keepIf: (person) => person?.squad !== 'none',
  // @ts-expect-error tags from a field that the answer lacks
  tags: (_, person) => [person?.squad],
  // @ts-expect-error an event's field that it lacks
  invalidatedBy: [on(Renamed, ({ userId }) => ({ keys: [userId] }))],
})
export class WrongFieldsHandler extends Handler {}

// @ts-expect-error a declaration that says nothing about what makes the answers stale
@queryHandler(GetPerson, { key: ({ id }) => id, keyOfAnswer: ({ id }) => id })
export class SilentHandler extends Handler {}

// @ts-expect-error a declaration that does not say what key the answer has by itself
@queryHandler(GetPerson, { key: ({ id }) => id, invalidatedBy: [] })
export class NamelessHandler extends Handler {}

// An answer that has no key by itself, of a query that is not always cached.
@queryHandler(GetPerson, { key: ({ id }) => id || undefined, keyOfAnswer: 'none', invalidatedBy: [] })
export class UnkeyedHandler extends Handler {}

@queryHandler(GetPerson, {
  key: ({ id }) => id,
  keyOfAnswer: 'none',
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
