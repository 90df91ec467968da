import { eventHandler } from '../../src/kernel/cqrs/handlers.js'
import { AggregateRoot, domainEvent, type PayloadOf, z } from '../../src/kernel/domain/index.js'

class Renamed extends domainEvent('people.renamed', z.object({ personId: z.string() })) {}

export class Person extends AggregateRoot {
  rename(): void {
    this.raise(new Renamed({ personId: 'p' }))
    // @ts-expect-error a payload field that the event does not know
    this.raise(new Renamed({ personId: 'p', name: 'n' }))
    // @ts-expect-error a payload without a field of the event
    this.raise(new Renamed({}))
    // @ts-expect-error something that is no event
    this.raise('renamed')
  }
}

// @ts-expect-error events are raised by the aggregate's own methods only
new Person().raise(new Renamed({ personId: 'p' }))

@eventHandler('people.greet', Renamed)
export class Greet {
  async handle({ personId }: PayloadOf<typeof Renamed>): Promise<void> {
    void personId
  }
}

// @ts-expect-error a handler that expects a field that the event lacks
@eventHandler('people.greet-by-name', Renamed)
export class GreetByName {
  async handle({ name }: { name: string }): Promise<void> {
    void name
  }
}
